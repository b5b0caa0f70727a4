"""How well probabilities rank samples: the area under the ROC curve with its resamples, and the curves themselves.

Of several classes each is told from all others, and the classes count alike: one-vs-rest, macro average.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

MAX_RESAMPLED_CLASSES = 100
"""Classes up to which the area has an interval: its time grows with samples x classes."""

MAX_TRACED_CLASSES = 20
"""Classes up to which a macro average of curves is drawn."""


MAX_GRID = 10_000
"""Places at which curves of several classes are averaged: with all of them time and memory grow with their product."""


@dataclass(frozen=True)
class Curve:
    """Points of a curve in the unit square, x ascending."""

    x: FloatArray
    """(points,)"""
    y: FloatArray
    """(points,)"""
    area: float
    """Of the whole curve, before points were left out; nan where it is not defined."""


@dataclass(frozen=True)
class _Ranks:
    """The samples in the order of a score, cut into stretches for the statistic of Mann and Whitney.

    Samples of equal score with a positive among them are a stretch; so are all negatives between two such.
    """

    positive: NDArray[np.intp]
    """(positives,) places of the positives by stretch."""
    negative: NDArray[np.intp]
    positive_starts: NDArray[np.intp]
    """(stretches with positives,) where each begins in `positive`."""
    negative_starts: NDArray[np.intp]
    negative_before: NDArray[np.intp]
    """(stretches with positives,) how many stretches with negatives lie below."""
    negative_within: NDArray[np.intp]
    """(stretches with positives,) the same, with the stretch itself."""

    @classmethod
    def of(cls, is_positive: NDArray[np.bool_], score: NDArray[Any]) -> _Ranks:
        """Sort the samples (samples,)."""
        values, rank = np.unique(score, return_inverse=True)
        holds = np.zeros(len(values) + 1, bool)
        holds[rank[is_positive]] = True
        # A stretch begins at a score that a positive has, and behind one.
        stretch = np.cumsum(holds[:-1] | np.roll(holds, 1)[:-1])[rank]
        places = [np.flatnonzero(is_positive), np.flatnonzero(~is_positive)]
        ordered = [place[np.argsort(stretch[place], kind="stable")] for place in places]
        (own, starts), (others, other_starts) = (np.unique(stretch[place], return_index=True) for place in ordered)
        before, within = (np.searchsorted(others, own, side=side) for side in ("left", "right"))
        return cls(ordered[0], ordered[1], starts, other_starts, before, within)

    def area(self, weights: FloatArray) -> FloatArray:
        """The share of pairs of a positive and a negative that are in order, ties counted half: (resamples,).

        nan where a resample lacks one of the two. The sums are over whole numbers, and so exact in any order.
        """
        if not len(self.positive) or not len(self.negative):
            return np.full(len(weights), math.nan)
        positives = np.add.reduceat(weights.take(self.positive, axis=1), self.positive_starts, axis=1)
        negatives = np.add.reduceat(weights.take(self.negative, axis=1), self.negative_starts, axis=1)
        below = np.zeros((len(weights), negatives.shape[1] + 1))
        np.cumsum(negatives, axis=1, out=below[:, 1:])
        twice = below.take(self.negative_before, axis=1) + below.take(self.negative_within, axis=1)
        in_order = np.add.reduce(positives * twice, axis=1) / 2
        pairs = np.add.reduce(positives, axis=1) * below[:, -1]
        areas: FloatArray = np.divide(in_order, pairs, out=np.full(len(weights), math.nan), where=pairs > 0)
        return areas


def prepare_auroc(target: NDArray[Any], probabilities: FloatArray) -> Callable[[FloatArray], FloatArray]:
    """Sort once; what comes back takes weights (resamples, samples) and gives the area under the ROC curve of each.

    `target` (samples,) are class numbers, `probabilities` (samples, classes). The area is the statistic of Mann and
    Whitney as a share (Hanley & McNeil 1982, "The Meaning and Use of the Area under a Receiver Operating
    Characteristic (ROC) Curve"): of two classes that of the second, of more the mean over all of each against the
    rest. Where a resample lacks a class it is nan. Of more than 100 classes only weights that are all equal, as those
    of the plain sample, have a value.
    """
    ranks = [_Ranks.of(target == code, probabilities[:, code]) for code in _ranked_classes(probabilities.shape[1])]
    is_large = len(ranks) > MAX_RESAMPLED_CLASSES

    def measure(weights: FloatArray) -> FloatArray:
        areas = np.full(len(weights), math.nan)
        rows = np.flatnonzero((weights == weights[:, :1]).all(axis=1)) if is_large else np.arange(len(weights))
        if len(rows) and ranks:
            chosen = weights if len(rows) == len(weights) else weights[rows]
            areas[rows] = np.mean([each.area(chosen) for each in ranks], axis=0)
        return areas

    return measure


def _ranked_classes(num_classes: int) -> range:
    """The second of two classes, as its probability says everything; none of one; else all."""
    return range(1 if num_classes <= 2 else 0, num_classes)


def trace_roc(target: NDArray[Any], probabilities: FloatArray) -> Curve | None:
    """The share of false alarms (x) and of hits (y) at every threshold, from (0, 0) to (1, 1); area by trapezoids.

    Of more than two classes, the mean of y over the classes at every x that any of them has. None for more than 20
    classes, or where a class or all others are missing from the target.
    """
    curves = []
    for code in _traced_classes(target, probabilities):
        hits, alarms = _count_down(target == code, probabilities[:, code])
        curves.append((np.append(0, alarms / alarms[-1]), np.append(0, hits / hits[-1])))
    if not curves:
        return None
    area = float(np.mean([np.trapezoid(y, x) for x, y in curves]))
    if len(curves) == 1:
        x, y = curves[0]
    else:
        # Twice each x: a curve that jumps there has a lower and an upper end.
        grid = _choose_grid([one for one, _ in curves])
        lower, upper = (np.mean([_read_off(grid, *curve, side) for curve in curves], axis=0) for side in (False, True))
        x, y = np.repeat(grid, 2), np.stack([lower, upper], axis=1).ravel()
        x, y = np.append(0, x), np.append(0, y)
    return Curve(x, y, area)


def trace_precision_recall(target: NDArray[Any], probabilities: FloatArray) -> Curve | None:
    """The recall (x) and the precision (y) at every threshold; y holds from the x before on, as a staircase.

    The area is the average precision, sum of (R_n - R_{n-1}) P_n: precision is not linear between two points (Davis &
    Goadrich 2006, "The Relationship Between Precision-Recall and ROC Curves"). The average over classes, and None, are
    as in `trace_roc`. The first point has recall 0 and the precision of the second.
    """
    curves = []
    for code in _traced_classes(target, probabilities):
        hits, alarms = _count_down(target == code, probabilities[:, code])
        # Of all thresholds with the same recall the highest: behind it there are but more false alarms.
        first = np.flatnonzero(np.diff(hits, prepend=0))
        curves.append((hits[first] / hits[-1], hits[first] / (hits[first] + alarms[first])))
    if not curves:
        return None
    x = _choose_grid([one for one, _ in curves])
    y = np.mean([precision[np.searchsorted(recall, x)] for recall, precision in curves], axis=0)
    area = float(np.mean([np.add.reduce(np.diff(recall, prepend=0) * precision) for recall, precision in curves]))
    return Curve(np.append(0, x), np.append(y[0], y), area)


def _choose_grid(parts: list[FloatArray]) -> FloatArray:
    """Every x of some curves, or so many of them, ends included."""
    grid: FloatArray = np.unique(np.concatenate(parts))
    return grid if len(grid) <= MAX_GRID else grid[np.linspace(0, len(grid) - 1, MAX_GRID).round().astype(np.int64)]


def thin(curve: Curve, num_points: int) -> Curve:
    """Leave out points on straight lines, and then others until at most `num_points` are left; the ends stay.

    Those that stay are about equally far from each other along the curve, counted as |dx| + |dy|. No point that is left
    out lies further from what is drawn than the length of the curve / (num_points - 1): 0.01 for 200 points of a curve
    that rises from corner to corner.
    """
    x, y = curve.x, curve.y
    is_straight = np.zeros(len(x), bool)
    for values in (x, y):
        is_same = np.diff(values) == 0
        is_straight[1:-1] |= is_same[:-1] & is_same[1:]
    x, y = x[~is_straight], y[~is_straight]
    if len(x) > num_points:
        along = np.append(0, np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y))))
        kept = np.searchsorted(along, np.linspace(0, along[-1], num_points)).clip(0, len(along) - 1)
        kept[-1] = len(along) - 1
        x, y = x[np.unique(kept)], y[np.unique(kept)]
    return Curve(x, y, curve.area)


def _traced_classes(target: NDArray[Any], probabilities: FloatArray) -> range:
    """The classes that a curve is made of; none where one cannot be had."""
    num_classes = probabilities.shape[1]
    counts = np.bincount(target.astype(np.int64), minlength=num_classes)
    if num_classes > MAX_TRACED_CLASSES or (counts == 0).any() or num_classes < 2:
        return range(0)
    return _ranked_classes(num_classes)


def _count_down(is_positive: NDArray[np.bool_], score: NDArray[Any]) -> tuple[FloatArray, FloatArray]:
    """Positives and negatives at or above every different score, highest first: two times (scores,)."""
    order = np.argsort(-score, kind="stable")
    last = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)
    hits = np.cumsum(is_positive[order])[last].astype(np.float64)
    return hits, last + 1.0 - hits


def _read_off(grid: FloatArray, x: FloatArray, y: FloatArray, is_upper: bool) -> FloatArray:
    """A curve's height at every x of the grid, linear between points; where it jumps, its lower or its upper end."""
    values, first = np.unique(x, return_index=True)
    lower, upper = y[first], y[np.append(first[1:], len(x)) - 1]
    left = np.searchsorted(values, grid, side="right") - 1
    right = np.minimum(left + 1, len(values) - 1)
    share = (grid - values[left]) / np.where(right > left, values[right] - values[left], 1)
    heights = upper[left] + share * (lower[right] - upper[left])
    return np.where(values[left] == grid, (upper if is_upper else lower)[left], heights)
