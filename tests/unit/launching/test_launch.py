"""What the Snakefile asks for, in the main process and in those that run elsewhere."""

import json
import os
from pathlib import Path

import pytest
import yaml

from headrace.launching import launch
from headrace.launching.launch import Workflow
from headrace.running import ownership
from headrace.running.ownership import OWNER_VARIABLE

ROOT = Path(__file__).parents[3]
DATA = {
    "name": "small",
    "datasets": {"d": {"kind": "diabetes"}},
    "features": {"s": [{"kind": "standardize"}]},
    "models": [{"kind": "fnn", "features": "s"}],
    "training": {"seeds": [0, 1, 2]},
}


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(OWNER_VARIABLE, "null")
    monkeypatch.delenv("HEADRACE_ARTIFACTS", raising=False)
    monkeypatch.delenv("HEADRACE_RESULTS", raising=False)
    monkeypatch.setattr(ownership.atexit, "register", lambda *_: None)


def write(data=DATA, name="small.yaml") -> Path:
    path = Path(name)
    path.write_text(yaml.safe_dump(data))
    return path


def workflow(data=DATA, *, is_main=True, **site) -> Workflow:
    return Workflow({**data, **site}, [write(data)], ROOT / "configs" / "quickstart.yaml", is_main=is_main)


def test_without_a_config_file_the_default_is_planned():
    default = write({**DATA, "name": "the-default"}, "default.yaml")
    made = Workflow({}, [], default, is_main=True)
    assert made.plan.experiment.name == "the-default"
    assert made.result("report.html") == "results/the-default/report.html"


def test_keys_of_the_site_do_not_make_an_experiment():
    default = write({**DATA, "name": "the-default"}, "default.yaml")
    made = Workflow({"runs_per_job": 1, "artifacts": "elsewhere"}, [], default, is_main=True)
    assert made.plan.experiment.name == "the-default"
    assert made.receipt("shard") == "elsewhere/.receipts/shard/{job}.ok"


def test_folders_may_be_moved():
    made = workflow(artifacts="a", results="r", runs_per_job="2")
    assert made.log("train", "fnn-1") == "a/.logs/train/fnn-1.log"
    assert made.result("x") == "r/small/x"
    assert len([job for job in made.plan.jobs if job.stage == "train"]) == 2


def test_a_job_waits_for_receipts():
    made = workflow()
    (train,) = [job for job in made.plan.jobs if job.stage == "train"]
    (preprocess,) = [job for job in made.plan.jobs if job.stage == "preprocess"]
    assert made.needs("train", train.id) == [f"artifacts/.receipts/preprocess/{preprocess.id}.ok"]
    assert made.needs("gate", made.last("gate")) == [f"artifacts/.receipts/report/{made.last('report')}.ok"]
    with pytest.raises(ValueError, match="train fnn-00000000 is not part of this experiment"):
        made.needs("train", "fnn-00000000")


def test_a_process_elsewhere_reads_what_was_planned_and_plans_nothing(monkeypatch):
    main = workflow(runs_per_job=2)
    main.start()
    monkeypatch.setattr(launch, "check_experiment", lambda *_: pytest.fail("planned again"))
    edited = {**DATA, "models": "broken"}
    remote = workflow(edited, is_main=False, runs_per_job=2)
    assert remote.plan is None
    for job in main.plan.jobs:
        assert remote.needs(job.stage, job.id) == main.needs(job.stage, job.id)
    with pytest.raises(FileNotFoundError):
        remote.needs("train", "fnn-00000000")


def test_planning_signs_in_and_writes_nothing_else():
    made = workflow()
    assert not Path("artifacts").exists()
    (note,) = Path(".snakemake/headrace").iterdir()
    assert json.loads(note.read_text())["experiment"] == "small"
    assert json.loads(os.environ[OWNER_VARIABLE])["pid"] == os.getpid()
    made.start()
    specs = {(path.parent.name, path.stem) for path in Path("artifacts/.specs").glob("*/*.json")}
    assert specs == {(job.stage, job.id) for job in made.plan.jobs}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"trainning": {}}, "trainning: unknown key"),
        ({"runs_per_job": "x"}, "runs_per_job=x: must be"),
        ({"device": "tpu"}, "device=tpu: allowed"),
        ({"models": []}, "small.yaml:"),
    ],
)
def test_a_mistake_ends_with_one_line_and_code_2(capsys, change, words):
    with pytest.raises(SystemExit) as caught:
        workflow({**DATA, **change})
    assert caught.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert words in line
    assert not Path(".snakemake").exists()


@pytest.mark.parametrize("written", ["0", "two", "1.5", "max(1, 2)"])
def test_a_gpu_that_no_run_may_use_is_refused_before_anything_is_planned(capsys, written):
    from snakemake.cli import parse_set_resources

    resources = parse_set_resources(["train_fnn:gpu=1", f"train_fnn:runs_per_gpu={written}"])
    with pytest.raises(SystemExit) as caught:
        Workflow({}, [], write(), is_main=True, resources=resources)
    assert caught.value.code == 2
    assert capsys.readouterr().err == f"train_fnn: runs_per_gpu: {written}; allowed: whole numbers above 0\n"
    assert not Path(".snakemake").exists()


def test_a_number_of_threads_that_is_none_is_refused(capsys):
    from snakemake.cli import parse_set_threads

    with pytest.raises(SystemExit) as caught:
        Workflow({}, [], write(), is_main=True, threads=parse_set_threads(["train_fnn=two"]))
    assert caught.value.code == 2
    assert capsys.readouterr().err == "train_fnn: threads: two; allowed: whole numbers above 0\n"


@pytest.mark.parametrize(("own", "mem_mb"), [({}, 3072), ({"mem_mb": 7}, 3072)])
def test_the_memory_of_a_rule_follows_from_the_threads_that_it_was_given(own, mem_mb):
    alone = workflow().default("train_fnn", "mem_mb")
    several = Workflow({}, [], write(), is_main=True, threads={"train_fnn": 3}, resources={"train_fnn": own})
    assert several.default("train_fnn", "mem_mb") == mem_mb > alone
    # Snakemake puts a number of the profile in the place of this one, and a process elsewhere has both.
    assert workflow(is_main=False).default("train_fnn", "mem_mb") == mem_mb


def test_a_key_that_appears_twice_is_refused_though_snakemake_reads_it(capsys):
    path = write()
    path.write_text(path.read_text() + "name: other\n")
    with pytest.raises(SystemExit) as caught:
        Workflow({**DATA, "name": "other"}, [path], path, is_main=True)
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{path}:")
    assert line.endswith("name: appears twice; every key may appear once")
