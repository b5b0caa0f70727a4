"""Deviations of a blocked matrix from the mean of its columns: their products, without filling sparse blocks up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.linalg import kernels

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from headrace.linalg.blocks import RowBlocks


@dataclass(frozen=True)
class Comoments:
    """Count, mean (columns,) and sum of products of deviations (columns, columns).

    Added by Chan, Golub and LeVeque (1983) in the form for two variables (Bennett and others 2009,
    https://doi.org/10.1109/CLUSTR.2009.5289161): digits that an offset takes do not get lost.
    """

    count: int
    mean: np.ndarray
    products: np.ndarray

    def __add__(self, other: Comoments) -> Comoments:
        count = self.count + other.count
        difference = other.mean - self.mean
        products = self.products + other.products
        products += np.outer(difference * (self.count * other.count / count), difference)
        return Comoments(count, self.mean + difference * (other.count / count), products)


class CentredMatrix:
    """A - 1 m' for a blocked matrix A, dense or CSR: what solvers need of it. Samples are flattened."""

    def __init__(self, blocks: RowBlocks, mean: np.ndarray) -> None:
        """`mean` (columns,) is subtracted from every row."""
        self.blocks, self.mean = blocks, mean

    @property
    def num_columns(self) -> int:
        """Numbers in one row."""
        return len(self.mean)

    def gram_matmul(self, right: np.ndarray) -> np.ndarray:
        """(A - 1 m')'(A - 1 m') X in one pass over the blocks: (num_columns, k) to (num_columns, k)."""
        product: np.ndarray = self.blocks.sum(_centred_gram_times, self.mean, right)
        return product


def block_comoments(block: Any) -> Comoments:
    """Of one block, in float64. Runs in a worker."""
    rows = kernels.flat(block)
    count = int(rows.shape[0])
    if isinstance(rows, np.ndarray):
        mean = rows.mean(axis=0, dtype=np.float64)
        deviations = rows - mean
        return Comoments(count, mean, deviations.T @ deviations)
    mean = _column_sums(rows) / count
    rows, rest = _centre_full_columns(rows, mean)
    products: np.ndarray = (rows.T @ rows).toarray()
    products -= _cross_terms(_column_sums(rows), rest, np.eye(len(rest)), count)
    return Comoments(count, mean, products)


def _centred_gram_times(block: Any, mean: np.ndarray, right: np.ndarray) -> np.ndarray:
    """(A - 1 m')'(A - 1 m') X of one block; a sparse one stays sparse. Runs in a worker."""
    rows = kernels.flat(block)
    if isinstance(rows, np.ndarray):
        return kernels.gram_times(rows - mean, right)
    rows, rest = _centre_full_columns(rows, mean)
    product = kernels.gram_times(rows, right)
    product -= _cross_terms(_column_sums(rows), rest, right, int(rows.shape[0]))
    return product


def _cross_terms(sums: np.ndarray, rest: np.ndarray, right: np.ndarray, count: int) -> np.ndarray:
    """B'B X - (B - 1 r')'(B - 1 r') X, where B has the column sums s: (s r' + r s' - n r r') X."""
    along = rest @ right
    crossed: np.ndarray = np.outer(sums - count * rest, along) + np.outer(rest, sums @ right)
    return crossed


def _centre_full_columns(rows: csr_array, mean: np.ndarray) -> tuple[csr_array, np.ndarray]:
    """A block in float64 whose columns without a zero are centred, and what is still to be subtracted of each column.

    A column with a zero deviates from its mean by about as much as that mean is large, so that products of it lose no
    more digits than there are digits in the number of rows. One without may lie far from zero with all its values, but
    can be centred as it stands.
    """
    from scipy.sparse import csr_array

    rows = kernels.canonical(rows)
    stored = np.bincount(rows.indices, minlength=len(mean))
    offset = np.where(stored == rows.shape[0], mean, 0.0)
    values = rows.data.astype(np.float64)
    if offset.any():
        values -= offset[rows.indices]
    return csr_array((values, rows.indices, rows.indptr), shape=rows.shape), mean - offset


def _column_sums(rows: csr_array) -> np.ndarray:
    """(columns,) in float64, whatever the order and number of the indices."""
    sums: np.ndarray = np.bincount(rows.indices, rows.data.astype(np.float64), minlength=rows.shape[1])
    return sums
