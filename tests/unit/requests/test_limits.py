"""What a scheduler would refuse, or never start."""

from dataclasses import replace

import pytest

from headrace.experiments.reading import check_experiment
from headrace.planning.plan import Plan, Site
from headrace.requests.limits import (
    Ask,
    check_devices,
    check_limits,
    check_requests,
    find_asks,
    show_minutes,
    with_defaults,
)
from headrace.schedulers.base import Survey
from sample_surveys import CPU, GPU, PBS, SHORT, SLURM

DATA = {
    "name": "small",
    "datasets": {"d": {"kind": "mnist5k"}},
    "features": {"s": [{"kind": "standardize"}]},
    "models": [{"kind": "fnn", "features": "s"}, {"kind": "rnn", "name": "other"}],
}
FITTING = Ask("train_fnn", 1, cores=1, mem_mb=2048, runtime_min=60)


def plan(device="cpu"):
    return Plan(check_experiment(DATA), Site(device=device))


def refusals(survey=SLURM, **asked):
    return check_limits([replace(FITTING, **asked)], survey)


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"queue": "cpu", "cores": 64, "mem_mb": 256_000, "runtime_min": 4320},
        {"queue": "gpu", "gpus": 4, "gpu_model": "a100"},
        {"queue": "gpu", "gpus": 8, "num_nodes": 2, "cores": 96},
        {"queue": "short,cpu", "runtime_min": 60},
        {"queue": "cpu, short", "runtime_min": 60, "account": "Physics,shared"},
        {"runtime_min": None, "mem_mb": None},
        {"queue": "spare", "runtime_min": 10**6, "mem_mb": 10**9},
    ],
)
def test_what_is_allowed_passes(asked):
    assert refusals(**asked) == []


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (
            {"queue": "short", "runtime_min": 31},
            "runtime 31 min, and partition short allows 30; partitions that allow it: cpu, gpu, spare",
        ),
        (
            {"runtime_min": 4321, "mem_mb": 600_000},
            "runtime 4321 min, and partition cpu allows 4320; partitions that allow it: spare",
        ),
        (
            {"queue": "cpu", "mem_mb": 300_000},
            "300000 MiB (mem_mb), and the largest node of partition cpu has 256000; "
            "partitions that allow it: gpu, spare",
        ),
        (
            {"queue": "gpu", "cores": 65},
            "65 cores (threads), and the largest node of partition gpu has 48; no partition here allows it",
        ),
        ({"queue": "cpu", "gpus": 1}, "1 GPU (gpu), and partition cpu has none; partitions that allow it: gpu, spare"),
        (
            {"queue": "gpu", "gpus": 5},
            "5 GPUs (gpu), and the largest node of partition gpu has 4; partitions that allow it: spare",
        ),
        (
            {"queue": "gpu", "gpus": 1, "gpu_model": "a10"},
            "GPUs of type 'a10' (gpu_model), and partition gpu has a100, h100 (did you mean 'a100'?); "
            "partitions that allow it: spare",
        ),
        ({"queue": "gpuu"}, "no partition 'gpuu' here; allowed: cpu, gpu, short, spare, old (did you mean 'gpu'?)"),
        ({"queue": "cpu,nope"}, "no partition 'nope' here; allowed: cpu, gpu, short, spare, old"),
        (
            {"account": "fysics"},
            "account 'fysics' is none of yours; allowed: physics, shared (did you mean 'physics'?)",
        ),
        ({"account": "physics,mine"}, "account 'mine' is none of yours; allowed: physics, shared"),
    ],
)
def test_what_exceeds_a_limit_is_a_sentence_that_says_what_is_allowed(asked, words):
    assert refusals(**asked)[0] == f"train_fnn: {words}"


def test_everything_that_is_wrong_is_told_at_once():
    found = refusals(queue="short", runtime_min=100, cores=100, mem_mb=10**6, gpus=1, account="x")
    assert len(found) == 5


def test_a_queue_must_be_given_where_there_is_no_default():
    survey = Survey("slurm", "1", (GPU, SHORT))
    (found,) = refusals(survey)
    assert found == "train_fnn: no partition is given and the scheduler has no default; allowed: gpu, short"
    assert refusals(survey, queue="gpu") == []
    assert refusals(replace(survey, scheduler="pbs"), runtime_min=10**6) == []


def test_without_queues_or_accounts_nothing_is_known():
    assert refusals(Survey("slurm", "1", ()), queue="x", account="y", gpus=9) == []
    assert refusals(replace(SLURM, accounts=()), account="y") == []


def test_nodes_are_limited_too():
    survey = Survey("slurm", "1", (replace(CPU, max_nodes_per_job=2),))
    assert refusals(survey, num_nodes=2) == []
    assert refusals(survey, num_nodes=3) == [
        "train_fnn: 3 nodes, and partition cpu allows 2 a job; no partition here allows it"
    ]


