"""The commands: what they print, and with which code they end."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from headrace.__main__ import main
from headrace.commands import experiments
from headrace.commands.stages import STAGES
from headrace.errors import InputError, StageError
from headrace.experiments.reading import load_experiment
from headrace.experiments.schema import experiment_schema, render_schema
from headrace.planning.artifacts import receipt_path, spec_path
from headrace.planning.plan import Plan, Site
from headrace.registry import PACKAGE

ROOT = Path(__file__).parents[2]
SMALL = "name: small\ndatasets: {d: {kind: diabetes}}\nmodels: [{kind: fnn}]\n"


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HEADRACE_ARTIFACTS", raising=False)
    monkeypatch.delenv("HEADRACE_RESULTS", raising=False)


@pytest.fixture
def small() -> Path:
    path = Path("small.yaml")
    path.write_text(SMALL)
    return path


def headrace(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "headrace", *map(str, arguments)], capture_output=True, text=True)


def one_line(capsys) -> str:
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    return line


def test_check_says_that_a_file_is_fine(small, capsys):
    assert main(["check", "small.yaml"]) == 0
    assert capsys.readouterr() == ("small.yaml: fine: 1 runs, 4 artifacts\n", "")


def test_check_takes_the_default_experiment(capsys, monkeypatch):
    assert main(["check"]) == 2
    assert one_line(capsys) == "configs/quickstart.yaml: cannot be read: No such file or directory"
    monkeypatch.chdir(ROOT)
    assert main(["check"]) == 0


def test_nothing_is_written_by_looking(small, capsys):
    assert main(["check", "small.yaml"]) == main(["plan", "small.yaml"]) == 0
    assert os.listdir() == ["small.yaml"]


def test_plan_prints_the_runs(small, capsys):
    assert main(["plan", "small.yaml", "--results", "r", "--device", "cpu"]) == 0
    out, err = capsys.readouterr()
    plan = Plan(load_experiment(small), Site(device="cpu"))
    assert plan.runs[0].train.id in out
    assert out.endswith("1 runs; the report goes to r/small/report.html\n")
    assert err == ""


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--runs-per-job", "0"], "must be a whole number above 0"),
        (["--runs-per-job", "x"], "must be a whole number above 0"),
        (["--device", "tpu"], "allowed: auto, cpu, cuda"),
    ],
)
@pytest.mark.parametrize("name", ["check", "plan"])
def test_an_option_that_cannot_be_is_one_line(small, capsys, name, options, words):
    assert main([name, "small.yaml", *options]) == 2
    assert words in one_line(capsys)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("digest", "nothing/provenance.json: no such file; give a folder of results"),
        ("verify", "nothing: give a folder of results, as results/NAME, or an artifact, as artifacts/shard/ID"),
    ],
)
def test_what_is_no_result_is_one_line(capsys, name, words):
    assert main([name, "nothing"]) == 2
    assert one_line(capsys).startswith(words)


@pytest.mark.parametrize("name", ["digest", "verify"])
@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"artifacts": 3}'])
def test_a_damaged_result_is_one_line(capsys, name, content):
    Path("provenance.json").write_text(content)
    assert main([name, "."]) in (1, 2)
    assert "provenance.json" in one_line(capsys)


def test_schema_prints_the_schema(capsys):
    assert main(["schema"]) == 0
    out, _ = capsys.readouterr()
    assert out == render_schema(experiment_schema())
    assert json.loads(out)["title"] == "Headrace experiment"


def test_every_stage_has_a_command_and_a_module():
    assert sorted(STAGES) == sorted(path.stem for path in (PACKAGE / "stages").glob("*.py") if path.stem != "__init__")


@pytest.mark.parametrize("name", ["check", "plan", "digest", "verify", "schema", *STAGES])
def test_every_command_explains_itself(capsys, name):
    with pytest.raises(SystemExit) as caught:
        main([name, "--help"])
    assert caught.value.code == 0
    assert f"headrace {name}" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["nothing"], ["check", "a", "b"], ["plan", "--nothing"], ["train"]])
def test_a_call_that_cannot_be_is_explained_with_code_2(capsys, arguments):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: headrace" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (InputError("a.yaml:1: wrong", "a.yaml:2: wrong too"), 2, "a.yaml:1: wrong\na.yaml:2: wrong too\n"),
        (StageError("the disk is full"), 1, "headrace check: the disk is full\n"),
        (KeyboardInterrupt(), 130, "headrace check: interrupted\n"),
    ],
)
def test_who_is_at_fault_decides_the_code(capsys, monkeypatch, error, code, text):
    def fail(_):
        raise error

    monkeypatch.setattr(experiments, "check", fail)
    assert main(["check"]) == code
    assert capsys.readouterr() == ("", text)


def test_a_reader_that_leaves_early_is_no_error(small):
    data = {**yaml.safe_load(SMALL), "training": {"seeds": list(range(3000))}}
    small.write_text(yaml.safe_dump(data))
    line = f"{sys.executable} -m headrace plan small.yaml | head -1"
    result = subprocess.run(line, shell=True, capture_output=True, text=True)
    assert result.stdout.startswith("dataset")
    assert result.stderr == ""


def write_specs(small: Path) -> Plan:
    plan = Plan(load_experiment(small), Site())
    plan.write_specs()
    return plan


def test_a_stage_wants_the_receipt_of_a_job_that_was_planned(small):
    result = headrace("train", "nothing.txt")
    assert result.returncode == 2
    assert result.stderr == "nothing.txt: not a receipt; it must be ARTIFACTS/.receipts/STAGE/JOB.ok\n"
    result = headrace("train", receipt_path(Path("artifacts"), "train", "fnn-1"))
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert "fnn-1.json: no such spec" in line


def test_a_stage_wants_a_receipt_of_its_own(small):
    shard = write_specs(small).jobs[0]
    result = headrace("train", receipt_path(Path("artifacts"), "shard", shard.id))
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert line.endswith("is the receipt of a shard job, not of train")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--cluster", "nothing"], "unknown kind 'nothing'"),
        (["--workers", "0"], "workers"),
        (["--worker-memory-mib", "-1"], "worker_memory_mib"),
    ],
)
def test_a_cluster_that_cannot_be_is_one_line(small, options, words):
    shard = write_specs(small).jobs[0]
    result = headrace("shard", receipt_path(Path("artifacts"), "shard", shard.id), *options)
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert words in line
    assert not receipt_path(Path("artifacts"), "shard", shard.id).exists()


def test_a_stage_refuses_to_run_code_that_was_not_planned(small):
    shard = write_specs(small).jobs[0]
    path = spec_path(Path("artifacts"), "shard", shard.id)
    spec = json.loads(path.read_text())
    spec["artifacts"][0]["code"] = "0" * 64
    path.write_text(json.dumps(spec))
    result = headrace("shard", receipt_path(Path("artifacts"), "shard", shard.id))
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line == f"headrace shard: shard {shard.id}: code changed since planning; start the workflow again"
