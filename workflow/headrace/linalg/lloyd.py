"""Clusters around centres: Lloyd's iteration over row blocks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.linalg.distances import Points, nearest, own_squares, points_of, rounding, squared_norms
from headrace.linalg.kernels import CACHE_BYTES, flat
from headrace.linalg.progress import Progress

if TYPE_CHECKING:
    from scipy.sparse import csr_array


@dataclass(frozen=True)
class Clusters:
    """What Lloyd's iteration found."""

    centres: np.ndarray
    """(clusters, columns)"""
    inertia: float
    """Sum of the squared distances of all rows from their nearest centres; computed from the data for these centres."""
    movement: float
    """Of the centres in the last iteration: sum of squares, relative to the mean variance of the columns."""
    converged: bool


def lloyd(
    points: Points,
    start: Callable[[], np.ndarray],
    *,
    tolerance: float,
    max_iterations: int,
    progress: Progress,
) -> Clusters:
    """Every row to its nearest centre, every centre to the mean of its rows, from `start()`, (clusters, columns).

    It stops as scikit-learn's KMeans does: when the squared movement of all centres together is not above `tolerance`
    times the mean variance of the columns (Lloyd 1982, https://doi.org/10.1109/TIT.1982.1056489). Centres without rows
    move to the rows that lie farthest from theirs. The trace holds the inertia that each iteration began with.
    """
    state = progress.resume()
    centres = start() - points.origin if state is None else np.array(state["centres"])
    movement = np.inf if state is None else float(state["movement"])
    while len(progress.trace) < max_iterations and movement > tolerance:
        found = _assign(points, centres)
        moved = _means(_occupied(points, centres, found), centres)
        movement = _relative(float(((moved - centres) ** 2).sum()), points.variance)
        centres = moved
        progress.note(found.inertia, partial(_state, centres, movement))
    inertia = _assign(points, centres).inertia
    return Clusters(centres + points.origin, inertia, movement, movement <= tolerance)


def _state(centres: np.ndarray, movement: float) -> dict[str, np.ndarray]:
    return {"centres": centres, "movement": np.array(movement)}


@dataclass(frozen=True)
class _Assigned:
    """Rows that were given to their nearest centres; added over blocks."""

    sums: np.ndarray
    """(clusters, columns)"""
    counts: np.ndarray
    """(clusters,)"""
    inertia: float

    def __add__(self, other: _Assigned) -> _Assigned:
        return _Assigned(self.sums + other.sums, self.counts + other.counts, self.inertia + other.inertia)


@dataclass(frozen=True)
class _Farthest:
    """The rows farthest from their centres, the farthest first, and of equal ones the earliest."""

    squares: np.ndarray
    """(rows,) squared distances; zero where they are but rounding."""
    labels: np.ndarray
    """(rows,) which centres."""
    rows: np.ndarray
    """(rows, columns)"""


def _assign(points: Points, centres: np.ndarray) -> _Assigned:
    found: _Assigned = points.blocks.sum(_assign_block, points.origin, centres)
    return found


def _occupied(points: Points, centres: np.ndarray, found: _Assigned) -> _Assigned:
    """Every empty cluster takes a row away from another one, as in scikit-learn, as long as rows lie off centres."""
    empty = np.flatnonzero(found.counts == 0)
    if not len(empty):
        return found
    most = len(empty)
    far: _Farthest = points.blocks.reduce(
        _farthest_of_block, points.origin, centres, most, combine=partial(_farther, most=most)
    )
    sums, counts = found.sums.copy(), found.counts.copy()
    for cluster, square, label, row in zip(empty, far.squares, far.labels, far.rows, strict=False):
        if square > 0:
            sums[label] -= row
            counts[label] -= 1
            sums[cluster], counts[cluster] = row, 1
    return _Assigned(sums, counts, found.inertia)


