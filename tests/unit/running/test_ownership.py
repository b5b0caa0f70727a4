"""What a killed workflow left is cleared, what lives is left alone: with real processes."""

import json
import os
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

import psutil
import pytest

from headrace.errors import InputError
from headrace.provenance.manifests import write_json
from headrace.running import ownership
from headrace.running.ownership import LOCKS, OWNER_VARIABLE, OWNERS, Process, note_locks, running, take_over

ARTIFACTS = Path("artifacts")
HERE = socket.gethostname()
RECEIPT = "artifacts/.receipts/train/fnn-1.ok"
OTHER = "artifacts/.receipts/train/fnn-2.ok"

# Signs in, locks as Snakemake does, says what it locked, and sleeps until its input ends.
WORKFLOW = """
    import sys
    from pathlib import Path
    from headrace.running.ownership import LOCKS, note_locks, take_over
    receipt, number = sys.argv[1:]
    take_over("first", frozenset([receipt]), Path("artifacts"))
    LOCKS.mkdir(parents=True, exist_ok=True)
    if number != "none":
        (LOCKS / f"{number}.input.lock").write_text("")
        (LOCKS / f"{number}.output.lock").write_text(receipt + "\\n")
        note_locks()
    print("ready", flush=True)
    sys.stdin.read()
"""
# A stage with a child of its own.
STAGE = """
    import subprocess, sys
    from pathlib import Path
    from headrace.running.ownership import running
    with running(Path("artifacts"), "train", "fnn-1"):
        child = subprocess.Popen(["sleep", "300"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        print(child.pid, flush=True)
        sys.stdin.read()
        child.kill()
        child.wait()
"""
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(OWNER_VARIABLE, "null")
    monkeypatch.setattr(ownership.atexit, "register", lambda *_: None)


@pytest.fixture
def start() -> Iterator[Start]:
    """Start Python code, wait for the first line that it prints, and kill it in the end."""
    started = []

    def run(code: str, *arguments: str, owner: Process | None = None) -> subprocess.Popen[str]:
        environment = {**os.environ, OWNER_VARIABLE: json.dumps(asdict(owner) if owner else None)}
        command = [sys.executable, "-c", textwrap.dedent(code), *arguments]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        process = subprocess.Popen(command, env=environment, **pipes)
        started.append(process)
        process.said = process.stdout.readline().strip()
        return process

    yield run
    for process in started:
        if process.poll() is None:
            for child in psutil.Process(process.pid).children(recursive=True):
                child.kill()
        process.kill()
        process.communicate(timeout=30)


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()


def identify(process: subprocess.Popen[str]) -> Process:
    return Process(HERE, process.pid, psutil.Process(process.pid).create_time())


def dead_process() -> Process:
    with subprocess.Popen(["sleep", "300"]) as process:
        found = Process(HERE, process.pid, psutil.Process(process.pid).create_time())
        process.kill()
    return found


