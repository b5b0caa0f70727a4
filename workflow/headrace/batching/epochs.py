"""Which rows of a split come when: chunks are shuffled, and rows among those of a window of chunks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from headrace.blocks import Block
from headrace.stores.layout import Layout, Variable


class Column(Protocol):
    """A dense variable, or the values of a ragged one."""

    layout: Layout
    shape: tuple[int, ...]
    dtype: np.dtype

    def chunk(self, chunk: int, out: np.ndarray | None = None) -> np.ndarray:
        """The rows of one chunk; a view of `out` (rows_per_chunk, ...) where that could be used."""

    def read(self, rows: slice) -> np.ndarray:
        """A range of rows."""


class Rows(Protocol):
    """A store, as far as it is read here."""

    layout: Layout

    @property
    def attributes(self) -> Mapping[str, Any]:
        """What it says of itself."""

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What there is."""

    def array(self, name: str) -> Column:
        """A dense variable, or the values of a ragged one."""

    def offsets(self, name: str) -> np.ndarray:
        """(rows + 1,) where the rows of a ragged variable begin."""

    def read(self, name: str, rows: slice) -> Block:
        """A range of rows of a variable of any layout."""

    def decoded_bytes(self, name: str, rows: slice) -> int:
        """How much memory a range of rows takes."""


@dataclass(frozen=True)
class Span:
    """Windows that are read together, because they end a batch."""

    windows: range
    start: int
    """The first position of the epoch that is in it: what the windows before left over comes first."""
    cut: int
    """Where its batches end; what lies behind is left to the next."""
    stop: int


class Order:
    """Which row comes at which position of an epoch. Follows from the pieces and the key alone."""

    def __init__(self, pieces: np.ndarray, per_window: int, key: tuple[int, int] | None) -> None:
        """`pieces` (pieces, 2) are first and last + 1 rows; `key` is (seed, epoch), or None for no shuffling."""
        self._key, self._per_window, self.shuffled = key, per_window, key is not None
        self.pieces = pieces if key is None else pieces[_generator(*key).permutation(len(pieces))]
        edges = np.concatenate([[0], np.cumsum(self.pieces[:, 1] - self.pieces[:, 0])])
        self.edges = np.append(edges[:-1:per_window], edges[-1])
        """(windows + 1,) the first position of every window, and the number of rows."""

    def window(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """The pieces of a window (pieces, 2), and (rows,) which of their rows comes at each of its positions."""
        rows = int(self.edges[number + 1] - self.edges[number])
        places = np.arange(rows) if self._key is None else _generator(*self._key, number + 1).permutation(rows)
        return self.pieces[number * self._per_window : (number + 1) * self._per_window], places

    def spans(self, batch_size: int, stop: int, first: int) -> list[Span]:
        """How the positions up to `stop` are read, from the one with batch `first` on."""
        cuts = np.unique(np.append(self.edges[:-1] // batch_size * batch_size, stop))
        spans, begin = [], max(0, int(np.searchsorted(cuts, first * batch_size, side="right")) - 1)
        ahead = int(np.searchsorted(self.edges, cuts[begin], side="right")) - 1
        for start, cut in zip(cuts[begin:-1].tolist(), cuts[begin + 1 :].tolist(), strict=True):
            last = int(np.searchsorted(self.edges, cut))
            spans.append(Span(range(ahead, last), start, cut, int(self.edges[last])))
            ahead = last
        return spans

    def shuffle_batches(self, span: Span, batches: int) -> np.ndarray:
        """(batches,) an order of the batches of a span."""
        if self._key is None:
            return np.arange(batches)
        return _generator(*self._key, span.windows.stop, 1).permutation(batches)


def _generator(*key: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(list(key)))


def cut_pieces(store: Rows, rows: slice, names: Sequence[str]) -> np.ndarray:
    """(pieces, 2) the rows of a split, cut where chunks end: first and last + 1."""
    size = store.layout.rows_per_chunk
    edges = np.arange(rows.start // size * size, rows.stop + size, size)
    for name in names:
        if store.variables[name].layout == "ragged":
            # Rows are as long as they please: cut where the chunks of the values end.
            offsets, size = store.offsets(name), store.array(name).layout.rows_per_chunk
            steps = np.arange(int(offsets[rows.start]) // size * size, int(offsets[rows.stop]), size)
            edges = np.searchsorted(offsets, steps)
    edges = np.unique(np.clip(np.concatenate([edges, [rows.start, rows.stop]]), rows.start, rows.stop))
    return np.stack([edges[:-1], edges[1:]], axis=1).astype(np.int64)
