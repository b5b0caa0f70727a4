"""headrace qsub, headrace qstatus and headrace-qdel, with a PBS of small scripts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fake_commands import FakeCommands
from headrace.__main__ import main
from headrace.commands import pbs as commands
from headrace.schedulers.pbs import scheduler as pbs

ROOT = Path(__file__).parents[3]
RESOURCES = {"mem_mb": 2048, "runtime": 90, "gpu": 1, "pbs_queue": "gpu", "pbs_options": "-P 'my project'"}


@pytest.fixture
def fakes(tmp_path, monkeypatch) -> Iterator[FakeCommands]:
    monkeypatch.chdir(tmp_path)
    pbs._identify.cache_clear()
    fakes = FakeCommands(tmp_path, monkeypatch)
    fakes.say("qstat", {"--version": "pbs_version = 23.06.06"}, otherwise="exit 153")
    fakes.add("qsub", "echo 41.pbs1")
    monkeypatch.setattr(commands, "FULL_PAUSE_S", 0.01)
    monkeypatch.setattr(commands, "AWAY_PAUSE_S", 0.01)
    yield fakes
    pbs._identify.cache_clear()


def job_script(**properties: object) -> str:
    """A job script as Snakemake writes it."""
    told = {"rule": "train_cnn", "jobid": 7, "threads": 4, "resources": RESOURCES, "output": ["a.ok"]} | properties
    Path("job.sh").write_text(f"#!/bin/sh\n# properties = {json.dumps(told)}\nexit 0 || exit 1\n")
    return "job.sh"


def test_a_job_script_of_snakemake_says_it_all(fakes, capsys):
    assert main(["qsub", job_script()]) == 0
    assert capsys.readouterr() == ("41.pbs1\n", "")
    (call,) = fakes.calls("qsub")
    assert call.startswith(
        "qsub -N train_cnn-7 -q gpu -l select=1:ncpus=4:mem=2048mb:ngpus=1 -l walltime=01:30:00 -j oe "
        "-o .snakemake/pbs_logs/train_cnn/7.log -r y -V -P my project .snakemake/headrace/pbs/train_cnn-7-"
    )
    assert Path(".snakemake/pbs_logs/train_cnn").is_dir()
    assert not list(Path(".snakemake/headrace/pbs").glob("*.sh")), "qsub has made a copy"


def test_options_beat_what_the_script_says(fakes, capsys):
    options = ["--dialect", "torque", "--queue", "long", "--account", "me", "--threads", "2", "--memory-mib", "512"]
    more = ["--runtime-min", "5", "--gpus", "0", "--nodes", "1", "--name", "x.1", "--chunk", "fast", "--extra=-m n"]
    assert main(["qsub", *options, *more, job_script()]) == 0
    (call,) = fakes.calls("qsub")
    assert call.startswith("qsub -N x-1 -q long -A me -l nodes=1:ppn=2:fast,mem=512mb,walltime=00:05:00 -j oe")
    assert " -V -m n .snakemake" in call


def test_the_job_leaves_its_exit_code_where_qstatus_looks(fakes, capsys):
    fakes.add("qsub", f'for last; do :; done; cat "$last" > "{fakes.folder.parent}/copy.sh"; echo 41.pbs1')
    assert main(["qsub", job_script()]) == 0
    assert main(["qstatus", "41.pbs1"]) == 0
    assert capsys.readouterr().out == "41.pbs1\nrunning\n"
    environment = {**os.environ, "PATH": os.defpath}
    subprocess.run(["/bin/sh", fakes.folder.parent / "copy.sh"], check=True, env=environment)
    assert main(["qstatus", "41.pbs1"]) == 0
    assert capsys.readouterr() == ("success\n", "")


@pytest.mark.parametrize(
    ("properties", "options", "words"),
    [
        ({"threads": 0}, [], "threads: 0: must be a whole number, 1 or more"),
        ({"resources": {"mem_mb": "<TBD>"}}, [], "mem_mb: '<TBD>': must be a whole number, 1 or more"),
        ({"resources": {"runtime": 0}}, [], "runtime: 0: must be a whole number, 1 or more"),
        ({"resources": {"pbs_queue": "a b"}}, [], "pbs_queue 'a b': allowed are letters"),
        ({"resources": {"pbs_options": "-P 'x"}}, [], "pbs_options: -P 'x: No closing quotation"),
        ({}, ["--gpus", "many"], "gpu: 'many': must be a whole number, 0 or more"),
    ],
)
def test_a_bad_request_is_one_line(fakes, capsys, properties, options, words):
    assert main(["qsub", *options, job_script(**properties)]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert words in err
    assert not fakes.calls("qsub")


def test_a_refusal_is_one_line_in_qsubs_words_and_says_what_to_change(fakes, capsys):
    fakes.add("qsub", "echo 'qsub: Unknown queue' >&2; exit 170")
    assert main(["qsub", job_script()]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        "headrace qsub: PBS refuses train_cnn-7: qsub: Unknown queue; set `pbs_queue` in "
        "workflow/profiles/pbs/config.yaml to one that `qstat -Q` lists as enabled\n"
    )


def test_no_pbs_here_is_one_line(fakes, capsys):
    (fakes.folder / "qstat").unlink()
    assert main(["qsub", job_script()]) == 1
    assert capsys.readouterr().err == "headrace qsub: qstat: no such command here; is this a node of the cluster?\n"


@pytest.mark.parametrize(
    "words", ["qsub: would exceed queue workq's per-user limit of jobs in 'Q' state", "qsub: cannot connect to server"]
)
def test_what_passes_is_waited_for(fakes, capsys, words):
    mark = fakes.folder.parent / "tried"
    fakes.add("qsub", f'if [ -e "{mark}" ]; then echo 41.pbs1; else echo > "{mark}"; echo "{words}" >&2; exit 1; fi')
    assert main(["qsub", job_script()]) == 0
    assert capsys.readouterr().out == "41.pbs1\n"
    assert len(fakes.calls("qsub")) == 2


def test_what_does_not_pass_ends(fakes, capsys, monkeypatch):
    monkeypatch.setattr(commands, "FULL_WAIT_S", 0.05)
    fakes.add("qsub", "echo 'qsub: would exceed limit' >&2; exit 1")
    assert main(["qsub", job_script()]) == 1
    fakes.add("qsub", "echo 'qsub: cannot connect to server pbs1 (errno=111)' >&2; exit 111")
    assert main(["qsub", job_script()]) == 1
    assert "cannot connect to server pbs1" in capsys.readouterr().err


def test_a_job_that_a_killed_workflow_left_is_ended(fakes, capsys):
    fakes.add("qdel", "exit 0")
    assert main(["qsub", job_script()]) == 0
    fakes.add("qsub", "echo 42.pbs1")
    assert main(["qsub", job_script()]) == 0
    assert fakes.calls("qdel") == ["qdel 41.pbs1"]
    assert "ended job 41.pbs1, left by a workflow that was killed" in capsys.readouterr().err
    assert main(["qsub", job_script(output=["b.ok"])]) == 0
    assert len(fakes.calls("qdel")) == 1


def test_qstatus_says_running_when_qstat_does_not_answer(fakes, capsys):
    main(["qsub", job_script()])
    fakes.add("qstat", "echo 'qstat: cannot connect to server pbs1' >&2; exit 162")
    assert main(["qstatus", "41.pbs1", "--grace-s", "0"]) == 0
    assert capsys.readouterr().out == "41.pbs1\nrunning\n"


def test_qstatus_says_failed_when_a_job_has_vanished(fakes, capsys):
    main(["qsub", job_script()])
    assert main(["qstatus", "41.pbs1", "--grace-s", "0"]) == 0
    out, err = capsys.readouterr()
    assert out == "41.pbs1\nfailed\n"
    assert "headrace qstatus: job 41.pbs1 failed: it vanished" in err


def test_qstatus_says_running_when_its_disk_is_full(fakes, capsys, monkeypatch):
    main(["qsub", job_script()])

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("headrace.schedulers.pbs.jobs.write_json", full)
    assert main(["qstatus", "41.pbs1"]) == 0
    out, err = capsys.readouterr()
    assert out == "41.pbs1\nrunning\n"
    assert "No space left on device" in err


def qdel(fakes: FakeCommands, *jobs: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", "import sys; from headrace.commands.pbs import cancel; sys.exit(cancel())", *jobs]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "workflow")}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)


@pytest.mark.parametrize(
    ("script", "code", "words"),
    [
        ("exit 0", 0, ""),
        ("exit 2", 0, ""),
        ("echo 'qdel: Unknown Job Id 1.pbs1' >&2; exit 153", 0, ""),
        (
            "echo 'qdel: Unauthorized Request 1.pbs1' >&2; exit 159",
            1,
            "headrace-qdel: qdel: Unauthorized Request 1.pbs1\n",
        ),
    ],
)
def test_headrace_qdel(fakes, script, code, words):
    fakes.add("qdel", script)
    process = qdel(fakes, "1.pbs1", "2.pbs1")
    output, _ = process.communicate(timeout=20)
    assert (process.returncode, output) == (code, words)
    assert fakes.calls("qdel") == ["qdel 1.pbs1 2.pbs1"]


def test_headrace_qdel_says_how_to_call_it(fakes):
    process = qdel(fakes)
    output, _ = process.communicate(timeout=20)
    assert (process.returncode, output) == (2, "usage: headrace-qdel JOB...\n")


def test_qdel_goes_on_when_snakemake_loses_its_patience(fakes):
    done = fakes.folder.parent / "done"
    fakes.add("qdel", f'echo > "{done}.begun"; sleep 1; echo said; echo > "{done}"; exit 1')
    process = qdel(fakes, "1.pbs1")
    deadline = time.monotonic() + 20
    while not Path(f"{done}.begun").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=20)
    while not done.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert done.exists()


def test_qdel_imports_nothing_heavy():
    code = "import sys, headrace.commands.pbs; print(len(sys.modules)); print('yaml' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "workflow")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    number, has_yaml = done.stdout.split()
    assert (int(number) < 300, has_yaml) == (True, "False")
