"""What PBS is asked for in each dialect, and the script around a job, which real shells run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from headrace.errors import InputError
from headrace.schedulers.pbs.scripts import (
    Request,
    resource_spec,
    safe_name,
    spawn_command,
    submit_arguments,
    wrap_script,
)
from headrace.schedulers.pbs.words import AWAY, FULL, deletion_trouble, explain_refusal, refusal_words

PLAIN = Request("train_cnn.7", cpus=4, memory_mib=8192, runtime_min=125, gpus=1, queue="gpu", account="physics")
WRAPPER_SAYS = """\
There was an error running the Slurm sbatch command.
The command was:
'/usr/bin/sbatch -e account required.e%A -N1 -p nope /project/walltime.sh 2>&1'
and the output was:
'sbatch: error: invalid partition specified: nope
 sbatch: error: Batch job submission failed: Invalid partition name specified
'
"""


@pytest.mark.parametrize(
    ("dialect", "arguments", "chunk", "expected"),
    [
        ("openpbs", (1, 600), "", "select=1:ncpus=1:mem=600mb"),
        ("openpbs", (4, 8192, 2), "", "select=1:ncpus=4:mem=8192mb:ngpus=2"),
        ("openpbs", (4, 8192, 0, 3), "", "select=3:ncpus=4:mem=8192mb"),
        ("openpbs", (4, 8192, 1), "gpu_type=a100", "select=1:ncpus=4:mem=8192mb:ngpus=1:gpu_type=a100"),
        ("torque", (1, 600), "", "nodes=1:ppn=1,mem=600mb"),
        ("torque", (4, 8192, 2), "", "nodes=1:ppn=4:gpus=2,mem=8192mb"),
        ("torque", (4, 8190, 0, 3), "", "nodes=3:ppn=4,pmem=2048mb"),
        ("torque", (1, 600), ":fast:", "nodes=1:ppn=1:fast,mem=600mb"),
    ],
)
def test_resources_in_each_dialect(dialect, arguments, chunk, expected):
    assert resource_spec(dialect, *arguments, chunk=chunk) == expected


def test_no_other_dialect():
    with pytest.raises(InputError, match="'sge': allowed: openpbs, torque"):
        resource_spec("sge", 1, 600)


def test_options_for_openpbs():
    assert submit_arguments("openpbs", PLAIN, "logs/7.log") == [
        "-N", "train_cnn-7", "-q", "gpu", "-A", "physics", "-l", "select=1:ncpus=4:mem=8192mb:ngpus=1",
        "-l", "walltime=02:05:00", "-j", "oe", "-o", "logs/7.log", "-r", "y", "-V",
    ]  # fmt: skip


def test_options_for_torque_are_one_list_of_resources():
    assert submit_arguments("torque", PLAIN, "logs/7.log") == [
        "-N", "train_cnn-7", "-q", "gpu", "-A", "physics", "-l", "nodes=1:ppn=4:gpus=1,mem=8192mb,walltime=02:05:00",
        "-j", "oe", "-o", "logs/7.log", "-r", "y", "-V",
    ]  # fmt: skip


def test_several_nodes_are_different_nodes_and_days_are_hours():
    arguments = submit_arguments("openpbs", Request("j", nodes=2, runtime_min=6000, extra=("-P", "x y")), "l")
    assert arguments[2:8] == ["-l", "select=2:ncpus=1:mem=1024mb", "-l", "place=scatter", "-l", "walltime=100:00:00"]
    assert arguments[-2:] == ["-P", "x y"]


@pytest.mark.parametrize("hostile", ["a b", "$(touch x)", "a;b", "`x`", "a'b", "a\nb", "a|b", "a&b"])
@pytest.mark.parametrize("field", ["queue", "account", "chunk"])
def test_hostile_words_are_refused(field, hostile):
    with pytest.raises(InputError, match=f"pbs_{field}"):
        submit_arguments("torque", Request("j", **{field: hostile}), "l")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("train_cnn.7", "train_cnn-7"),
        ("7up", "j7up"),
        ("a b;$(rm -rf /)", "a-b-rm-rf"),
        ("", "j"),
        ("ä" * 5, "j"),
        ("x" * 300, "x" * 60),
    ],
)
def test_names_mean_nothing_to_a_shell(text, name):
    assert safe_name(text) == name


def test_how_a_process_gets_to_another_node():
    have = {"pbs_tmrsh", "pbsdsh", "ssh"}

    def which(name: str) -> str | None:
        return name if name in have else None

    command = ["/bin/sh", "it's here.sh"]
    assert spawn_command("n2", command, which) == ["pbs_tmrsh", "n2", *command]
    have.remove("pbs_tmrsh")
    assert spawn_command("n2", command, which) == ["pbsdsh", "-h", "n2", *command]
    have.remove("pbsdsh")
    assert spawn_command("n2", command, which)[-2:] == ["n2", "/bin/sh 'it'\"'\"'s here.sh'"]


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        ("qsub: Unknown queue", "`pbs_queue`"),
        ("qsub: Queue is not enabled", "`pbs_queue`"),
        ("qsub: No default queue specified", "`pbs_queue`"),
        ("qsub: Access to queue is denied", "`pbs_queue`"),
        ("qsub: Job rejected by all possible destinations", "`pbs_queue`"),
        ("qsub: Job must specify budget (-A option)", "`pbs_account`"),
        ("qsub: Invalid account", "`pbs_account`"),
        ("qsub: Error: account is required", "`pbs_account`"),
        ("sbatch: error: Invalid account or account/partition combination specified", "`pbs_account`"),
        ("qsub: Job violates queue and/or server resource limits", "`mem_mb`"),
        ("qsub: Job exceeds queue resource limits MSG=cannot satisfy queue max walltime requirement", "`runtime`"),
        ("qsub: Job exceeds queue resource limits MSG=cannot locate feasible nodes", "`mem_mb`"),
        ("qsub: Unknown resource Resource_List.ngpus", "`pbs_chunk`"),
        ("qsub: Unknown resource Resource_List.feature", "`pbs_options`"),
        ("qsub: Illegal attribute or resource value Resource_List.place", "`pbs_options`"),
        ("sbatch: error: Requested node configuration is not available", "`mem_mb`"),
        ("qsub: something else", ""),
    ],
)
def test_a_refusal_is_explained(words, advice):
    assert advice in explain_refusal(words)
    assert bool(explain_refusal(words)) == bool(advice)


def test_the_wrappers_own_command_line_is_not_what_it_says():
    words = refusal_words(WRAPPER_SAYS, "")
    assert words.startswith("sbatch: error: invalid partition specified: nope")
    assert "`pbs_queue`" in explain_refusal(words)
    assert refusal_words("", "qsub: Unknown\n  queue\n") == "qsub: Unknown queue"
    assert refusal_words("", "") == "no message"


def test_states_that_pass():
    assert FULL.search("qsub: would exceed queue generic's per-user limit of jobs in 'Q' state")
    assert FULL.search("qsub: Maximum number of jobs already in queue MSG=total number of current user's jobs exceeds")
    assert FULL.search("sbatch: error: AssocMaxSubmitJobLimit")
    assert AWAY.search("qsub: cannot connect to server pbs1 (errno=15010)")
    assert not FULL.search("qsub: Job violates queue and/or server resource limits")


def test_what_qdel_says_of_ended_jobs_is_no_trouble():
    assert deletion_trouble("qdel: Unknown Job Id 1.pbs1\nqdel: Job has finished 2.pbs1\n") == ""
    assert deletion_trouble("qdel: Unknown Job Id 1\nqdel: Unauthorized Request 2\n") == "qdel: Unauthorized Request 2"


def start(folder: Path, script: str, shell: str = "sh") -> tuple[subprocess.Popen[bytes], Path]:
    """Run a wrapped script as PBS does: from a copy, in another folder, as the leader of a session."""
    exit_file = folder / 'it\'s a "folder" with $(touch pwned)' / "exit"
    exit_file.parent.mkdir(exist_ok=True)
    copy = folder / "copy.sh"
    copy.write_text(wrap_script(script, str(exit_file)))
    (folder / "home").mkdir(exist_ok=True)
    return subprocess.Popen([shell, copy], cwd=folder / "home", start_new_session=True), exit_file


@pytest.mark.parametrize("shell", ["sh", "bash"])
@pytest.mark.parametrize(("script", "code"), [("true && exit 0 || exit 1", 0), ("exit 3", 3), ("nonsense-9", 127)])
def test_the_exit_code_is_left_and_passed_on(tmp_path, script, code, shell):
    process, exit_file = start(tmp_path, f"#!/bin/sh\n# properties = {{}}\n{script}", shell)
    assert process.wait(10) == code
    assert exit_file.read_text() == f"{code}\n"
    assert [path.name for path in exit_file.parent.iterdir()] == ["exit"]
    assert not list((tmp_path / "home").iterdir())


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_a_job_that_is_told_to_end_says_so_and_gets_time(tmp_path, shell):
    work = f"""{sys.executable} -c '
