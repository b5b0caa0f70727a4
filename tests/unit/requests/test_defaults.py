"""What jobs ask for by default: from the data, the sweep and the seeds."""

import time

import pytest

from headrace.experiments.reading import check_experiment
from headrace.planning.plan import Plan, Site
from headrace.registry import list_kinds
from headrace.requests import defaults as requests
from headrace.requests.defaults import (
    MAX_RUNTIME_MIN,
    WITHOUT_PLAN,
    Sizes,
    default_requests,
    share_requests,
)
from headrace.requests.rules import devices_by_rule, jobs_by_rule, list_rules, rule_of

DATA = {
    "name": "small",
    "datasets": {"digits": {"kind": "mnist5k"}},
    "features": {"few": [{"kind": "standardize"}, {"kind": "truncated_svd", "rank": 4}]},
    "models": [{"kind": "fnn"}, {"kind": "cnn"}],
}
MIB = 2**20
SAMPLE_BYTES = 4 * 784 + 8


@pytest.fixture(autouse=True)
def _nothing_shared(monkeypatch):
    monkeypatch.delenv(requests.VARIABLE, raising=False)


def plan(site=None, **keys):
    return Plan(check_experiment({**DATA, **keys}), site or Site(device="cpu"))


def grow(plan, factor):
    """The same plan, as if its datasets had more samples."""
    experiment = plan.experiment
    infos = {
        name: info.__class__(
            **{
                **info.__dict__,
                "num_samples": info.num_samples * factor,
                "class_counts": tuple(count * factor for count in info.class_counts),
            }
        )
        for name, info in experiment.infos.items()
    }
    experiment.__dict__["infos"] = infos
    return plan


def test_every_job_that_is_submitted_has_a_rule():
    made = plan()
    found = jobs_by_rule(made)
    assert list(found) == ["shard", "train_cnn", "train_fnn", "evaluate"]
    assert {rule_of(job) for job in made.jobs} == {*found, None}
    assert {job.stage for job in made.jobs if rule_of(job) is None} == {"report", "gate"}


def test_every_rule_has_a_request_with_and_without_a_plan():
    for found in (default_requests(None), default_requests(plan())):
        assert tuple(found) == list_rules()
        assert {f"train_{family}" for family in list_kinds("models")} <= set(found)
        for request in found.values():
            assert set(request) == {"mem_mb", "runtime", "threads"}
            assert all(type(number) is int and number > 0 for number in request.values())


def test_small_data_ask_for_little():
    found = default_requests(plan())
    assert found["shard"] == {"mem_mb": 3584, "runtime": 60, "threads": 2}
    assert found["train_cnn"] == found["evaluate"] == {"mem_mb": 2048, "runtime": 60, "threads": 1}
    assert found["train_vae"] == WITHOUT_PLAN["train"]


def test_memory_follows_from_what_is_held():
    num_samples = 5000 * 200
    found = default_requests(grow(plan(), 200))
    for rule, mib in (
        # mnist5k is a kind that holds everything.
        ("shard", 3 * 1024 + 2 * num_samples * SAMPLE_BYTES / MIB + 40 * num_samples / MIB),
        # However large the data are: 512 MiB of each split, and two windows of 256.
        ("train_cnn", 1536 + 2 * 512 + 2 * 256),
        # Ten probabilities for each sample that is judged.
        # And 10,000 training samples, for the nearest neighbour of each.
        (
            "evaluate",
            1536
            + 2 * resident_mib(0.15 * num_samples)
            + 2 * 256
            + 4 * 24 * num_samples / MIB
            + 4 * 10_000 * SAMPLE_BYTES / MIB,
        ),
    ):
        assert mib <= found[rule]["mem_mb"] < mib + 512, rule
        assert found[rule]["mem_mb"] % 512 == 0


def test_what_may_come_next_is_held_for_every_step_of_a_batch(tmp_path):
    (tmp_path / "a.txt").write_text("".join(chr(0x4E00 + i) for i in range(5000)), "utf-8")
    dataset = {"kind": "text_stream", "path": str(tmp_path / "a.txt"), "context": 63}
    data = {"name": "x", "datasets": {"text": dataset}, "models": [{"kind": "rnn"}]}
    found = default_requests(Plan(check_experiment(data, artifacts=tmp_path), Site(device="cpu")))
    mib = 1536 + 3 * 4 * 1024 * 64 * 5000 / MIB
    for rule in ("train_rnn", "evaluate"):
        assert mib <= found[rule]["mem_mb"] < mib + 512


def test_memory_does_not_follow_the_data_where_nothing_holds_them():
    small, large = (default_requests(grow(plan(), times)) for times in (200, 2000))
    assert small["train_cnn"]["mem_mb"] == large["train_cnn"]["mem_mb"]


