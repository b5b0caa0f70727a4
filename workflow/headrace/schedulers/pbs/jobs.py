"""What is known of the jobs that a workflow has handed to PBS, in `.snakemake/headrace/pbs`.

NAME-TOKEN.exit   the exit code of a job, left there by the job itself
JOB.exit          a link to it, by the id that PBS gave the job
open/JOB          a note on a job that is not known to have ended
qstat.json        what qstat said last, of all open jobs: 100 jobs cost one call and not 100
"""

from __future__ import annotations

import json
import os
import re
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from headrace.errors import InputError, StageError
from headrace.provenance.manifests import read_json, write_atomically, write_json
from headrace.schedulers.base import JobState

FOLDER = Path(".snakemake") / "headrace" / "pbs"
LOGS = Path(".snakemake") / "pbs_logs"
GRACE_S = 60.0
"""For a job that PBS does not know: the file with its exit code may show up late on a shared file system."""
ANSWER_AGE_S = 10.0
"""So long an answer of qstat is good for all open jobs."""
OPEN_AGE_S = 600.0
"""A job whose state nobody has asked for in this time is not asked for together with others."""
FIRST_SIGNAL = 128

Verdict = Literal["running", "success", "failed"]
Ask = Callable[[Sequence[str]], Mapping[str, JobState]]


def new_exit_file(name: str) -> Path:
    """Where a job that is about to be submitted will leave its exit code."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    return FOLDER.absolute() / f"{name}-{uuid.uuid4().hex[:12]}.exit"


def find_orphans(output: Sequence[str]) -> list[str]:
    """Jobs that make the same files and are not known to have ended: a workflow that was killed has left them."""
    if not output:
        return []
    notes = {path.name: _read(path) for path in _list_notes()}
    return sorted(job for job, note in notes.items() if note.get("output") == list(output))


def note_submission(job: str, exit_file: Path, output: Sequence[str] = ()) -> None:
    """Once PBS has taken a job: so that it can be asked for by its id."""
    link = FOLDER / f"{_checked(job)}.exit"
    # An id of old may come again, when a server begins to count anew.
    temporary = exit_file.with_suffix(".link")
    temporary.symlink_to(exit_file.name)
    os.replace(temporary, link)
    _write_note(job, {"output": list(output)})


def forget(job: str) -> None:
    """A job that nobody waits for any more."""
    (FOLDER / "open" / _checked(job)).unlink(missing_ok=True)


def read_exit_code(job: str) -> int | None:
    """What the job left, if it has come to that."""
    # NFS remembers for a while that a file is not there, until the folder is looked at.
    FOLDER.mkdir(parents=True, exist_ok=True)
    os.listdir(FOLDER)
    try:
        text = (FOLDER / f"{_checked(job)}.exit").read_text()
    except OSError:
        return None
    return int(text) if text.strip().isdecimal() else None


def judge(
    exit_code: int | None, state: JobState | None, missing_s: float, grace_s: float = GRACE_S
) -> tuple[Verdict, str]:
    """Where a job stands, and why.

    By the exit code that it left; by qstat, where `state` is None when that gave no answer; and by how long neither
    has known anything.
    """
    # After a signal PBS may run the job again: then only PBS knows whether it has ended.
    if exit_code is not None and exit_code < FIRST_SIGNAL:
        return ("failed", f"exit code {exit_code}") if exit_code else ("success", "")
    if state is None or state.phase in ("pending", "running"):
        return "running", ""
    if state.phase == "done":
        return "success", ""
    if state.phase == "failed":
        cause = f"{state.cause}: " if state.cause not in (None, "unknown") else ""
        return "failed", f"{cause}{state.reason}" or "PBS does not say why"
    if exit_code is not None:
        return "failed", f"exit code {exit_code}: it was told to end"
    if missing_s < grace_s:
        return "running", ""
    return "failed", f"it vanished: PBS knows nothing of it, and it left no exit code within {grace_s:g} s"


def check(job: str, ask: Ask, explain: Callable[[JobState], str], grace_s: float = GRACE_S) -> tuple[Verdict, str]:
    """Where a job stands, and what a person should read about it now: each line is given once."""
    exit_code = read_exit_code(job)
    note = _read_note(job)
    state = None
    if exit_code is None or exit_code >= FIRST_SIGNAL:
        state = _ask_for_all(job, ask)
    missing_since = note.get("missing_since") or time.time()
    verdict, why = judge(exit_code, state, time.time() - missing_since, grace_s)
    if verdict != "running":
        _close(job, verdict, exit_code)
        # What the program said of its own failure is in the log that Snakemake shows.
        is_told = verdict == "failed" and (exit_code is None or exit_code >= FIRST_SIGNAL)
        return verdict, f"job {job} failed: {why}" if is_told else ""
    waits = f"{state.reason}: {advice}" if state and (advice := explain(state)) else ""
    is_missing = state is not None and state.phase == "unknown"
    _write_note(job, note | {"told": waits, "missing_since": missing_since if is_missing else None})
    return verdict, f"job {job} waits: {waits}" if waits and waits != note.get("told") else ""


def _ask_for_all(job: str, ask: Ask) -> JobState | None:
    """The state of a job, from one question for all open jobs; None when there is no answer."""
    path = FOLDER / "qstat.json"
    known = _read(path)
    if abs(time.time() - known.get("time", 0.0)) > ANSWER_AGE_S or job not in known["jobs"]:
        # A controller that does not answer is not asked again for each job.
        jobs = [job, *(other for other in _list_open() if other != job)]
        try:
            states: Any = {name: asdict(state) for name, state in ask(jobs).items()}
        except StageError:
            states = dict.fromkeys(jobs)
        known = {"time": time.time(), "jobs": states}
        write_json(path, known, durable=False)
    state = known["jobs"][job]
    return JobState(**state) if state else None


def _list_open() -> list[str]:
    """The jobs that somebody waits for."""
    now = time.time()
    recent = []
    for path in _list_notes():
        # Another process may take the note away meanwhile.
        with suppress(OSError):
            if now - path.stat().st_mtime < OPEN_AGE_S:
                recent.append(path.name)
    return sorted(recent)


def _list_notes() -> list[Path]:
    folder = FOLDER / "open"
    return [path for path in folder.iterdir() if not path.name.startswith(".")] if folder.is_dir() else []


def _close(job: str, verdict: Verdict, exit_code: int | None) -> None:
    """Keep the verdict: whoever asks again, perhaps when PBS has forgotten the job, hears the same."""
    forget(job)
    if verdict == "failed" and (exit_code is None or exit_code >= FIRST_SIGNAL):
        write_atomically((FOLDER / f"{job}.exit").resolve(), b"1\n", durable=False)


def _read_note(job: str) -> dict[str, Any]:
    return _read(FOLDER / "open" / job)


def _write_note(job: str, note: Mapping[str, Any]) -> None:
    write_json(FOLDER / "open" / job, note, durable=False)


def _read(path: Path) -> dict[str, Any]:
    try:
        found = read_json(path)
    except (OSError, json.JSONDecodeError):
        return {}
    return found if isinstance(found, dict) else {}


def _checked(job: str) -> str:
    """An id is part of a path."""
    if not re.fullmatch(r"\d[\w.\[\]-]*", job):
        raise InputError(f"{job!r}: is not the id of a PBS job, as 123.server")
    return job
