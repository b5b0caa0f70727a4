"""Calls dealt over Dask workers, with the results in the order of the calls."""

from __future__ import annotations

import os
import resource
import socket
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from headrace.logs import logger

if TYPE_CHECKING:
    from distributed import Client, Future

CHECK_S = 2.0
"""How often to look whether the workers still live."""
FETCH_S = 4.0
"""How long to wait for the result of a call that is done, at first."""


@dataclass(frozen=True)
class Where:
    """Where a call ran."""

    worker: str
    node: str
    job: str
    """The scheduler's id of the job (and step) that the worker runs in; empty outside of one."""
    peak_memory_mib: float


class Workers:
    """The workers of one open cluster, and what each of them did."""

    def __init__(self, client: Client, kind: str, check: Callable[[], None] = lambda: None) -> None:
        """`check` raises StageError when the workers are lost for good, or when it is time to stop."""
        self.client, self.kind, self.check = client, kind, check
        self._tasks: Counter[str] = Counter()
        self._where: dict[tuple[str, str], dict[str, Any]] = {}

    @property
    def addresses(self) -> list[str]:
        """Those that are connected now."""
        return sorted(self.client.scheduler_info(n_workers=-1)["workers"])

    def submit(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Future[Any]:
        """Run a function on some worker; `take` returns its result."""
        return self.client.submit(_call, function, *arguments, pure=False, **options)

    def take(self, answer: tuple[Where, Any]) -> Any:
        """The result of a call, after a note of who made it."""
        where, result = answer
        self._tasks[where.worker] += 1
        # The one that takes a lost worker's place has its name, and another job.
        known = self._where.setdefault((where.worker, where.job), {**asdict(where), "tasks": 0})
        known["tasks"] += 1
        known["peak_memory_mib"] = max(known["peak_memory_mib"], where.peak_memory_mib)
        return result

    def await_any(self) -> list[str]:
        """The connected ones, as soon as there is one: after all were lost it takes a while."""
        while not (addresses := self.addresses):
            self.check()
            time.sleep(0.1)
        return addresses

    @property
    def num_used(self) -> int:
        """How many of them did something."""
        return len(self._tasks)

    def describe(self) -> dict[str, Any]:
        """What a manifest says about the workers; never part of a digest."""
        where = [self._where[key] for key in sorted(self._where)]
        return {"kind": self.kind, "tasks": dict(sorted(self._tasks.items())), "where": where}


def run_on_workers(workers: Workers, calls: Iterable[Callable[[], Any]], progress: str) -> Iterator[Any]:
    """Run every call on some worker; yields the results in the order of `calls`.

    Calls are dealt in turn, so that every worker gets its share however short they are; another worker takes over
    what a dead one had. A few calls a worker are in flight at most, so that memory follows the workers.
    """
    addresses = workers.await_any()
    in_flight: deque[Dealt] = deque()
    done = 0
    for i, call in enumerate(calls):
        if i % len(addresses) == 0:
            addresses = workers.addresses or addresses
        in_flight.append(Dealt(workers, call, addresses[i % len(addresses)]))
        if len(in_flight) > 4 * len(addresses):
            yield in_flight.popleft().result()
            done += 1
            logger.info("%s: %d done", progress, done)
    while in_flight:
        yield in_flight.popleft().result()
        done += 1
    logger.info("%s: all %d done", progress, done)


class Dealt:
    """A call that one worker is to make, unless that worker is lost."""

    def __init__(self, workers: Workers, call: Callable[..., Any], address: str, *arguments: Any) -> None:
        self.workers, self.call, self.address, self.arguments = workers, call, address, arguments
        self.future = workers.submit(call, *arguments, workers=[address], allow_other_workers=True)

    def result(self) -> Any:
        """Wait. A call tied to a worker that has died waits for ever: its successor has a new address.

        So does one whose result died with the worker before it was fetched.
        """
        tied, patience_s = True, FETCH_S
        while True:
            if wait_for(self.future):
                try:
                    return self.workers.take(self.future.result(timeout=patience_s))
                except TimeoutError:
                    if self.future.status == "error":
                        raise
                    # A large result may take longer on a slow network.
                    patience_s *= 2
            self.workers.check()
            if tied and self.address not in self.workers.addresses:
                self.future = self.workers.submit(self.call, *self.arguments)
                tied = False


def wait_for(future: Future[Any], timeout_s: float = CHECK_S) -> bool:
    """Wait a while; whether the call has ended, well or badly."""
    from distributed import CancelledError, wait

    # The result's own time limit would cover its transfer too, and begin that again each time.
    with suppress(TimeoutError, CancelledError), future.client.as_current():
        wait(future, timeout=timeout_s)
    return bool(future.done())


def _call(function: Callable[..., Any], *arguments: Any) -> tuple[Where, Any]:
    result = function(*arguments)
    return here(), result


def here() -> Where:
    """Where this worker runs. Called in a worker."""
    from distributed import get_worker

    environment = os.environ
    job, step = environment.get("SLURM_JOB_ID", ""), environment.get("SLURM_STEP_ID", "")
    return Where(
        worker=str(get_worker().name),
        node=environment.get("SLURMD_NODENAME") or socket.gethostname(),
        job=f"{job}.{step}" if job and step else job or environment.get("PBS_JOBID", ""),
        peak_memory_mib=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
    )
