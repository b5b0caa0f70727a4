"""Blocks of rows: dense arrays, ragged sequences and sparse matrices, cut and joined alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Union

import numpy as np

if TYPE_CHECKING:
    from scipy.sparse import csr_array


@dataclass(frozen=True)
class Ragged:
    """Rows of different lengths, end to end."""

    values: np.ndarray
    """(steps of all rows, ...)."""
    lengths: np.ndarray
    """(rows,) int64."""

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def offsets(self) -> np.ndarray:
        """(rows + 1,) where each row begins in `values`, and where the last one ends."""
        return offsets_of(self.lengths)

    @classmethod
    def of(cls, rows: Sequence[np.ndarray], dtype: str | np.dtype | None = None) -> Ragged:
        """Join rows that are arrays (steps, ...). No rows at all need a `dtype`."""
        lengths = np.array([len(row) for row in rows], np.int64)
        values = np.concatenate([np.asarray(row) for row in rows]) if len(rows) else np.empty(0, dtype)
        return cls(values if dtype is None else values.astype(dtype, copy=False), lengths)


Block = Union[np.ndarray, Ragged, "csr_array"]
Blocks = Mapping[str, Block]
"""Variables by name, with the same rows."""


def offsets_of(lengths: np.ndarray) -> np.ndarray:
    """(rows,) lengths -> (rows + 1,) offsets, int64."""
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def num_rows(block: Block) -> int:
    """Rows of a block of any kind."""
    return len(block) if isinstance(block, np.ndarray | Ragged) else int(block.shape[0])


def take(block: Block, rows: np.ndarray) -> Block:
    """Some rows, in the order asked for; `rows` (n,) are numbers of rows in the block."""
    if isinstance(block, np.ndarray):
        return block.take(rows, axis=0)
    if not isinstance(block, Ragged):
        return block[rows]
    starts, lengths = block.offsets[:-1][rows], block.lengths[rows]
    # Each step's place: where its row begins, and how far into the row it is.
    within = np.arange(int(lengths.sum()), dtype=np.int64) - np.repeat(offsets_of(lengths)[:-1], lengths)
    return Ragged(block.values.take(np.repeat(starts, lengths) + within, axis=0), lengths)


def cut(block: Block, rows: slice) -> Block:
    """A range of rows, without copying where that can be."""
    if not isinstance(block, Ragged):
        return block[rows]
    start, stop, _ = rows.indices(len(block))
    offsets = block.offsets
    return Ragged(block.values[offsets[start] : offsets[max(start, stop)]], block.lengths[start:stop])


def join(blocks: Sequence[Block]) -> Block:
    """Blocks below each other."""
    first = blocks[0]
    if len(blocks) == 1:
        return first
    if isinstance(first, np.ndarray):
        return np.concatenate(blocks)  # type: ignore[arg-type]
    if isinstance(first, Ragged):
        parts = [block for block in blocks if isinstance(block, Ragged)]
        return Ragged(np.concatenate([p.values for p in parts]), np.concatenate([p.lengths for p in parts]))
    from scipy.sparse import vstack

    return vstack(blocks, format="csr")
