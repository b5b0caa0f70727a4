"""Workers that a scheduler starts: waiting for them without silence, replacing the dead, and saying why none come."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.errors import StageError
from headrace.logs import logger
from headrace.schedulers.base import JobState
from headrace.tries.stopping import Stop

if TYPE_CHECKING:
    from dask_jobqueue.core import Job

LOOK_S = 3.0
"""How often the scheduler is asked about jobs whose workers are not connected; connected ones cost no question."""
SAY_S = 30.0
"""How often a wait is mentioned in which nothing changes."""
GONE_S = 60.0
"""How long a job may be unknown to its scheduler before it counts as ended."""
MAX_REFUSALS = 3
TAIL_LINES = 12


@dataclass
class Ledger:
    """What became of the jobs that were asked for."""

    refusals: list[str] = field(default_factory=list)
    """Why the scheduler took none of the last ones; emptied when it takes one."""

    def refuse(self, error: Exception) -> None:
        """Note the scheduler's own words, which dask-jobqueue hides in a longer message."""
        words = str(error).partition("stderr:\n")[2] or str(error)
        self.refusals.append(" ".join(words.split()))


@dataclass(frozen=True)
class Limits:
    """How patient to be."""

    deadline_s: float
    gather_s: float
    connect_s: float


class Provision:
    """Keeps a cluster at its size. A thread of its own looks after the workers; `check` tells what it found."""

    def __init__(
        self,
        cluster: Any,
        ledger: Ledger,
        states: Callable[[Sequence[Job]], Mapping[str, JobState]],
        advise: Callable[[JobState], str],
        limits: Limits,
        logs: Path,
        stop: Stop,
    ) -> None:
        self.cluster, self.ledger, self.states, self.advise = cluster, ledger, states, advise
        self.limits, self.logs, self.stop = limits, logs, stop
        self.failure = ""
        self._last_arrival = time.monotonic()
        self._ever: set[str] = set()
        self._lost = 0
        self._first_seen: dict[str, float] = {}
        self._hopeless: dict[str, int] = {}
        self._missing: dict[str, JobState] = {}
        self._last_loss = ""
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="headrace-provision", daemon=True)

    def __enter__(self) -> Provision:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join(timeout=30)

    def check(self) -> None:
        """Raise StageError when workers will not come (back), or when this job must stop."""
        if self.failure:
            raise StageError(self.failure)
        if self.stop.cause is not None:
            waits = "" if self.connected() else f"; no Dask worker had come: {self._waits() or self._last_loss}"
            self.stop.check(f"its work is kept only when it is whole, so this job starts again{waits}")

    def connected(self) -> set[str]:
        """The names of the workers that are there now."""
        # A sorted dictionary, whose own view looks up key after key while the event loop takes some away: what the
        # plain dictionary under it holds is copied in one step.
        return {str(worker.name) for worker in list(dict.values(self.cluster.scheduler.workers))}

    def wait(self, wanted: int) -> None:
        """Return when all workers have come, or when some have and no other for a while.

        Raises StageError when none comes in time.
        """
        start, said, line, come, last = time.monotonic(), time.monotonic(), "", 0, 0.0
        while len(self.connected()) < wanted:
            self.check()
            waited, now_here = time.monotonic() - start, len(self.connected())
            if now_here > come:
                come, last = now_here, waited
            if now_here and waited - last > self.limits.gather_s:
                logger.warning("%s; going on, the others join when they come", self._summary(wanted))
                return
            summary = self._summary(wanted)
            if summary != line or time.monotonic() - said > SAY_S:
                logger.info("%s (%.0f s)", summary, waited)
                line, said = summary, time.monotonic()
            time.sleep(0.2)
        logger.info("workers: all %d connected after %.1f s", wanted, time.monotonic() - start)

    def _summary(self, wanted: int) -> str:
        waits = self._waits()
        return f"workers: {len(self.connected())} of {wanted} connected" + (f"; {waits}" if waits else "")

    def _waits(self) -> str:
        return "; ".join(f"job {job}: {describe(state)}" for job, state in list(self._missing.items())[:4])

    def _watch(self) -> None:
        while not self._ended.wait(LOOK_S):
            try:
                self._look()
            except Exception as error:
                # Whatever it was, the work must not go on unwatched and wait for ever.
                self.failure = self.failure or f"the watch over the workers failed: {type(error).__name__}: {error}"
            if self.failure:
                return

    def _look(self) -> None:
        """Compare who should be there with who is, and act."""
        connected = self.connected()
        if connected - self._ever:
            self._lost = 0
        self._ever |= connected
        if connected:
            self._last_arrival = time.monotonic()
        absent = {str(name): job for name, job in list(self.cluster.workers.items()) if str(name) not in connected}
        known = self.states([job for job in absent.values() if job.job_id]) if absent else {}
        self._missing = {job_id: known[job_id] for job_id in known}
        lost = [
            name for name, job in absent.items() if self._is_lost(job, known.get(job.job_id or ""), bool(connected))
        ]
        if lost or len(self.cluster.workers) < len(self.cluster.worker_spec):
            self._replace(lost)
        self._judge(bool(connected))

    def _is_lost(self, job: Job, state: JobState | None, anybody: bool) -> bool:
        """Whether a worker that is not connected will never be."""
        if job.job_id is None:
            return bool(self.ledger.refusals)
        state = state or JobState("unknown")
        now, key = time.monotonic(), f"{job.job_id} {state.phase}"
        since = now - self._first_seen.setdefault(key, now)
        if state.phase == "pending" and (advice := self.advise(state)):
            self._hopeless[job.job_id] = self._hopeless.get(job.job_id, 0) + 1
            if self._hopeless[job.job_id] >= 2 and not anybody:
                self.failure = f"no Dask worker can start: job {job.job_id} waits for {state.reason}: {advice}"
            return False
        if state.phase == "running" and since > self.limits.connect_s:
            self._last_loss = (
                f"job {job.job_id} runs on {state.node or 'its node'} since {since:.0f} s and has not connected to "
                f"{self.cluster.scheduler_address}; can that node reach it? dask_options: interface=NAME chooses the "
                f"network, connect_s=SECONDS the patience{self.tail(job)}"
            )
        elif state.phase in ("failed", "done") or (state.phase == "unknown" and since > GONE_S):
            self._last_loss = f"job {job.job_id} ended ({describe(state)}){self.tail(job)}"
        else:
            return False
        self._lost += 1
        logger.warning("a worker was lost: %s", self._last_loss)
        return True

    def _judge(self, anybody: bool) -> None:
        """Decide whether waiting is still worth while."""
        if len(self.ledger.refusals) >= MAX_REFUSALS:
            self.failure = f"the scheduler takes no worker's job: {self.ledger.refusals[-1]}"
        elif anybody or self.failure:
            return
        elif self._lost >= 2 * len(self.cluster.worker_spec) + 1 or (self._lost and not self._ever and self._lost >= 2):
            self.failure = f"Dask workers end before they connect ({self._lost} so far): {self._last_loss}"
        elif time.monotonic() - self._last_arrival > self.limits.deadline_s:
            self.failure = (
                f"no Dask worker for {self.limits.deadline_s:g} s "
                f"({self._waits() or self._last_loss or 'no job is known'}); "
                "ask for less (dask_worker_mem_mb, dask_workers), for another place (dask_options: partition=NAME), "
                "wait longer (dask_options: deadline_s=SECONDS), or work in one job (dask_cluster: local or allocation)"
            )

    def _replace(self, lost: Sequence[str]) -> None:
        """Forget lost workers and ask for new ones."""

        async def renew() -> None:
            for name in list(self.cluster.workers):
                if str(name) in lost:
                    await self.cluster.workers.pop(name).close()
            # A submission that fails is in the ledger.
            with suppress(Exception):
                await self.cluster._correct_state()

        self.cluster.sync(renew)

    def tail(self, job: Job) -> str:
        """The last lines of what a worker's job said, and where the rest is."""
        files = sorted(self.logs.glob(f"*{job.job_id}*"), key=lambda file: file.stat().st_size)
        lines = files[-1].read_text(errors="replace").splitlines()[-TAIL_LINES:] if files else []
        return "".join(f"\n    {line}" for line in [f"{files[-1]} ends with:", *lines]) if lines else ""


def describe(state: JobState) -> str:
    """A state in a few words."""
    words = [state.phase, state.cause or "", state.reason]
    return ", ".join(word for word in words if word and word != "None")


def noted(job_class: Any, ledger: Ledger, environment: Mapping[str, str]) -> Any:
    """A kind of dask-jobqueue's job that keeps a refused submission in the ledger instead of losing it.

    `environment` is what the submitting client sees: without what the surrounding job's step was told about itself.
    """
    import shlex

    from distributed.core import Status

    class Noted(job_class):  # type: ignore[misc]
        async def start(self) -> None:
            try:
                await super().start()
            except (RuntimeError, OSError, ValueError) as error:
                ledger.refuse(error)
                self.status = Status.running
            else:
                ledger.refusals.clear()

        async def _submit_job(self, script_filename: str) -> Any:
            command = [*shlex.split(self.submit_command), script_filename]
            return await self._call(command, env=dict(environment))

    Noted.__name__ = job_class.__name__
    return Noted