def test_pbs_has_queues():
    assert refusals(PBS, queue="gpus") == ["train_fnn: no queue 'gpus' here; allowed: cpu, gpu (did you mean 'gpu'?)"]


class TestAsks:
    """From resources in force to what each job asks for."""

    def test_resources_are_read(self):
        (ask,) = find_asks(
            {"evaluate": 3},
            {
                "evaluate": {
                    "threads": 2,
                    "mem_mb": 100,
                    "runtime": 7,
                    "gpu": 1,
                    "nodes": 2,
                    "slurm_partition": "p",
                    "slurm_account": "a",
                    "gpu_model": "m",
                }
            },
        )
        assert ask == Ask(
            "evaluate",
            3,
            cores=2,
            mem_mb=100,
            runtime_min=7,
            gpus=1,
            gpu_model="m",
            num_nodes=2,
            queue="p",
            account="a",
        )

    def test_what_is_missing_or_no_number_is_not_known(self):
        (ask,) = find_asks({"evaluate": 1}, {"evaluate": {"mem_mb": "attempt * 3"}})
        assert ask == Ask("evaluate", 1)

    def test_other_ways_to_say_it(self):
        (ask,) = find_asks({"a": 1}, {"a": {"_cores": 2, "mem_mb_per_cpu": 100, "mem_mb": 1, "pbs_queue": "q"}})
        assert (ask.cores, ask.mem_mb, ask.queue) == (2, 200, "q")
        (ask,) = find_asks({"a": 1}, {"a": {"threads": 2, "cpus_per_task": 3}})
        assert ask.cores == 3

    def test_dask_workers_are_jobs_where_a_scheduler_starts_them(self):
        resources = {"dask_cluster": "slurm", "dask_workers": 4, "dask_worker_mem_mb": 1000, "runtime": 60}
        resources |= {"slurm_partition": "cpu", "slurm_account": "a"}
        first, workers = find_asks({"shard": 2}, {"shard": resources})
        assert first.num_jobs == 2
        assert workers == Ask("shard", 8, mem_mb=1256, runtime_min=60, queue="cpu", account="a", is_workers=True)
        assert workers.title == "shard (Dask workers)"

    def test_dask_options_are_heeded(self):
        resources = {"dask_cluster": "pbs", "dask_workers": 1, "pbs_queue": "cpu", "runtime": 60}
        resources["dask_options"] = "partition=short, runtime_min=20,account=b,interface=ib0"
        _, workers = find_asks({"shard": 1}, {"shard": resources})
        assert (workers.queue, workers.runtime_min, workers.account) == ("short", 20, "b")

    @pytest.mark.parametrize("kind", ["local", "allocation"])
    def test_other_workers_are_no_jobs(self, kind):
        assert len(find_asks({"shard": 1}, {"shard": {"dask_cluster": kind, "dask_workers": 3}})) == 1

    def test_the_memory_beside_a_worker_is_what_its_job_asks_for(self):
        from headrace.provision import cluster as jobqueue
        from headrace.requests import limits

        assert limits.NANNY_MEMORY_MIB == jobqueue.NANNY_MEMORY_MIB


class TestChecks:
    """What is called before Snakemake submits anything."""

    def test_defaults_stand_in_for_what_is_not_said(self):
        found = with_defaults(plan(), {"shard": {"mem_mb": 1}})
        assert found["shard"]["mem_mb"] == 1
        assert found["shard"]["runtime"] == 60
        assert found["evaluate"]["mem_mb"] == 2048

    def test_an_impossible_request_is_found_and_only_rules_with_jobs_count(self):
        resources = {"train_fnn": {"runtime": 10**6}, "train_cnn": {"runtime": 10**6}}
        (found,) = check_requests(plan(), resources, SLURM)
        assert found.startswith("train_fnn: runtime 1000000 min, and partition cpu allows 4320")

    def test_without_an_answer_only_devices_are_checked(self):
        assert check_requests(plan(), {"train_fnn": {"runtime": 10**6}}, None) == []
        assert len(check_requests(plan("cuda"), {}, None)) == 3

    def test_runs_for_a_gpu_need_one(self):
        asks = [Ask("train_fnn", 1), Ask("train_rnn", 1, gpus=1), Ask("evaluate", 1), Ask("shard", 1)]
        found = check_devices(plan("cuda"), asks)
        assert [line.split(":")[0] for line in found] == ["train_fnn", "evaluate"]
        assert "set `gpu: 1` for train_fnn under set-resources, or `device: cpu` under config" in found[0]
        assert check_devices(plan("cpu"), asks) == []


def test_minutes_are_shown_as_people_say_them():
    assert [show_minutes(minutes) for minutes in (2, 60, 90, 1440, 1530)] == [
        "0:02 h",
        "1:00 h",
        "1:30 h",
        "1 d",
        "1 d 1:30 h",
    ]
