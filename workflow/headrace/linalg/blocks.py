"""A tall matrix in row blocks that lie on disk, and reductions over them in a fixed order.

Floating-point sums depend on their order. Here the blocks follow from the data's layout alone and partial results are
added in block order, so the bits are the same for any number of workers, and after one of them was killed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from headrace.errors import StageError
from headrace.logs import logger
from headrace.workers import wait_for

if TYPE_CHECKING:
    import numpy as np
    from distributed import Future

    from headrace.workers import Workers

Read = Callable[[], "np.ndarray"]

ATTEMPTS = 3


class RowBlocks:
    """Row blocks given by functions that read them; nothing is held but what a task is working on.

    `readers` each return one block (rows, ...). Tasks run on `workers`, or in this process without any.
    """

    def __init__(self, readers: Sequence[Read], workers: Workers | None = None) -> None:
        if not readers:
            raise ValueError("no blocks")
        self._readers = tuple(readers)
        self._workers = workers

    def map(self, function: Callable[..., Any], *arguments: Any) -> list[Any]:
        """`function(block, *arguments)` for every block, in block order."""
        if self._workers is None:
            return [function(read(), *arguments) for read in self._readers]
        from distributed.client import FutureCancelledError

        workers = self._workers
        for attempt in range(ATTEMPTS):
            # Large arguments travel to each worker once, not in every task.
            shared = [workers.client.scatter(argument, broadcast=True, hash=False) for argument in arguments]
            tasks = [workers.submit(_read_and_call, function, read, *shared) for read in self._readers]
            try:
                return [workers.take(answer) for answer in _gather(workers, tasks)]
            except FutureCancelledError:
                # What was scattered dies with the last worker that held it; nobody but us can make it again.
                logger.warning("all workers were lost; trying again (%d of %d)", attempt + 1, ATTEMPTS)
        raise StageError(f"all Dask workers were lost {ATTEMPTS} times; give them more memory, or more of them")

    def sum(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """The sum of `function(block, *arguments)` over the blocks, added one by one in block order."""
        first, *rest = self.map(function, *arguments)
        for partial in rest:
            first = first + partial
        return first


def _read_and_call(function: Callable[..., Any], read: Read, *arguments: Any) -> Any:
    return function(read(), *arguments)


def _gather(workers: Workers, tasks: list[Future[Any]]) -> list[Any]:
    """Wait for all tasks, looking now and then whether anybody is left to do them."""
    for task in tasks:
        while not wait_for(task):
            workers.check()
    results: list[Any] = workers.client.gather(tasks)
    return results