import signal, sys, time, pathlib
def leave(*_):
    time.sleep(0.5)
    pathlib.Path("{tmp_path}/checkpoint").touch()
    sys.exit(1)
signal.signal(signal.SIGTERM, leave)
pathlib.Path("{tmp_path}/ready").touch()
time.sleep(30)
' && exit 0 || exit 1"""
    process, exit_file = start(tmp_path, work, shell)
    deadline = time.monotonic() + 10
    while not (tmp_path / "ready").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGTERM)
    assert process.wait(10) == 143
    assert (tmp_path / "checkpoint").exists()
    assert exit_file.read_text() == "143\n"


def test_a_job_that_is_run_again_after_it_was_done_does_nothing(tmp_path):
    script = f"echo again >> {tmp_path}/runs; exit $(cat {tmp_path}/code)"
    for code, runs in (("3", 1), ("143", 2), ("0", 3), ("5", 3)):
        (tmp_path / "code").write_text(code)
        process, exit_file = start(tmp_path, script)
        process.wait(10)
        assert len((tmp_path / "runs").read_text().splitlines()) == runs
    assert exit_file.read_text() == "0\n"


def test_a_killed_job_leaves_nothing(tmp_path):
    process, exit_file = start(tmp_path, "sleep 30")
    time.sleep(0.3)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(10)
    assert not exit_file.exists()