def _means(found: _Assigned, centres: np.ndarray) -> np.ndarray:
    """(clusters, columns); a cluster that is still empty keeps its centre."""
    filled = found.counts[:, None] > 0
    return np.where(filled, found.sums / np.maximum(found.counts, 1)[:, None], centres)


def _relative(squares: float, variance: float) -> float:
    if squares == 0:
        return 0.0
    return squares / variance if variance > 0 else np.inf


def _assign_block(block: Any, origin: np.ndarray, centres: np.ndarray) -> _Assigned:
    """Runs in a worker."""
    if isinstance(block, np.ndarray):
        return _assign_dense(flat(block), origin, centres)
    points = points_of(block, origin)
    labels, _ = nearest(points, centres)
    counts = np.bincount(labels, minlength=len(centres)).astype(np.float64)
    inertia = float(own_squares(points, centres, labels).sum())
    return _Assigned(_sums(points, labels, len(centres)), counts, inertia)


def _assign_dense(rows: Any, origin: np.ndarray, centres: np.ndarray) -> _Assigned:
    """In one pass, some rows at a time, so that they are still in a core's cache when they are added up."""
    from headrace.linalg import compiled_distances

    clusters, columns = centres.shape
    step = min(max(64, CACHE_BYTES // (8 * (columns + clusters))), max(1, len(rows)))
    sums, counts, inertia = np.zeros(centres.shape), np.zeros(clusters), 0.0
    centre_norms, share = squared_norms(centres), rounding(columns)
    # Memory is used again: in Dask's workers fresh pages cost as much as the work.
    points, products = np.empty((step, columns), np.float32), np.empty((clusters, step), np.float32)
    norms, labels = np.empty(step), np.empty(step, np.int32)
    # What leaves float32's range is computed again.
    with np.errstate(over="ignore", invalid="ignore"):
        doubled = (-2.0 * centres).astype(np.float32)
        for first in range(0, len(rows), step):
            own = rows[first : first + step]
            if len(own) < step:
                points, norms, labels = points[: len(own)], norms[: len(own)], labels[: len(own)]
                products = np.empty((clusters, len(own)), np.float32)
            compiled_distances.centre_rows(own, origin, points, norms)
            np.matmul(doubled, points.T, out=products)
            compiled_distances.find_clearly_nearest(products, norms, centre_norms, columns, labels)
            inertia += compiled_distances.add_to_nearest(
                own, origin, centres, centre_norms, labels, share, sums, counts
            )
    return _Assigned(sums, counts, inertia)


def _sums(points: csr_array, labels: np.ndarray, clusters: int) -> np.ndarray:
    """(clusters, columns) sums of the rows with each label."""
    columns = points.shape[1]
    places = np.repeat(labels, np.diff(points.indptr)) * columns + points.indices
    sums: np.ndarray = np.bincount(places, points.data, minlength=clusters * columns)
    # Where nothing is stored at all, numpy counts and gives integers.
    return sums.astype(np.float64, copy=False).reshape(clusters, columns)


def _farthest_of_block(block: Any, origin: np.ndarray, centres: np.ndarray, most: int) -> _Farthest:
    """Runs in a worker."""
    points = points_of(block, origin)
    labels, _ = nearest(points, centres)
    squares = own_squares(points, centres, labels)
    norms = squared_norms(points) + squared_norms(centres)[labels]
    squares[squares <= rounding(centres.shape[1]) * norms] = 0.0
    first = np.argsort(-squares, kind="stable")[:most]
    rows = points[first]
    return _Farthest(squares[first], labels[first], rows if isinstance(rows, np.ndarray) else rows.toarray())


def _farther(one: _Farthest, other: _Farthest, most: int) -> _Farthest:
    """The farthest of both."""
    joined = [np.concatenate([getattr(one, name), getattr(other, name)]) for name in ("squares", "labels", "rows")]
    first = np.argsort(-joined[0], kind="stable")[:most]
    squares, labels, rows = (values[first] for values in joined)
    return _Farthest(squares, labels, rows)
