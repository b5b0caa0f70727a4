"""Euclidean distances between the rows of a blocked matrix and a few centres, in float64."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from headrace.linalg.blocks import RowBlocks
from headrace.linalg.centred import pieces, rows_of
from headrace.linalg.kernels import Matrix
from headrace.linalg.matrix import Moments, block_moments


@dataclass(frozen=True)
class Points:
    """Rows of a matrix as points around an origin.

    The origin of dense rows is their mean, so that the square of a large mean costs the distances no digits. Sparse
    rows stay sparse around zero.
    """

    blocks: RowBlocks
    origin: np.ndarray
    """(columns,)"""
    variance: float
    """Mean over the columns."""

    @classmethod
    def of(cls, blocks: RowBlocks) -> Points:
        """In one pass over the blocks."""
        seen: _Seen = blocks.sum(_see)
        moments = seen.moments
        origin = np.zeros_like(moments.mean) if seen.sparse else moments.mean
        return cls(blocks, origin, float(np.mean(moments.squares / moments.count)))


@dataclass(frozen=True)
class _Seen:
    moments: Moments
    sparse: bool

    def __add__(self, other: _Seen) -> _Seen:
        return _Seen(self.moments + other.moments, self.sparse)


def _see(block: Any) -> _Seen:
    rows = rows_of(block)
    return _Seen(block_moments(rows), not isinstance(rows, np.ndarray))


def points_of(block: Any, origin: np.ndarray) -> Matrix:
    """(rows, columns) of a block in float64, around the origin, which is zero for sparse rows."""
    rows = rows_of(block)
    return rows - origin if isinstance(rows, np.ndarray) else rows.astype(np.float64, copy=False)


def squared_norms(points: Matrix) -> np.ndarray:
    """(rows,)"""
    if isinstance(points, np.ndarray):
        norms: np.ndarray = np.einsum("ij,ij->i", points, points)
    else:
        norms = _sum_rows(points, points.data**2)
    return norms


def squared_distances(points: Matrix, centres: np.ndarray) -> np.ndarray:
    """(rows, columns) and (k, columns) to (rows, k): |x|^2 - 2 x c + |c|^2."""
    squares: np.ndarray = points @ (-2.0 * centres.T)
    squares += squared_norms(points)[:, None]
    squares += squared_norms(centres)
    squares[squares < 0] = 0.0
    return squares


def rounding(columns: int) -> float:
    """What rounding may add to the squared distance of two points, relative to the sum of their squared norms."""
    return 4.0 * float(np.finfo(np.float64).eps) * math.sqrt(columns)


def nearest(points: Matrix, centres: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For every point the nearest centre (rows,) and its squared distance (rows,), zero where that is but rounding.

    Of centres that are equally near up to rounding it is the first: rounding differs with the rows that share a block.
    """
    labels, squares = np.empty(points.shape[0], np.intp), np.empty(points.shape[0])
    share, centre_norms = rounding(centres.shape[1]), squared_norms(centres)
    for part in pieces(points.shape[0], len(centres)):
        norms = squared_norms(points[part])
        found = squared_distances(points[part], centres)
        lowest = found.argmin(axis=1)
        low = found[np.arange(len(found)), lowest]
        error = share * (norms + centre_norms[lowest])
        # Each distance has an error of its own: a centre far away must not blur those nearby.
        found -= share * centre_norms
        labels[part] = (found <= (low + error + share * norms)[:, None]).argmax(axis=1)
        squares[part] = np.where(low <= error, 0.0, low)
    return labels, squares


def own_squares(points: Matrix, centres: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(rows,) the squared distance of every point from the centre that it is assigned to.

    Of dense points by differences, which lose no digits where a cluster is small and far away.
    """
    if isinstance(points, np.ndarray):
        squares: np.ndarray = np.empty(len(points))
        for part in pieces(len(points), points.shape[1]):
            squares[part] = squared_norms(points[part] - centres[labels[part]])
        return squares
    own = centres[np.repeat(labels, np.diff(points.indptr)), points.indices]
    squares = _sum_rows(points, (points.data - own) ** 2 - own**2)
    squares += squared_norms(centres)[labels]
    squares[squares < 0] = 0.0
    return squares


def _sum_rows(points: Any, values: np.ndarray) -> np.ndarray:
    """(rows,) sums of `values` (stored,), one for every number that CSR rows store."""
    count = points.shape[0]
    sums = np.bincount(np.repeat(np.arange(count), np.diff(points.indptr)), values, minlength=count)
    # Where nothing is stored at all, numpy counts and gives integers.
    return sums.astype(np.float64, copy=False)
