"""Who works here: so that a workflow that was killed needs no unlocking, and one that lives is not disturbed.

Each Snakemake process and each stage leaves a note of its host, pid and start time. A pid alone proves nothing: it is
used again after a while.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil

from headrace.errors import InputError, StageError
from headrace.provenance.manifests import iso_time, write_json
from headrace.running.processes import Process
from headrace.schedulers.base import OwnJob, Scheduler, load_scheduler

OWNER_VARIABLE = "HEADRACE_OWNER"
OWNER_JOB_VARIABLE = "HEADRACE_OWNER_JOB"
OWNERS = Path(".snakemake") / "headrace"
LOCKS = Path(".snakemake") / "locks"


def take_over(experiment: str, receipts: frozenset[str], artifacts: Path) -> None:
    """Called by the main Snakemake process before it locks: end and unlock what a killed one left, then sign in.

    Raises InputError when a living workflow is making the same receipts.
    """
    owners = {path: note for path in OWNERS.glob("*.json") if (note := _read(path))}
    living = {path: note for path, note in owners.items() if not Process(**note["process"]).is_gone()}
    _end_orphans(artifacts)
    _sweep_attempts(artifacts)
    locks = [lock for lock in LOCKS.glob("*.lock") if lock.is_file()]
    for note in living.values():
        _refuse_if_shared(note, receipts)
    held = {name for note in living.values() for name in note["locks"]}
    undecided = any(not note["locks"] for note in living.values())
    stale = [] if undecided else [lock for lock in locks if lock.name not in held]
    for lock in stale:
        lock.unlink(missing_ok=True)
    if stale:
        print("headrace: cleared the lock of a workflow that was killed; going on where it stopped", file=sys.stderr)
    for path in owners.keys() - living.keys():
        path.unlink(missing_ok=True)
    _sign_in(experiment)


def note_locks() -> None:
    """Called once Snakemake has locked: say which locks are ours."""
    path = _own_note()
    note = _read(path)
    if note:
        others = {
            name for other in OWNERS.glob("*.json") if other != path for name in (_read(other) or {}).get("locks", [])
        }
        note["locks"] = sorted(lock.name for lock in LOCKS.glob("*.lock") if lock.name not in others)
        write_json(path, note, durable=False)


def refuse_orphan() -> None:
    """Raise StageError in a job whose workflow was killed and has been followed by another, which does the work."""
    owner = json.loads(os.environ.get(OWNER_VARIABLE, "null"))
    if owner is not None and OWNERS.is_dir() and not (OWNERS / f"{owner['host']}-{owner['pid']}.json").exists():
        raise StageError("the workflow that asked for this job is gone, and its work was taken over")


@contextmanager
def running(artifacts: Path, stage: str, job: str, own_job: tuple[Scheduler, OwnJob] | None = None) -> Iterator[None]:
    """Leave a note while a stage runs, so that whoever finds its workflow dead can end it."""
    process = Process.current()
    note = artifacts / ".running" / f"{process.host}-{process.pid}.json"
    owner = json.loads(os.environ.get(OWNER_VARIABLE, "null"))
    says = {"process": asdict(process), "owner": owner, "stage": stage, "job": job}
    # A workflow that runs inside an allocation shares it with its stages; only they may be ended, not the allocation.
    if own_job is not None and own_job[1].id != os.environ.get(OWNER_JOB_VARIABLE):
        says |= {"scheduler": own_job[0].name, "scheduler_job": own_job[1].id}
    write_json(note, says, durable=False)
    try:
        yield
    finally:
        note.unlink(missing_ok=True)


def find_living_jobs(artifacts: Path) -> set[tuple[str, str]]:
    """The jobs, as (stage, job), that left a note and are not proved dead.

    Of a process of another host nothing is proved: it counts until its workflow is found dead.
    """
    notes = [note for path in (artifacts / ".running").glob("*.json") if (note := _read(path))]
    return {(note["stage"], note["job"]) for note in notes if not _is_over(note)}


def _is_over(note: dict[str, Any]) -> bool:
    process = Process(**note["process"])
    if process.host == socket.gethostname():
        return process.is_gone()
    return note["owner"] is not None and Process(**note["owner"]).is_gone()


def _sign_in(experiment: str) -> None:
    process = Process.current()
    os.environ[OWNER_VARIABLE] = json.dumps(asdict(process))
    os.environ[OWNER_JOB_VARIABLE] = os.environ.get("SLURM_JOB_ID") or os.environ.get("PBS_JOBID") or ""
    note = {"process": asdict(process), "experiment": experiment, "since": iso_time(), "locks": []}
    write_json(_own_note(), note, durable=False)
    atexit.register(_sign_out, os.getpid(), _own_note().absolute())


def _sign_out(pid: int, note: Path) -> None:
    # Children that Snakemake forks inherit the exit handler, but not the note.
    if os.getpid() == pid:
        note.unlink(missing_ok=True)


def _own_note() -> Path:
    return OWNERS / f"{socket.gethostname()}-{os.getpid()}.json"


def _refuse_if_shared(note: dict[str, Any], receipts: frozenset[str]) -> None:
    for name in note["locks"]:
        if not name.endswith(".output.lock"):
            continue
        with suppress(FileNotFoundError):
            if receipts & frozenset((LOCKS / name).read_text().splitlines()):
                process = note["process"]
                raise InputError(
                    f"{note['experiment']}: process {process['pid']} on {process['host']} has been making the same "
                    f"artifacts here since {note['since']}; wait for it or stop it "
                    f"(should that host be gone, delete {OWNERS})"
                )


def _end_orphans(artifacts: Path) -> None:
    """End the stages whose workflow is proved dead, with their children, or the jobs that they run in."""
    for path in (artifacts / ".running").glob("*.json"):
        note = _read(path)
        if note is None or note["owner"] is None or not Process(**note["owner"]).is_gone():
            continue
        if note.get("scheduler_job"):
            with suppress(StageError):
                load_scheduler(note["scheduler"]).cancel([note["scheduler_job"]])
        elif note["process"]["host"] == socket.gethostname():
            _end(Process(**note["process"]))
        else:
            continue
        print(f"headrace: ended {note['stage']} {note['job']}, left by a workflow that was killed", file=sys.stderr)
        path.unlink(missing_ok=True)


def _end(stage: Process) -> None:
    """End a process of this host and its children."""
    process = stage.find()
    if process is None:
        return
    family = [*process.children(recursive=True), process]
    for member in family:
        with suppress(psutil.NoSuchProcess):
            member.kill()
    psutil.wait_procs(family, timeout=10)


def _sweep_attempts(artifacts: Path) -> None:
    """Remove what killed processes of this host had begun; nobody can continue a private folder."""
    for folder in (artifacts / ".attempts").glob(f"*.{socket.gethostname()}.*"):
        pid = folder.name.removesuffix(".replaced").split(".")[-2]
        if pid.isdecimal() and not psutil.pid_exists(int(pid)):
            shutil.rmtree(folder, ignore_errors=True)


def _read(path: Path) -> dict[str, Any] | None:
    """A note, or None where it has just been removed or was cut short."""
    for _ in range(3):
        try:
            note: dict[str, Any] = json.loads(path.read_text())
            return note
        except FileNotFoundError:
            return None
        except json.JSONDecodeError:
            time.sleep(0.05)
    return None
