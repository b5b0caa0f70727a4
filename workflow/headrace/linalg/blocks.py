"""A tall matrix in row blocks that lie on disk: kept where they were read while memory allows, reduced in a fixed tree.

Floating-point sums depend on their order. Here the blocks follow from the data's layout alone and partial results are
added along one binary tree over the blocks, wherever it is cut into tasks. So the bits are the same for any number of
workers, and after one of them was killed.
"""

from __future__ import annotations

import operator
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.errors import StageError
from headrace.linalg import residence
from headrace.logs import logger
from headrace.running.workers import Dealt

if TYPE_CHECKING:
    from headrace.running.workers import Workers

Read = Callable[[], Any]
Results = dict[tuple[int, int], Any]
"""What a task made of each run of blocks (first, stop), in order."""

ATTEMPTS = 3
SCATTER_BYTES = 2**16
"""Arguments above this go to the workers by themselves, and not inside of every task."""


@dataclass
class Traffic:
    """What went between the driver and its workers."""

    num_bytes: int = 0


@dataclass(frozen=True)
class Rows:
    """An argument that has a row for every row of the matrix: each block gets its own ones."""

    values: np.ndarray


class RowBlocks:
    """Row blocks given by functions that read them.

    `readers` each return one block, which may be anything that has rows; `sizes` are the rows of each. Tasks run on
    `workers`, or in this process without any. A process keeps the blocks that it has read as long as those of the same
    `step` take no more than `resident_mib`; what does not fit is read again.
    """

    def __init__(
        self,
        readers: Sequence[Read],
        workers: Workers | None = None,
        *,
        sizes: Sequence[int] | None = None,
        resident_mib: int = 0,
        step: str = "",
        traffic: Traffic | None = None,
    ) -> None:
        if not readers:
            raise ValueError("no blocks")
        self._readers = tuple(readers)
        self._workers = workers
        self._sizes = None if sizes is None else tuple(int(size) for size in sizes)
        self._residence = residence.Residence(uuid.uuid4().hex, step, resident_mib * 2**20)
        self.traffic = traffic or Traffic()

    def __len__(self) -> int:
        return len(self._readers)

    @property
    def sizes(self) -> tuple[int, ...]:
        """The rows of each block; counted where nobody said so."""
        if self._sizes is None:
            self._sizes = tuple(self.map(_count_rows))
        return self._sizes

    @property
    def num_rows(self) -> int:
        """Of all blocks."""
        return sum(self.sizes)

    def map(self, function: Callable[..., Any], *arguments: Any) -> list[Any]:
        """`function(block, *arguments)` for every block, in block order."""
        results = self._run(_map_part, function, arguments)
        return [result for part in results.values() for result in part]

    def sum(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """The sum of `function(block, *arguments)` over the blocks; see `reduce`."""
        return self.reduce(function, *arguments)

    def reduce(
        self, function: Callable[..., Any], *arguments: Any, combine: Callable[[Any, Any], Any] = operator.add
    ) -> Any:
        """`function(block, *arguments)` of all blocks, combined along a binary tree that follows from their number."""
        partials = self._run(partial(_reduce_part, combine=combine), function, arguments)
        return _along_tree(0, len(self), partials, combine)

    def peek(self, function: Callable[[Any], Any]) -> Any:
        """`function` of the first block alone, which is not kept for that."""
        (result,) = RowBlocks(self._readers[:1], self._workers, traffic=self.traffic).map(function)
        return result

    def then(self, function: Callable[[Any], Any]) -> RowBlocks:
        """The blocks as `function` leaves them, with as many rows; they are kept like that, apart from these."""
        return RowBlocks(
            [partial(_read_then, reader, function) for reader in self._readers],
            self._workers,
            sizes=self._sizes,
            resident_mib=self._residence.limit_bytes // 2**20,
            step=self._residence.step,
            traffic=self.traffic,
        )

    def _parts(self) -> list[tuple[int, int]]:
        """Runs of blocks that are one task each: subtrees of the reduction's tree, enough of them for all workers."""
        width = 1 if self._workers is None else max(1, len(self._workers.await_any()))
        # Where the tree cannot be shared out evenly, smaller parts keep the workers equally busy.
        wanted = width if width & (width - 1) == 0 else 4 * width
        parts = [(0, len(self))]
        while len(parts) < wanted and any(stop - start > 1 for start, stop in parts):
            parts = [half for part in parts for half in _halves(*part)]
        return parts

    def _run(self, task: Callable[..., Any], function: Callable[..., Any], arguments: Sequence[Any]) -> Results:
        if self._workers is None:
            return {part: task(self._part(part), function, *self._own(arguments, part)) for part in self._parts()}
        from distributed.client import FutureCancelledError

        for attempt in range(ATTEMPTS):
            try:
                return self._deal(self._workers, task, function, arguments)
            except FutureCancelledError:
                # What was scattered dies with the last worker that held it; nobody but us can make it again.
                logger.warning("all workers were lost; trying again (%d of %d)", attempt + 1, ATTEMPTS)
        raise StageError(f"all Dask workers were lost {ATTEMPTS} times; give them more memory, or more of them")

    def _deal(
        self, workers: Workers, task: Callable[..., Any], function: Callable[..., Any], arguments: Sequence[Any]
    ) -> Results:
        addresses = workers.await_any()
        parts = self._parts()
        shared = [None if isinstance(a, Rows) else self._share(workers, a, len(addresses)) for a in arguments]
        dealt = []
        for i, part in enumerate(parts):
            address = addresses[i * len(addresses) // len(parts)]
            own = self._own(arguments, part)
            sent = [
                self._send(workers, mine, address) if isinstance(argument, Rows) else one
                for argument, mine, one in zip(arguments, own, shared, strict=True)
            ]
            dealt.append(Dealt(workers, task, address, self._part(part), function, *sent))
        results = [one.result() for one in dealt]
        self.traffic.num_bytes += sum(map(residence.num_bytes, results))
        return dict(zip(parts, results, strict=True))

    def _share(self, workers: Workers, argument: Any, copies: int) -> Any:
        """A large argument travels to each worker once, not in every task."""
        size = residence.num_bytes(argument)
        self.traffic.num_bytes += size * copies
        if size < SCATTER_BYTES:
            return argument
        return workers.client.scatter(argument, broadcast=True, hash=False, direct=True)

    def _send(self, workers: Workers, argument: Any, address: str) -> Any:
        size = sum(map(residence.num_bytes, argument.values))
        self.traffic.num_bytes += size
        if size < SCATTER_BYTES:
            return argument
        return workers.client.scatter(argument, workers=[address], hash=False, direct=True)

    def _part(self, part: tuple[int, int]) -> _Part:
        return _Part(part[0], self._readers[slice(*part)], self._residence)

    def _own(self, arguments: Sequence[Any], part: tuple[int, int]) -> list[Any]:
        """The arguments of a part, `Rows` cut to those of each of its blocks."""
        if not any(isinstance(argument, Rows) for argument in arguments):
            return list(arguments)
        edges = np.concatenate([[0], np.cumsum(self.sizes)])
        return [
            _Cut([a.values[edges[i] : edges[i + 1]] for i in range(*part)]) if isinstance(a, Rows) else a
            for a in arguments
        ]


@dataclass(frozen=True)
class _Cut:
    """The rows of an argument that belong to each block of a part."""

    values: list[np.ndarray]


@dataclass(frozen=True)
class _Part:
    """Consecutive blocks."""

    first: int
    readers: Sequence[Read]
    residence: residence.Residence

    @property
    def stop(self) -> int:
        """Behind the last one."""
        return self.first + len(self.readers)

    def call(self, i: int, function: Callable[..., Any], arguments: Sequence[Any]) -> Any:
        """`function` of block `i` of the matrix, with the arguments' rows of that block."""
        own = i - self.first
        block = self.residence.read(i, self.readers[own])
        return function(block, *(a.values[own] if isinstance(a, _Cut) else a for a in arguments))


def _read_then(read: Read, function: Callable[[Any], Any]) -> Any:
    return function(read())


def _map_part(part: _Part, function: Callable[..., Any], *arguments: Any) -> list[Any]:
    return [part.call(i, function, arguments) for i in range(part.first, part.stop)]


def _reduce_part(part: _Part, function: Callable[..., Any], *arguments: Any, combine: Callable[[Any, Any], Any]) -> Any:
    def below(start: int, stop: int) -> Any:
        if stop - start == 1:
            return part.call(start, function, arguments)
        return combine(*(below(*half) for half in _halves(start, stop)))

    return below(part.first, part.stop)


def _along_tree(start: int, stop: int, known: Results, combine: Callable[[Any, Any], Any]) -> Any:
    if (start, stop) in known:
        return known.pop((start, stop))
    return combine(*(_along_tree(*half, known, combine) for half in _halves(start, stop)))


def _halves(start: int, stop: int) -> Iterator[tuple[int, int]]:
    """The two subtrees of a range of blocks; a single block has none."""
    if stop - start == 1:
        yield start, stop
        return
    middle = (start + stop) // 2
    yield start, middle
    yield middle, stop


def _count_rows(block: Any) -> int:
    from headrace.blocks import num_rows

    return num_rows(block[0] if isinstance(block, tuple) else block)
