"""headrace plan --profile: what jobs will ask for, and what would be refused."""

from dataclasses import replace

import pytest
import yaml

from headrace.__main__ import main
from headrace.errors import StageError
from headrace.experiments.reading import check_experiment
from headrace.planning.artifacts import artifact_path
from headrace.planning.plan import Plan, Site
from headrace.provenance.manifests import MANIFEST, write_json
from headrace.requests import forecast as module
from headrace.requests.forecast import forecast
from headrace.requests.profile_text import choose, render_profile
from headrace.requests.profiles import read_profile
from sample_surveys import CANCELS, CPU, DOWN, SLURM

DATA = {
    "name": "small",
    "datasets": {"d": {"kind": "diabetes"}},
    "features": {"s": [{"kind": "standardize"}]},
    "models": [{"kind": "fnn", "features": "s", "sweep": {"grid": {"learning_rate": [0.1, 0.2]}}}],
}


class Scheduler:
    """Says what it is told to say."""

    def __init__(self, survey):
        self.answer = survey

    def is_here(self):
        return self.answer != "not here"

    def survey(self):
        if isinstance(self.answer, str):
            raise StageError(self.answer)
        return self.answer


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HEADRACE_ARTIFACTS", raising=False)
    monkeypatch.delenv("HEADRACE_RESULTS", raising=False)
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(DATA))
    (tmp_path / "slurm").mkdir()


@pytest.fixture
def ask(tmp_path, monkeypatch):
    """Look at a plan through a profile, with a scheduler that gives this answer."""

    def look(answer=SLURM, text=None, device="cpu"):
        monkeypatch.setattr(module, "load_scheduler", lambda name: Scheduler(answer))
        text = render_profile(SLURM, choose(SLURM)) if text is None else text
        (tmp_path / "slurm" / "config.yaml").write_text(text)
        profile = read_profile("slurm")
        return forecast(Plan(check_experiment(DATA), Site(device=device)), profile)

    return look


def test_there_is_a_line_for_each_rule_with_jobs(ask):
    found = ask(device="cuda")
    assert found.problems == ()
    assert found.lines[0].split() == ["rule", "jobs", "done", "cores", "memory", "time", "gpu", "partition"]
    assert [line.split()[0] for line in found.lines[1:7]] == [
        "shard",
        "its",
        "preprocess",
        "its",
        "train_fnn",
        "evaluate",
    ]
    assert found.lines[1].split() == ["shard", "1", "0", "2", "3.5", "GiB", "1:00", "h", "-", "cpu"]
    assert found.lines[2].split() == ["its", "Dask", "workers", "4", "1", "1.2", "GiB", "1:00", "h", "-", "cpu"]
    assert found.lines[5].split() == ["train_fnn", "1", "0", "1", "4.5", "GiB", "1:00", "h", "1", "gpu"]


def test_totals_are_what_the_scheduler_may_count(ask):
    found = ask(device="cuda")
    assert (
        "to submit: 4 jobs and 8 of Dask workers; at most 14.0 core-hours and 2.0 GPU-hours, each tried once; "
        "the largest asks for 4.5 GiB" in found.lines
    )


def test_what_is_done_is_not_submitted_again(ask, tmp_path):
    plan = Plan(check_experiment(DATA), Site(device="cpu"))
    for artifact in plan.artifacts:
        folder = artifact_path(plan.site.artifacts, artifact.stage, artifact.id)
        write_json(folder / MANIFEST, {"identity": artifact.identity, "status": "done", "reason": ""})
    found = ask(text="executor: slurm\nset-resources: {shard: {runtime: 1000000}}")
    assert found.problems == ()
    assert "nothing to submit: every job is done" in found.lines
    assert found.lines[1].split()[:3] == ["shard", "1", "1"]


def test_a_job_with_one_failed_run_is_submitted_again(ask):
    plan = Plan(check_experiment(DATA), Site(device="cpu"))
    statuses = iter(["done", "failed"])
    for artifact in plan.artifacts:
        if artifact.stage == "train":
            folder = artifact_path(plan.site.artifacts, artifact.stage, artifact.id)
            write_json(folder / MANIFEST, {"identity": artifact.identity, "status": next(statuses), "reason": ""})
    assert ask(text="executor: slurm").lines[3].split()[:3] == ["train_fnn", "1", "0"]


def test_what_exceeds_a_limit_is_refused_with_the_profile_that_says_so(ask):
    text = "executor: slurm\nset-resources: {train_fnn: {runtime: 5000}, shard: {slurm_partition: cpuu}}"
    found = ask(text=text)
    assert found.problems == (
        "slurm/config.yaml: shard: no partition 'cpuu' here; allowed: cpu, gpu, short, spare, old "
        "(did you mean 'cpu'?)",
        "slurm/config.yaml: train_fnn: runtime 5000 min, and partition cpu allows 4320; "
        "partitions that allow it: spare",
    )


def test_default_resources_are_beaten_by_the_requests_of_the_rules(ask):
    found = ask(text="executor: slurm\ndefault-resources: {mem_mb: 9999999, slurm_partition: short}")
    assert [problem.split(": ")[1] for problem in found.problems] == ["shard", "preprocess", "train_fnn", "evaluate"]
    assert all("runtime 60 min, and partition short allows 30" in problem for problem in found.problems)


