"""Really submit a job, and see whether it starts, what it sees and whether it may submit another."""

from __future__ import annotations

import shutil
import socket
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headrace.doctor.findings import Finding, ok, problem, warning
from headrace.doctor.folders import nearest
from headrace.doctor.node import ANSWER, WORD, submit, write_script
from headrace.errors import InputError, StageError
from headrace.provenance.manifests import read_json
from headrace.schedulers.base import JobState, Scheduler

DEADLINE_S = 60.0
SAY_S = 10.0
POLL_S = 2.0
LATENCY_S = 20.0
"""How long a file may take to be seen by another node; Snakemake's `latency-wait` must be longer."""
LATE_S = 5.0
LOG_LINES = 3


@dataclass(frozen=True)
class Trial:
    """Where to submit to, and how long to wait for the job's answer."""

    scheduler: Scheduler
    folder: Path
    """One that nodes are said to share."""
    partition: str = ""
    account: str = ""
    deadline_s: float = DEADLINE_S

    def run(self) -> Iterator[Finding]:
        """Submit, wait and tell; job and folder are gone afterwards."""
        folder = Path(tempfile.mkdtemp(prefix=".headrace-doctor-", dir=nearest(self.folder)))
        job = ""
        try:
            word = uuid.uuid4().hex
            (folder / WORD).write_text(word, encoding="utf-8")
            name = self.scheduler.name
            command = (sys.executable, "-m", "headrace.doctor.node", str(folder), name, self.partition, self.account)
            script = write_script(folder / "job.sh", *command)
            try:
                job = submit(name, script, self.partition, self.account)
            except (StageError, InputError) as error:
                fix = "name another place to go or who pays: `headrace doctor --submit --partition NAME --account NAME`"
                yield problem("submit", f"refused: {error}", fix)
                return
            start = time.monotonic()
            state = self._wait(job, folder / ANSWER)
            if (answer := read_answer(folder / ANSWER)) is not None:
                waited_s = time.monotonic() - start
                yield from judge(answer, word, job, waited_s)
                job = ""
            else:
                yield self._explain(job, state, script.with_suffix(".log"))
        finally:
            if job:
                with suppress(StageError):
                    self.scheduler.cancel([job])
            shutil.rmtree(folder, ignore_errors=True)

    def _wait(self, job: str, path: Path) -> JobState:
        """Until the answer is there, the job has ended without one, or it is too late; returns the job's last state."""
        start = time.monotonic()
        asked = said = -SAY_S
        ended_at = None
        state = JobState("unknown")
        while (waited := time.monotonic() - start) < self.deadline_s and not path.exists():
            if waited - asked >= POLL_S:
                asked = waited
                state = self.scheduler.states([job])[job]
            if waited - said >= SAY_S:
                said = waited
                words = f"job {job} {describe(state)}; {waited:.0f} s of at most {self.deadline_s:.0f} s"
                print(f"... {words}", file=sys.stderr, flush=True)
            if state.phase in ("done", "failed"):
                ended_at = waited if ended_at is None else ended_at
                if waited - ended_at > LATENCY_S:
                    break
            # A listing makes network file systems look again.
            list(path.parent.iterdir())
            time.sleep(0.2)
        return state

    def _explain(self, job: str, state: JobState, log: Path) -> Finding:
        """Why there is no answer."""
        tail = ""
        with suppress(OSError):
            lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
            tail = " | ".join(line.strip() for line in lines if line.strip()).strip()[-300:]
        said = f"job {job} {describe(state)}" + (f"; it wrote: {tail}" if tail else "")
        if state.phase == "pending":
            advice = self.scheduler.advise(state) or "the cluster is busy: wait longer with --deadline SECONDS"
            return warning("submit", f"{said} for {self.deadline_s:.0f} s", advice)
        if state.phase in ("done", "failed") and not tail:
            fix = (
                f"the nodes do not share {self.folder.absolute()}, or have no {sys.executable}: put the project, its "
                ".venv and `artifacts` where they see them"
            )
            return problem("submit", f"{said}; nothing that it wrote is seen here", fix)
        return problem("submit", said, f"{sys.executable} must run on the nodes as it does here")


def read_answer(path: Path) -> dict[str, Any] | None:
    """What the node left, or None."""
    try:
        answer = read_json(path)
    except (OSError, ValueError):
        return None
    return answer if isinstance(answer, dict) else None


def judge(answer: dict[str, Any], word: str, job: str, waited_s: float) -> Iterator[Finding]:
    """What the node's answer means."""
    host = answer.get("host", "")
    if answer.get("word") == word:
        yield ok("submit", f"job {job} answered from {host} after {waited_s:.0f} s; files are seen both ways")
    else:
        said = f"{host} does not see the files that this machine writes: {answer.get('word')}"
        yield problem("submit", said, "put `artifacts` and the project on a file system that the nodes share")
    late_s = time.time() - float(answer.get("time", 0))
    if abs(late_s) > LATE_S + waited_s:
        yield warning("clock", f"{host}'s clock differs by {abs(late_s):.0f} s", "ask the site to set the clocks")
    if "inner" in answer:
        yield ok("submit", "jobs may submit jobs: `dask_cluster: slurm` or `pbs` can work")
    else:
        fix = "use `dask_cluster: local` or `allocation`, whose workers live inside the job"
        yield warning("submit", f"jobs may not submit jobs: {answer.get('inner_error')}", fix)
    interface = str(answer.get("interface", ""))
    if not interface or ("(127." in interface and host != socket.gethostname()):
        said = f"on {host} Dask would talk over {interface or answer.get('interface_error')}"
        yield warning("network", said, "name another: `dask_options: interface=NAME` in the profile")
    else:
        yield ok("network", f"on {host} Dask will talk over {interface}")


def describe(state: JobState) -> str:
    """Phase and reason."""
    reason = f" ({state.reason})" if state.reason else ""
    return f"is {state.phase}{reason}" + (f" on {state.node}" if state.node else "")
