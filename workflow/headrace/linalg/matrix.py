"""A blocked matrix, dense or CSR, and the products that solvers are made of."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.linalg import kernels
from headrace.linalg.blocks import RowBlocks, Rows
from headrace.linalg.centred import pieces

if TYPE_CHECKING:
    from headrace.linalg.blocks import Traffic


@dataclass(frozen=True)
class Moments:
    """Count, mean and sum of squared deviations, (columns,) each; added by Chan, Golub and LeVeque (1983)."""

    count: float
    mean: np.ndarray
    squares: np.ndarray

    def __add__(self, other: Moments) -> Moments:
        count = self.count + other.count
        difference = other.mean - self.mean
        return Moments(
            count,
            self.mean + difference * (other.count / count),
            self.squares + other.squares + difference**2 * (self.count * other.count / count),
        )


class Matrix:
    """Row blocks as a matrix of (num_rows, num_columns): samples are flattened, numbers are multiplied in float64.

    What is multiplied with it, and what comes out, is dense and lies with the caller.
    """

    def __init__(self, blocks: RowBlocks, num_columns: int | None = None) -> None:
        """`num_columns` is asked of a block when it is not given."""
        self.blocks = blocks
        self.num_columns = num_columns if num_columns is not None else int(blocks.peek(kernels.count_columns))

    @property
    def num_rows(self) -> int:
        """Rows of all blocks."""
        return self.blocks.num_rows

    @property
    def shape(self) -> tuple[int, int]:
        """(num_rows, num_columns)"""
        return self.num_rows, self.num_columns

    @property
    def traffic(self) -> Traffic:
        """What went to workers and back."""
        return self.blocks.traffic

    def matmul(self, right: np.ndarray) -> np.ndarray:
        """A X: (num_columns, k) to (num_rows, k); vectors likewise."""
        return np.concatenate(self.blocks.map(kernels.times, right))

    def rmatmul(self, left: np.ndarray) -> np.ndarray:
        """A' Y: (num_rows, k) to (num_columns, k); vectors likewise."""
        product: np.ndarray = self.blocks.sum(kernels.transposed_times, Rows(left))
        return product

    def gram_matmul(self, right: np.ndarray) -> np.ndarray:
        """A'(A X) in one pass over the blocks: (num_columns, k) to (num_columns, k)."""
        wide = right.ndim == 2 and right.shape[1] >= kernels.WIDE
        product: np.ndarray = (self._sorted if wide else self.blocks).sum(kernels.gram_times, right)
        return product

    @cached_property
    def _sorted(self) -> RowBlocks:
        """Sparse blocks as products with many columns read them best: sorted once, and kept like that."""
        return self.blocks.then(kernels.by_columns) if self.blocks.peek(kernels.is_sparse) else self.blocks

    def moments(self) -> Moments:
        """Of every column; what a sparse matrix does not store counts as zero."""
        moments: Moments = self.blocks.sum(block_moments)
        return moments

    def frobenius_norm(self) -> float:
        """The root of the sum of all squares."""
        return float(np.sqrt(self.blocks.sum(kernels.sum_squares)))


def block_moments(block: Any) -> Moments:
    """Of one block, in float64 and by two passes. Runs in a worker."""
    rows = kernels.flat(block)
    count = rows.shape[0]
    if isinstance(rows, np.ndarray):
        mean = rows.mean(axis=0, dtype=np.float64)
        squares = np.zeros_like(mean)
        for part in pieces(count, rows.shape[1]):
            squares += ((rows[part] - mean) ** 2).sum(axis=0)
        return Moments(count, mean, squares)
    rows = kernels.canonical(rows)
    values = rows.data.astype(np.float64)
    mean = np.bincount(rows.indices, values, minlength=rows.shape[1]) / count
    stored = np.bincount(rows.indices, minlength=rows.shape[1])
    deviations = (values - mean[rows.indices]) ** 2
    squares = np.bincount(rows.indices, deviations, minlength=rows.shape[1])
    return Moments(count, mean, squares + (count - stored) * mean**2)