def resident_mib(num_samples):
    return min(512, num_samples * SAMPLE_BYTES / MIB)


def test_features_are_counted_as_they_are_after_their_steps():
    models = [{"kind": "fnn", "features": "few"}]
    assert default_requests(grow(plan(models=models), 200))["train_fnn"]["mem_mb"] == 2048
    assert default_requests(grow(plan(models=models), 200))["preprocess"]["mem_mb"] == 3072


def test_time_follows_from_runs_and_epochs_and_is_bounded():
    def minutes(**keys):
        return default_requests(plan(**keys))["train_fnn"]["runtime"]

    mib = 4250 * SAMPLE_BYTES / MIB
    assert minutes() == 60
    expected = 30 + 3 * 100 * mib / 60
    assert expected <= minutes(training={"epochs": 100, "seeds": [0, 1, 2]}) < expected + 30
    assert minutes(training={"epochs": 100, "seeds": [0, 1, 2]}, site=Site(device="cpu", runs_per_job=1)) < expected
    assert minutes(training={"epochs": 100_000}) == MAX_RUNTIME_MIN


def test_many_resamples_take_time():
    assert default_requests(plan(evaluation={"bootstrap": 0}))["evaluate"]["runtime"] == 60
    assert default_requests(grow(plan(), 100))["evaluate"]["runtime"] == 60
    assert default_requests(grow(plan(evaluation={"bootstrap": 1_000_000}), 100))["evaluate"]["runtime"] > 60


def test_the_largest_job_of_a_rule_counts():
    models = [{"kind": "fnn", "threads": 4}, {"kind": "fnn", "name": "other", "epochs": 3000}, {"kind": "cnn"}]
    made = plan(models=models, site=Site(device="cpu", runs_per_job=1))
    found = default_requests(made)
    each = [Sizes(made).request(job) for job in jobs_by_rule(made)["train_fnn"]]
    assert {request["threads"] for request in each} == {1, 4}
    assert found["train_fnn"]["threads"] == found["evaluate"]["threads"] == 4
    assert found["train_cnn"]["threads"] == 1
    assert found["train_fnn"]["runtime"] == max(request["runtime"] for request in each) > 60


def test_every_rank_of_a_run_takes_memory_and_its_threads():
    models = [{"kind": "fnn", "world_size": 4, "threads": 2}, {"kind": "fnn", "name": "alone", "threads": 3}]
    found = default_requests(plan(models=models))
    alone = default_requests(plan())["train_fnn"]["mem_mb"]
    assert found["train_fnn"]["threads"] == 8
    assert 3 * alone < found["train_fnn"]["mem_mb"] <= 4 * alone
    assert found["evaluate"]["mem_mb"] == default_requests(plan())["evaluate"]["mem_mb"]


SEEDS = {"seeds": [0, 1, 2, 3, 4, 5]}


def memory_mb(made, **stated):
    return default_requests(made, {"train_fnn": stated})["train_fnn"]["mem_mb"]


def test_runs_that_are_trained_at_a_time_share_what_was_loaded():
    made = grow(plan(training=SEEDS), 200)
    # Both splits as far as they are kept, and windows and a model for each run.
    held = {num: 1536 + 2 * 512 + 2 * 256 + (num - 1) * (512 + 2 * 256) for num in (1, 4, 6)}
    for threads, num in ((1, 1), (4, 4), (6, 6), (16, 6)):
        assert memory_mb(made, threads=threads) == held[num], threads
    assert memory_mb(made) == memory_mb(made, threads="an expression") == held[1]


def test_only_runs_of_one_job_that_find_cores_are_trained_at_a_time():
    alone = memory_mb(plan())
    assert memory_mb(plan(), threads=8) == alone
    assert memory_mb(plan(training=SEEDS, site=Site(device="cpu", runs_per_job=1)), threads=8) == alone
    two = memory_mb(plan(training=SEEDS), threads=2)
    assert alone < two < 2 * alone
    assert memory_mb(plan(training={**SEEDS, "threads": 4}), threads=8) == two
    assert memory_mb(plan(training={**SEEDS, "threads": 4}), threads=7) == memory_mb(plan(training=SEEDS)) == alone


def test_threads_of_one_model_make_room_for_several_runs_of_another():
    some = {"seeds": [0, 1, 2]}
    models = [{"kind": "fnn", "threads": 4, **some}, {"kind": "fnn", "name": "other", **some}]
    made = plan(models=models, site=Site(device="cpu", runs_per_job=3))
    assert default_requests(made)["train_fnn"]["threads"] == 4
    assert memory_mb(made) == memory_mb(plan(training=some), threads=3) > memory_mb(plan())