def test_runs_that_are_trained_at_a_time_need_memory(ask):
    text = "executor: slurm\nset-threads: {train_fnn: %d}\nset-resources: {train_fnn: {gpu: 0%s}}"
    cells = [ask(text=text % what).lines[3].split()[3:5] for what in ((1, ""), (2, ""), (9, ""), (2, ", mem_mb: 1024"))]
    # Two runs are all that the job has; what a profile says of memory stays.
    assert cells == [["1", "2.0"], ["2", "2.5"], ["9", "2.5"], ["2", "1.0"]]


@pytest.mark.parametrize(
    ("answer", "text", "words"),
    [
        ("not here", None, "the clients of slurm are not installed here; no limit is checked"),
        ("sinfo: no answer within 20 s", None, "no limit is checked: sinfo: no answer within 20 s"),
        (SLURM, "cores: 3", "slurm/config.yaml names no scheduler that is known here; no limit is checked"),
    ],
)
def test_without_an_answer_the_table_is_shown_all_the_same(ask, answer, text, words):
    found = ask(answer, text, device="cuda" if text is None else "cpu")
    assert f"note: {words}" in found.lines
    assert any(line.startswith("train_fnn ") for line in found.lines)
    assert found.problems == ()


def test_what_one_might_want_to_change_is_noted(ask):
    text = """
    executor: slurm
    default-resources: {slurm_partition: old}
    set-resources:
      train_fnn: {gpu: 1, slurm_partition: spare}
      evaluate: {mem_mb: attempt * 3}
      shard: {dask_cluster: local, dask_workers: 8, dask_worker_mem_mb: 1024, mem_mb: 4096}
    """
    notes = [line for line in ask(text=text).lines if line.startswith("note: ")]
    assert notes == [
        "note: slurm/config.yaml: evaluate: mem_mb: attempt * 3: an expression, which only Snakemake evaluates; "
        "not checked here",
        "note: shard: 8 Dask workers of 1024 MiB do not fit into its 4096 MiB (mem_mb)",
        "note: partition old is down: its jobs wait until it is up again",
        "note: train_fnn: asks for a GPU that none of its runs will use (device: cpu)",
        "note: partition spare cancels preempted jobs, and Snakemake's SLURM plugin would wait for such a job for "
        "ever: choose another one, or watch it",
    ]


@pytest.mark.parametrize("written", ["0", "two"])
def test_a_gpu_that_no_run_may_use_is_refused(ask, written):
    text = f"executor: slurm\nset-resources: {{train_fnn: {{gpu: 0, runs_per_gpu: {written}}}}}"
    (problem,) = ask(text=text).problems
    assert problem == f"slurm/config.yaml: train_fnn: runs_per_gpu: {written}; allowed: whole numbers above 0"


def test_a_default_queue_is_looked_at_too(ask):
    survey = replace(SLURM, queues=(replace(DOWN, is_default=True), CPU, CANCELS))
    found = ask(survey, "executor: slurm")
    assert "note: partition old is down: its jobs wait until it is up again" in found.lines
    assert found.lines[1].split()[-1] == "old"


class TestCommand:
    """headrace plan CONFIG --profile NAME"""

    @pytest.fixture(autouse=True)
    def _asked(self, monkeypatch, tmp_path):
        monkeypatch.setattr(module, "load_scheduler", lambda name: Scheduler(SLURM))
        (tmp_path / "slurm" / "config.yaml").write_text(render_profile(SLURM, choose(SLURM)))

    def test_the_profiles_config_decides_on_the_site(self, capsys):
        assert main(["plan", "small.yaml", "--profile", "slurm"]) == 0
        out, err = capsys.readouterr()
        assert "4.5 GiB" in out
        assert err == ""

    def test_options_beat_the_profile(self, capsys):
        assert main(["plan", "small.yaml", "--profile", "slurm", "--device", "cpu", "--runs-per-job", "1"]) == 0
        out, _ = capsys.readouterr()
        assert "4.5 GiB" not in out
        assert [line.split()[1] for line in out.splitlines() if line.startswith("train_fnn ")] == ["2"]

    def test_a_refusal_is_a_line_below_the_table(self, capsys, tmp_path):
        text = "executor: slurm\nconfig: {device: cuda}\nset-resources: {train_fnn: {gpu: 9, slurm_partition: gpu}}"
        (tmp_path / "slurm" / "config.yaml").write_text(text)
        assert main(["plan", "small.yaml", "--profile", "slurm"]) == 2
        out, err = capsys.readouterr()
        assert out.startswith("rule ")
        assert [line.split(": ")[1] for line in err.splitlines()] == ["evaluate", "train_fnn"]

    def test_an_unknown_profile_is_one_line(self, capsys):
        assert main(["plan", "small.yaml", "--profile", "slurmm"]) == 2
        assert capsys.readouterr().err.startswith("--profile slurmm: no such profile in this folder; here: slurm;")
