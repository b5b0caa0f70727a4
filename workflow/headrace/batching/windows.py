"""Reading the windows of a split and making batches of them, ahead of time and by threads.

A window's memory is used again by later ones. The rows of a dense variable go from their chunk, while it is in a core's
cache, to where the epoch's order has them, so that batches are views. Rows of other layouts, and those of a split that
stays in memory, are put in order when batches are made of them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from itertools import islice
from typing import TypeVar

import numpy as np

from headrace.batching.ahead import Buffers, Job, Workers
from headrace.batching.epochs import Order, Rows, Span, cut_pieces
from headrace.blocks import Block, Ragged, join, take
from headrace.stores.layout import MIB

WINDOW_BYTES = 64 * MIB
"""Rows are shuffled among this much of a data set: 64 chunks of the usual size."""
IN_ORDER_BYTES = 16 * MIB
PIECE_BYTES = 1024
"""Rows are moved in pieces of this size: NumPy keeps other threads waiting while it moves fewer than 500 items."""
T = TypeVar("T")


@dataclass
class Window:
    """The rows of a span."""

    span: Span
    blocks: dict[str, Block]
    """Every variable."""
    index: np.ndarray | None
    """(positions,) where in a block that is not in order the row of each position is; None when all are in order."""
    in_order: frozenset[str] = frozenset()
    """The variables whose rows are in order whatever the index says."""

    def rows(self, name: str, positions: slice | np.ndarray) -> slice | np.ndarray:
        """Where in its block the rows of some positions of a variable are."""
        return positions if self.index is None or name in self.in_order else self.index[positions]

    def take(self, name: str, positions: slice | np.ndarray) -> Block:
        """Some rows of a variable."""
        block, rows = self.blocks[name], self.rows(name, positions)
        if isinstance(rows, slice):
            if isinstance(block, np.ndarray):
                return block[rows]
            rows = np.arange(*rows.indices(self.span.stop - self.span.start))
        return take(block, rows)

    def lengths(self, name: str, positions: slice) -> np.ndarray:
        """(positions,) steps of some rows of a ragged variable."""
        block = self.blocks[name]
        assert isinstance(block, Ragged)
        lengths: np.ndarray = block.lengths[self.rows(name, positions)]
        return lengths


@dataclass
class _Coming:
    """A window that is being read."""

    window: Window
    pieces: list[dict[str, Block]] = field(default_factory=list)
    """What is not dense, piece by piece; first what the window before has left over."""
    jobs: list[Job[dict[str, Block]]] = field(default_factory=list)

    def wait(self) -> Window:
        pieces = self.pieces + [job.result() for job in self.jobs]
        for name in pieces[-1] if pieces else ():
            self.window.blocks[name] = join([piece[name] for piece in pieces])
        return self.window


class Reader:
    """Reads a split. What is small once decoded stays in memory."""

    def __init__(self, store: Rows, rows: slice, names: Sequence[str], threads: int, resident_bytes: int) -> None:
        self._store, self._split, self._threads = store, rows, threads
        self._dense = [name for name in names if store.variables[name].layout == "dense"]
        self._others = [name for name in names if name not in self._dense]
        self.buffers = Buffers(2 * threads + 4)
        self._pieces = cut_pieces(store, rows, names)
        self._num_bytes = sum(store.decoded_bytes(name, rows) for name in names)
        self._stays = self._num_bytes <= resident_bytes
        self._resident: dict[str, Block] | None = None

    def order(self, key: tuple[int, int] | None) -> Order:
        """The rows of an epoch; None for as they are stored."""
        window = IN_ORDER_BYTES if key is None else WINDOW_BYTES
        return Order(self._pieces, -(-window * len(self._pieces) // max(1, self._num_bytes)) or 1, key)

    def load(self) -> None:
        """Read the split, if it stays in memory."""
        if self._stays:
            with Workers(self._threads) as workers:
                self._keep(workers)

    def column(self, name: str) -> Iterator[np.ndarray]:
        """A dense variable in the order in which it is stored, a chunk at a time."""
        array, rows = self._store.array(name), self._split
        size = array.layout.rows_per_chunk
        for chunk in range(rows.start // size, -(-rows.stop // size)) if rows.stop > rows.start else ():
            yield array.chunk(chunk)[max(0, rows.start - chunk * size) : rows.stop - chunk * size]

    def stream(
        self, order: Order, spans: Sequence[Span], jobs: Callable[[Window], Iterable[Callable[[], list[T]]]]
    ) -> Generator[T, None, None]:
        """What the jobs for every span give, in their order; the next span is read meanwhile."""
        if not spans:
            return
        with Workers(self._threads) as workers:
            coming = self._begin(workers, order, spans[0], None)
            for following in [*spans[1:], None]:
                window = coming.wait()
                waiting = iter(jobs(window))
                ahead = deque(workers.do(job, soon=True) for job in islice(waiting, self._threads))
                if following is not None:
                    coming = self._begin(workers, order, following, window)
                else:
                    del coming
                # Only the jobs that are still to be done keep it alive.
                del window
                while ahead:
                    results = ahead.popleft().result()
                    ahead.extend(workers.do(job, soon=True) for job in islice(waiting, 1))
                    yield from results
                    del results

    def _begin(self, workers: Workers, order: Order, span: Span, before: Window | None) -> _Coming:
        found = [order.window(number) for number in span.windows]
        borders = order.edges[span.windows.start : span.windows.stop]
        # A window that is read for what it leaves over only has rows that have been already.
        skipped = int(max(0, span.start - order.edges[span.windows.start]))
        rest = np.arange(0) if before is None else np.arange(before.span.cut, before.span.stop) - before.span.start
        if self._stays:
            blocks = self._keep(workers)
            parts = [] if before is None or before.index is None else [before.index[rest]]
            parts += [_rows_of(pieces)[places] - self._split.start for pieces, places in found]
            return _Coming(Window(span, dict(blocks), np.concatenate(parts)[skipped:]))
        pieces = np.concatenate([pieces for pieces, _ in found])
        index = None
        if order.shuffled:
            start = int(borders[0]) - len(rest)
            places = [places + (int(border) - start) for border, (_, places) in zip(borders, found, strict=True)]
            index = np.concatenate([np.arange(len(rest)), *places])
        return self._read(workers, span, pieces, index, skipped, before, rest)

    def _read(
        self,
        workers: Workers,
        span: Span,
        pieces: np.ndarray,
        index: np.ndarray | None,
        skipped: int,
        before: Window | None,
        rest: np.ndarray,
    ) -> _Coming:
        """Begin to read pieces, behind the rest of the window before; leave out the first positions `skipped`."""
        num_rows = len(rest) + int((pieces[:, 1] - pieces[:, 0]).sum())
        dense = {}
        for name in self._dense:
            array = self._store.array(name)
            dense[name] = self.buffers.take(f"window of {name}", (num_rows, *array.shape), array.dtype)
        blocks: dict[str, Block] = {name: block[skipped:] for name, block in dense.items()}
        window = Window(span, blocks, None if index is None else index[skipped:], frozenset(self._dense))
        coming = _Coming(window)
        if before is not None and len(rest):
            carried = {name: before.take(name, rest) for name in before.blocks}
            for name in self._dense:
                dense[name][: len(rest)] = carried[name]
            coming.pieces.append({name: carried[name] for name in self._others})
        # Where each row goes that is read: the index the other way round.
        slots = None if index is None else np.empty_like(index)
        if slots is not None:
            slots[index] = np.arange(num_rows)
        position = len(rest)
        for start, stop in pieces.tolist():
            places = slice(position, position + stop - start)
            read = partial(self._read_piece, slice(start, stop), dense, places if slots is None else slots[places])
            coming.jobs.append(workers.do(read, soon=False))
            position += stop - start
        return coming

    def _keep(self, workers: Workers) -> dict[str, Block]:
        """The whole split."""
        if self._resident is None:
            span, rest = Span(range(0), 0, 0, 0), np.arange(0)
            # Read by itself, so that what it lies in is never handed out again.
            self._resident = self._read(workers, span, self._pieces, None, 0, None, rest).wait().blocks
        return self._resident

    def _read_piece(self, rows: slice, dense: dict[str, np.ndarray], places: slice | np.ndarray) -> dict[str, Block]:
        """Read a piece of the dense variables to where it belongs; of the others, return it. Runs in a thread."""
        for name in self._dense:
            array, block = self._store.array(name), dense[name]
            size = array.layout.rows_per_chunk
            chunk = rows.start // size
            if rows.stop > (chunk + 1) * size:
                _put(block, places, array.read(rows))
            elif isinstance(places, slice) and rows.stop - rows.start == size:
                out = block[places]
                values = array.chunk(chunk, out)
                if not np.may_share_memory(values, out):
                    out[...] = values
            else:
                out = self.buffers.take(f"chunk of {name}", (size, *array.shape), array.dtype)
                _put(block, places, array.chunk(chunk, out)[rows.start - chunk * size : rows.stop - chunk * size])
        return {name: self._store.read(name, rows) for name in self._others}


def _put(block: np.ndarray, places: slice | np.ndarray, values: np.ndarray) -> None:
    """block[places] = values, each row moved in large pieces: NumPy would go through it number by number."""
    if values.ndim > 1 and values.size:
        piece = np.dtype((np.void, _piece_bytes(values[0].nbytes)))
        block = block.reshape(len(block), -1).view(piece)
        values = np.ascontiguousarray(values).reshape(len(values), -1).view(piece)
        if values.shape[1] == 1:
            block, values = block[:, 0], values[:, 0]
    block[places] = values


@cache
def _piece_bytes(row_bytes: int) -> int:
    """How much of a row is moved as one item: at most PIECE_BYTES, unless its size has no such divisor."""
    most = range(-(-row_bytes // PIECE_BYTES), row_bytes // 64 + 1)
    return next((row_bytes // count for count in most if row_bytes % count == 0), row_bytes)


def _rows_of(pieces: np.ndarray) -> np.ndarray:
    """(rows,) the rows of pieces, one after the other."""
    sizes = pieces[:, 1] - pieces[:, 0]
    # How far each piece's rows are from where they come.
    rows: np.ndarray = np.arange(int(sizes.sum())) + np.repeat(pieces[:, 0] - np.cumsum(sizes) + sizes, sizes)
    return rows