def lives(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def locks() -> list[str]:
    return sorted(path.name for path in LOCKS.glob("*.lock"))


def notes() -> list[str]:
    return sorted(path.name for path in OWNERS.glob("*.json"))


def write_note(process: Process, *held: str) -> None:
    """The note of a workflow that holds locks."""
    note = {"process": asdict(process), "experiment": "first", "since": "2026-01-01T00:00:00Z", "locks": list(held)}
    write_json(OWNERS / f"{process.host}-{process.pid}.json", note)


def write_lock(name: str, *receipts: str) -> None:
    LOCKS.mkdir(parents=True, exist_ok=True)
    (LOCKS / name).write_text("".join(f"{receipt}\n" for receipt in receipts))


def write_stage(process: Process, owner: Process | None) -> Path:
    """The note of a running stage."""
    path = ARTIFACTS / ".running" / f"{process.host}-{process.pid}.json"
    note = {"process": asdict(process), "owner": asdict(owner) if owner else None, "stage": "train", "job": "fnn-1"}
    write_json(path, note)
    return path


OWN_NOTE = f"{HERE}-{os.getpid()}.json"


def test_a_process_is_found_while_it_lives(start):
    process = start("print('ready', flush=True); input()")
    found = identify(process)
    assert found.find().pid == process.pid
    assert not found.is_gone()
    kill(process)
    assert found.find() is None
    assert found.is_gone()


def test_a_process_that_nobody_waited_for_is_gone(start):
    process = start("print('ready', flush=True); input()")
    found = identify(process)
    process.kill()
    psutil.Process(process.pid).status()
    for _ in range(500):
        if psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE:
            break
        os.sched_yield()
    assert found.is_gone()


def test_another_process_with_the_same_number_is_not_the_one(start):
    found = identify(start("print('ready', flush=True); input()"))
    assert replace(found, started=found.started - 1000).is_gone()
    assert replace(found, started=found.started + 1000).is_gone()
    assert not replace(found, started=found.started + 0.5).is_gone()


def test_what_runs_on_another_host_is_never_known_to_be_gone():
    assert not Process("elsewhere", 2**22 + 1, 0.0).is_gone()
    assert not replace(dead_process(), host="elsewhere").is_gone()


def test_a_killed_workflow_is_cleared_away(start, capfd):
    killed = start(WORKFLOW, RECEIPT, "0")
    assert locks() == ["0.input.lock", "0.output.lock"]
    kill(killed)
    assert notes() == [f"{HERE}-{killed.pid}.json"]
    take_over("second", frozenset([RECEIPT]), ARTIFACTS)
    assert locks() == []
    assert notes() == [OWN_NOTE]
    assert capfd.readouterr().err == (
        "headrace: cleared the lock of a workflow that was killed; going on where it stopped\n"
    )


def test_a_workflow_that_ended_leaves_nothing_to_clear(start, capfd):
    workflow = start(WORKFLOW, RECEIPT, "none")
    workflow.communicate(timeout=30)
    assert notes() == []
    take_over("second", frozenset([RECEIPT]), ARTIFACTS)
    assert capfd.readouterr().err == ""


def test_a_living_workflow_refuses_another_for_the_same_artifacts(start):
    living = start(WORKFLOW, RECEIPT, "0")
    with pytest.raises(InputError) as caught:
        take_over("second", frozenset([RECEIPT, OTHER]), ARTIFACTS)
    (line,) = caught.value.problems
    assert "\n" not in line
    assert line.startswith(f"first: process {living.pid} on {HERE} has been making the same artifacts here since 20")
    assert lives(living.pid)
    assert locks() == ["0.input.lock", "0.output.lock"]
    assert notes() == [f"{HERE}-{living.pid}.json"]


def test_a_living_workflow_of_other_artifacts_is_no_hindrance(start, capfd):
    living = start(WORKFLOW, RECEIPT, "0")
    take_over("second", frozenset([OTHER]), ARTIFACTS)
    assert lives(living.pid)
    assert locks() == ["0.input.lock", "0.output.lock"]
    assert notes() == sorted([OWN_NOTE, f"{HERE}-{living.pid}.json"])
    assert capfd.readouterr().err == ""


def test_only_the_locks_of_the_killed_one_go(start):
    living, killed = start(WORKFLOW, OTHER, "0"), start(WORKFLOW, RECEIPT, "1")
    kill(killed)
    take_over("second", frozenset([RECEIPT]), ARTIFACTS)
    assert locks() == ["0.input.lock", "0.output.lock"]
    assert lives(living.pid)


def test_while_a_living_one_has_not_said_which_locks_are_its_own_none_is_cleared(start):
    start(WORKFLOW, OTHER, "none")
    killed = start(WORKFLOW, RECEIPT, "1")
    kill(killed)
    take_over("second", frozenset([RECEIPT]), ARTIFACTS)
    assert locks() == ["1.input.lock", "1.output.lock"]


def test_a_number_that_is_used_again_holds_nothing_and_is_not_harmed(start):
    innocent = start("print('ready', flush=True); input()")
    found = identify(innocent)
    write_lock("0.output.lock", RECEIPT)
    write_note(replace(found, started=found.started - 1000), "0.output.lock")
    take_over("second", frozenset([RECEIPT]), ARTIFACTS)
    assert locks() == []
    assert notes() == [OWN_NOTE]
    assert lives(innocent.pid)


def test_a_workflow_of_another_host_keeps_its_locks_and_its_artifacts():
    elsewhere = Process("elsewhere", 12345, 0.0)
    write_lock("0.output.lock", RECEIPT)
    write_note(elsewhere, "0.output.lock")
    with pytest.raises(InputError, match=r"process 12345 on elsewhere .* delete .snakemake/headrace"):
        take_over("second", frozenset([RECEIPT]), ARTIFACTS)
    take_over("second", frozenset([OTHER]), ARTIFACTS)
    assert locks() == ["0.output.lock"]
    assert "elsewhere-12345.json" in notes()


def test_locks_without_any_living_workflow_are_cleared():
    write_lock("0.output.lock", RECEIPT)
    write_lock("0.input.lock")
    take_over("second", frozenset([RECEIPT]), ARTIFACTS)
    assert locks() == []


def test_a_note_that_was_cut_short_stops_nobody():
    OWNERS.mkdir(parents=True)
    (OWNERS / f"{HERE}-1.json").write_text('{"process": {"ho')
    (OWNERS / f"{HERE}-2.json").write_text("")
    take_over("second", frozenset([RECEIPT]), ARTIFACTS)
    assert OWN_NOTE in notes()


def test_own_locks_are_those_that_no_other_note_names(start):
    start(WORKFLOW, OTHER, "0")
    take_over("second", frozenset([RECEIPT]), ARTIFACTS)
    write_lock("1.output.lock", RECEIPT)
    note_locks()
    assert json.loads((OWNERS / OWN_NOTE).read_text())["locks"] == ["1.output.lock"]


def test_a_stage_of_a_killed_workflow_is_ended_with_its_children(start, capfd):
    stage = start(STAGE, owner=dead_process())
    child = int(stage.said)
    take_over("second", frozenset([RECEIPT]), ARTIFACTS)
    assert not lives(stage.pid)
    assert not lives(child)
    assert list((ARTIFACTS / ".running").iterdir()) == []
    (line,) = capfd.readouterr().err.splitlines()
    assert "train fnn-1" in line
    assert "killed" in line


@pytest.mark.parametrize("owner", ["living", "unknown", "elsewhere"])
def test_a_stage_whose_owner_may_live_is_left_alone(start, owner):
    owners = {
        "living": Process.current(),
        "unknown": None,
        "elsewhere": replace(dead_process(), host="elsewhere"),
    }
    stage = start(STAGE, owner=owners[owner])
    take_over("second", frozenset([RECEIPT]), ARTIFACTS)
    assert lives(stage.pid)
    assert lives(int(stage.said))
    assert len(list((ARTIFACTS / ".running").iterdir())) == 1


def test_who_has_the_number_of_a_dead_stage_is_not_harmed(start):
    innocent = start("print('ready', flush=True); input()")
    found = identify(innocent)
    note = write_stage(replace(found, started=found.started - 1000), dead_process())
    take_over("second", frozenset([RECEIPT]), ARTIFACTS)
    assert lives(innocent.pid)
    assert not note.exists()


@pytest.mark.parametrize("host", ["elsewhere", f"{HERE}-2", f"{HERE}-2-3"])
def test_a_stage_on_another_host_keeps_its_note(host):
    note = write_stage(Process(host, 12345, 0.0), dead_process())
    take_over("second", frozenset([RECEIPT]), ARTIFACTS)
    assert note.exists()


def test_a_stage_notes_itself_while_it_runs_and_no_longer():
    folder = ARTIFACTS / ".running"
    with running(ARTIFACTS, "train", "fnn-1"):
        (path,) = folder.iterdir()
        note = json.loads(path.read_text())
        assert note == {"process": asdict(Process.current()), "owner": None, "stage": "train", "job": "fnn-1"}
    assert list(folder.iterdir()) == []


def stop_while_running() -> None:
    with running(ARTIFACTS, "train", "fnn-1"):
        raise KeyboardInterrupt


def test_a_stage_that_is_interrupted_removes_its_note():
    with pytest.raises(KeyboardInterrupt):
        stop_while_running()
    assert list((ARTIFACTS / ".running").iterdir()) == []


def test_stages_are_told_who_started_them():
    take_over("second", frozenset([RECEIPT]), ARTIFACTS)
    assert Process(**json.loads(os.environ[OWNER_VARIABLE])) == Process.current()
