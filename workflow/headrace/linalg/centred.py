"""Rows of one block around a centre: products in float64 that never fill a sparse block up. They run in workers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from headrace.linalg.kernels import Matrix, canonical, flat

PIECE_NUMBERS = 2**17
"""Numbers in an intermediate result, 1 MiB: as many as a core keeps near."""
MOST_NUMBERS, FEW_ROWS = 2**21, 256
"""So many rows are taken together for the sake of the products, if they do not become more than 16 MiB."""


def rows_of(block: Any) -> Matrix:
    """(rows, ...) as (rows, columns); a place that a sparse row stores twice holds the sum of both."""
    rows = flat(block)
    return rows if isinstance(rows, np.ndarray) else canonical(rows)


def pieces(num_rows: int, width: int) -> Iterator[slice]:
    """Ranges of rows, so that `width` numbers for each of them take bounded memory."""
    width = max(1, width)
    step = max(1, PIECE_NUMBERS // width, min(FEW_ROWS, MOST_NUMBERS // width))
    for start in range(0, num_rows, step):
        yield slice(start, min(num_rows, start + step))


@dataclass(frozen=True)
class Centred:
    """X - 1 m' of rows X (n, columns) and a centre m (columns,)."""

    rows: Matrix
    """In float64. Dense ones are centred, so that a large mean costs no digits."""
    centre: np.ndarray | None
    """What products with sparse rows still contain."""

    @classmethod
    def of(cls, rows: Matrix, centre: np.ndarray) -> Centred:
        """Of rows of any dtype."""
        if isinstance(rows, np.ndarray):
            # In two steps: numpy is slow where it converts and computes at once.
            centred = rows.astype(np.float64)
            centred -= centre
            return cls(centred, None)
        return cls(rows.astype(np.float64, copy=False), centre)

    def times(self, right: np.ndarray) -> np.ndarray:
        """(X - 1 m') W: (columns, k) to (n, k)."""
        product: np.ndarray = self.rows @ right
        return product if self.centre is None else product - self.centre @ right

    def transposed_times(self, left: np.ndarray) -> np.ndarray:
        """(X - 1 m')' Y: (n, k) to (columns, k)."""
        product: np.ndarray = self.rows.T @ left
        return product if self.centre is None else product - np.outer(self.centre, left.sum(axis=0))
