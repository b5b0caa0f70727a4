"""Calls dealt over Dask workers, with the results in the order of the calls."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from headrace.logs import logger

if TYPE_CHECKING:
    from distributed import Client

CHECK_S = 2.0
"""How often to look whether the worker of a call that takes long still lives."""


def run_on_workers(client: Client, calls: Iterable[Callable[[], Any]], progress: str) -> Iterator[tuple[str, Any]]:
    """Run every call on some worker; yields (worker's name, result) in the order of `calls`.

    Calls are dealt in turn, so that every worker gets its share however short they are; another worker takes over
    what a dead one had. A few calls a worker are in flight at most, so that memory follows the workers.
    """
    workers = sorted(client.scheduler_info(n_workers=-1)["workers"])
    in_flight: deque[_Dealt] = deque()
    done = 0
    for i, call in enumerate(calls):
        in_flight.append(_Dealt(client, call, workers[i % len(workers)]))
        if len(in_flight) > 4 * len(workers):
            yield in_flight.popleft().result()
            done += 1
            logger.info("%s: %d done", progress, done)
    while in_flight:
        yield in_flight.popleft().result()
        done += 1
    logger.info("%s: all %d done", progress, done)


class _Dealt:
    """A call that one worker is to make, unless that worker is lost."""

    def __init__(self, client: Client, call: Callable[[], Any], worker: str) -> None:
        self.client, self.call, self.worker = client, call, worker
        self.future = client.submit(_call, call, workers=[worker], allow_other_workers=True, pure=False)

    def result(self) -> Any:
        """Wait. A call tied to a worker that died before it began waits for ever: its successor has a new address."""
        tied = True
        while True:
            try:
                return self.future.result(timeout=CHECK_S if tied else None)
            except TimeoutError:
                if self.future.done():
                    raise
                if self.worker not in self.client.scheduler_info(n_workers=-1)["workers"]:
                    self.future = self.client.submit(_call, self.call, pure=False)
                    tied = False


def _call(call: Callable[[], Any]) -> tuple[str, Any]:
    from distributed import get_worker

    return str(get_worker().name), call()
