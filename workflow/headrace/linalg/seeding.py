"""Starting centres for Lloyd's iteration, far from each other, in a few passes over the blocks."""

from __future__ import annotations

from typing import Any

import numpy as np

from headrace.linalg.blocks import Rows
from headrace.linalg.centred import rows_of
from headrace.linalg.distances import Points, nearest, points_of, rounding, squared_distances, squared_norms

ROUNDS = 5
OVERSAMPLING = 2
"""Candidates drawn in a round, for each cluster. With five rounds as good as one candidate a pass: Bahmani et al.,
figures 5.1 and 5.2."""


def scattered_centres(points: Points, clusters: int, seed: int) -> np.ndarray:
    """(clusters, columns) by k-means|| (Bahmani et al. 2012, algorithm 2, https://arxiv.org/abs/1203.6402).

    Every round takes rows into the candidates with a chance in proportion to their squared distance from those that
    there are. k-means++ picks the centres among the candidates, each of which weighs as many rows as are nearest to
    it. The numbers drawn belong to rows, whatever blocks these lie in. Where there are fewer distinct rows than
    clusters, rows come several times.
    """
    generator = np.random.Generator(np.random.PCG64(seed))
    num_rows = points.blocks.num_rows
    first = np.arange(num_rows) == generator.integers(num_rows)
    candidates = newest = _take(points, first)
    squares = np.full(num_rows, np.inf)
    rounds = 0
    while rounds < ROUNDS or len(candidates) < clusters:
        if len(newest):
            squares = np.concatenate(points.blocks.map(_closer, points.origin, newest, Rows(squares)))
        total = squares.sum()
        if total == 0:
            break
        chosen = generator.random(num_rows) * total < OVERSAMPLING * clusters * squares
        newest = _take(points, chosen)
        candidates = np.concatenate([candidates, newest])
        rounds += 1
    weights: np.ndarray = points.blocks.sum(_count_nearest, points.origin, candidates)
    picked = spread(candidates, weights, clusters, generator) if len(candidates) > clusters else candidates
    # Too few are repeated in turn.
    centres: np.ndarray = np.resize(picked, (clusters, picked.shape[1])) + points.origin
    return centres


def spread(candidates: np.ndarray, weights: np.ndarray, clusters: int, generator: np.random.Generator) -> np.ndarray:
    """(clusters, columns) of the candidates (more than clusters, columns), by k-means++ (Arthur and Vassilvitskii 2007,
    https://dl.acm.org/doi/10.5555/1283383.1283494): each with a chance in proportion to its weight (candidates,)
    times its squared distance from those picked, the best of a few draws.
    """
    trials = 2 + int(np.log(clusters))
    picked = [int(_draw(weights, 1, generator)[0])]
    squares = _squares_from(candidates, picked)[:, 0]
    while len(picked) < clusters:
        mass = weights * squares
        if mass.sum() > 0:
            drawn = _draw(mass, trials, generator)
        else:
            # Nothing but copies of what was picked is left.
            drawn = np.setdiff1d(np.arange(len(candidates)), picked)[:1]
        after = np.minimum(squares[:, None], _squares_from(candidates, drawn))
        left = weights @ after
        # Either of two candidates that would share a cluster leaves as much: rounding must not choose.
        best = int((left <= left.min() * (1 + 1e-9)).argmax())
        picked.append(int(drawn[best]))
        squares = after[:, best]
    chosen: np.ndarray = candidates[picked]
    return chosen


def _draw(mass: np.ndarray, count: int, generator: np.random.Generator) -> np.ndarray:
    """(count,) places, each with a chance in proportion to its mass."""
    edges = np.cumsum(mass)
    places = np.searchsorted(edges, generator.random(count) * edges[-1], side="right")
    # A number just below 1 times the sum may be rounded up to it.
    drawn: np.ndarray = np.minimum(places, np.flatnonzero(mass)[-1])
    return drawn


def _squares_from(candidates: np.ndarray, picked: Any) -> np.ndarray:
    """(candidates, picked) squared distances, zero where they are but rounding."""
    chosen = candidates[picked]
    squares: np.ndarray = squared_distances(candidates, chosen)
    norms = squared_norms(candidates)
    squares[squares <= rounding(candidates.shape[1]) * (norms[:, None] + norms[picked])] = 0.0
    return squares


def _take(points: Points, chosen: np.ndarray) -> np.ndarray:
    """(chosen, columns) the rows where `chosen` (rows,) is true."""
    return np.concatenate(points.blocks.map(_chosen_rows, points.origin, Rows(chosen)))


def _chosen_rows(block: Any, origin: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Runs in a worker, as do the functions below."""
    rows = rows_of(block)[np.flatnonzero(chosen)]
    filled: np.ndarray = rows - origin if isinstance(rows, np.ndarray) else rows.toarray().astype(np.float64)
    return filled


def _closer(block: Any, origin: np.ndarray, centres: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """(rows,) squared distance from the nearest candidate, by that from the nearest of the earlier ones."""
    closer: np.ndarray = np.minimum(squares, nearest(points_of(block, origin), centres)[1])
    return closer


def _count_nearest(block: Any, origin: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """(candidates,) rows that are nearest to each."""
    labels, _ = nearest(points_of(block, origin), candidates)
    return np.bincount(labels, minlength=len(candidates)).astype(np.float64)
