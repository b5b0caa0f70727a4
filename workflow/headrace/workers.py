"""Calls dealt over Dask workers, with the results in the order of the calls."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from headrace.logs import logger

if TYPE_CHECKING:
    from distributed import Client


def run_on_workers(client: Client, calls: Iterable[Callable[[], Any]], progress: str) -> Iterator[tuple[str, Any]]:
    """Run every call on some worker; yields (worker's name, result) in the order of `calls`.

    The scheduler gives each call to the worker with least to do, so that all get their share; no call is tied to a
    worker, since one that died comes back under another address. A few calls a worker are in flight at most, so that
    memory follows the workers.
    """
    limit = 4 * len(client.scheduler_info(n_workers=-1)["workers"])
    in_flight: deque[Any] = deque()
    done = 0
    for call in calls:
        in_flight.append(client.submit(_call, call, pure=False))
        if len(in_flight) > limit:
            yield in_flight.popleft().result()
            done += 1
            logger.info("%s: %d done", progress, done)
    while in_flight:
        yield in_flight.popleft().result()
        done += 1
    logger.info("%s: all %d done", progress, done)


def _call(call: Callable[[], Any]) -> tuple[str, Any]:
    from distributed import get_worker

    return str(get_worker().name), call()