def test_ranks_and_processes_on_gpus_share_nothing():
    ranks = plan(training={**SEEDS, "world_size": 2})
    assert memory_mb(ranks, threads=4) == pytest.approx(2 * memory_mb(ranks), abs=512)
    assert memory_mb(ranks, threads=4, nodes=2) == memory_mb(ranks)
    on_gpus = plan(training=SEEDS, site=Site(device="cuda"))
    assert memory_mb(on_gpus, gpu=3) == pytest.approx(3 * memory_mb(on_gpus, gpu=1), abs=1024)
    assert memory_mb(on_gpus, gpu=1, threads=4) == memory_mb(on_gpus)
    assert memory_mb(on_gpus, gpu=2, runs_per_gpu=2) == memory_mb(on_gpus, gpu=4) > memory_mb(on_gpus, gpu=2)
    assert memory_mb(plan(training=SEEDS), runs_per_gpu=4) == memory_mb(plan(training=SEEDS))


def test_nothing_but_memory_follows_from_what_is_stated():
    made = plan(training=SEEDS)
    found, before = default_requests(made, {"train_fnn": {"threads": 4, "mem_mb": 7}}), default_requests(made)
    assert found["train_fnn"]["mem_mb"] > before["train_fnn"]["mem_mb"]
    before["train_fnn"]["mem_mb"] = found["train_fnn"]["mem_mb"]
    assert found == before


def test_a_gpu_brings_libraries_along():
    found = default_requests(plan(site=Site(device="cuda")))
    assert found["train_fnn"]["mem_mb"] == found["evaluate"]["mem_mb"] == 2048 + 2560
    assert found["shard"] == default_requests(plan())["shard"]


def test_a_process_without_a_plan_finds_what_was_shared():
    wanted = default_requests(grow(plan(), 200))
    share_requests(wanted)
    assert default_requests(None) == wanted
    share_requests({"shard": {"mem_mb": 1}, "train_gone": {"mem_mb": 1}})
    assert default_requests(None)["shard"]["mem_mb"] == 1
    assert "train_gone" not in default_requests(None)


def test_what_is_shared_means_nothing_to_a_scheduler(monkeypatch):
    share_requests(default_requests(None))
    assert not set(requests.os.environ[requests.VARIABLE]) & set(",'\"\\$;=\n")


def test_devices_are_known_by_rule():
    models = [{"kind": "fnn", "device": "cuda"}, {"kind": "fnn", "name": "b", "device": "cpu"}, {"kind": "cnn"}]
    found = devices_by_rule(jobs_by_rule(plan(models=models)))
    assert found == {
        "shard": frozenset(),
        "train_cnn": {"cpu"},
        "train_fnn": {"cpu", "cuda"},
        "evaluate": {"cpu", "cuda"},
    }


@pytest.mark.slow
def test_thousands_of_runs_cost_a_fraction_of_a_second():
    sweep = {"random": {"samples": 1000, "parameters": {"dropout": {"uniform": [0.0, 0.9]}}}}
    made = plan(models=[{"kind": "fnn", "sweep": sweep}], training={"seeds": [0, 1, 2, 3, 4]})
    assert len(made.runs) == 5000
    assert made.jobs
    start = time.process_time()
    default_requests(made)
    assert time.process_time() - start < 0.5


def test_many_draws_of_a_bound_ask_for_their_time():
    density = [{"kind": "vae"}]
    few = default_requests(plan(models=density))["evaluate"]["runtime"]
    many = default_requests(plan(models=density, evaluation={"importance_draws": 50_000}))["evaluate"]["runtime"]
    # 750 samples of 3 KiB, 50,000 times at 20 MiB a second.
    assert many >= 50_000 * 750 * 4 * 784 / MIB / 20 / 60 > few


def test_explaining_many_samples_asks_for_its_time():
    few = default_requests(plan())["evaluate"]["runtime"]
    asked = {"samples": 1000, "steps": 1000, "patches": 500}
    many = default_requests(plan(evaluation={"attributions": asked}))["evaluate"]["runtime"]
    # A prediction a part hidden and three a step, with four sets of weights, of 3 KiB at 1 MiB a second.
    assert many >= min(MAX_RUNTIME_MIN, 1000 * (500 + 3 * 1000) * 4 * 4 * 784 / MIB / 60) > few


def test_what_planning_may_not_import_is_what_it_is_there():
    from headrace.inference.explanations import NUM_RANDOM
    from headrace.inference.trained import BATCH_SIZE
    from headrace.judging.ranking import MAX_RESAMPLED_CLASSES

    assert requests.MAX_RANKED == MAX_RESAMPLED_CLASSES
    assert requests.JUDGED_TOGETHER == BATCH_SIZE
    assert requests.EXPLAINED_TIMES == 2 + NUM_RANDOM
