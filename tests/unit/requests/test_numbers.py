"""What must be a number is held to one where Snakemake would give it to the job as it stands."""

import pytest

from headrace.requests.numbers import check_numbers
from headrace.requests.profile_text import choose, render_profile
from headrace.requests.profiles import read_profile
from sample_surveys import PBS, SLURM

COUNTS = ("threads", "cpus_per_task", "nodes", "runs_per_gpu", "dask_workers")
AMOUNTS = ("mem", "mem_mb", "mem_mib", "mem_mb_per_cpu", "runtime", "dask_worker_mem_mb")


def check(key, raw):
    return check_numbers({"train_fnn": {key: raw}})


@pytest.mark.parametrize("key", [*COUNTS, "gpu"])
@pytest.mark.parametrize(
    "raw", ["two", "", "2k", "n1", "1.5", 1.5, 2.0, -1, "-1", "'-1'", "'two'", True, None, "input"]
)
def test_what_counts_nothing_is_refused(key, raw):
    (problem,) = check(key, raw)
    assert problem.startswith(f"train_fnn: {key}: {raw}; allowed: whole numbers")
    assert "\n" not in problem


@pytest.mark.parametrize("key", COUNTS)
@pytest.mark.parametrize("raw", [0, "0"])
def test_none_at_all_is_too_few_but_of_gpus(key, raw):
    assert check(key, raw) == [f"train_fnn: {key}: 0; allowed: whole numbers above 0"]
    assert check("gpu", raw) == []


@pytest.mark.parametrize("key", [*COUNTS, "gpu", *AMOUNTS])
@pytest.mark.parametrize("raw", [1, "7", "'3'"])
def test_numbers_are_allowed_however_they_are_written(key, raw):
    assert check(key, raw) == []


@pytest.mark.parametrize("raw", ["attempt", "attempt * 2", "max(1, 2)", "input.size_mb // 9", "$MINE", "threads + 1"])
def test_expressions_are_left_to_snakemake_but_for_what_planning_counts_with(raw):
    for key in {*COUNTS, "gpu", *AMOUNTS} - {"runs_per_gpu"}:
        assert check(key, raw) == []
    assert len(check("runs_per_gpu", raw)) == 1


@pytest.mark.parametrize(("key", "raw"), [("mem", "8GB"), ("runtime", "2h"), ("mem_mb", 4000.2), ("mem_mb", "4000.2")])
def test_amounts_may_be_fractions_and_have_units(key, raw):
    assert check(key, raw) == []


@pytest.mark.parametrize("raw", ["lots", "8GB", -5])
def test_amounts_that_are_none_are_refused(raw):
    (problem,) = check("mem_mb", raw)
    assert problem == f"train_fnn: mem_mb: {raw}; allowed: whole numbers"
    assert check("runtime", "soon") == ["train_fnn: runtime: soon; allowed: whole numbers, or as 2h"]


@pytest.mark.parametrize("key", ["slurm_partition", "dask_cluster", "dask_options", "gpu_model"])
def test_names_are_nothing_to_count(key):
    assert check(key, "two") == []


def test_a_long_or_hostile_text_stays_one_short_line():
    (problem,) = check("gpu", "a\nb\x1b" * 100)
    assert problem.isprintable()
    assert len(problem) < 120


@pytest.mark.parametrize("survey", [SLURM, PBS])
def test_what_headrace_writes_itself_is_allowed(tmp_path, survey):
    (tmp_path / "config.yaml").write_text(render_profile(survey, choose(survey)))
    stated = read_profile(str(tmp_path)).stated
    assert stated
    assert check_numbers(stated) == []
