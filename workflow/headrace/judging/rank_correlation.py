"""Whether two lists of numbers come in the same order."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray


def rank(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The place of each of (values,) in ascending order, from 1; equal ones share the mean of their places."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    places: NDArray[np.float64] = (last - (counts - 1) / 2)[inverse]
    return places


def correlate_ranks(one: ArrayLike, other: ArrayLike) -> float:
    """Spearman's rank correlation of two lists (values,), from -1 to 1: Pearson's of their ranks (Spearman 1904).

    nan for fewer than two values, for a list in which all are equal, which has no order, and for what is not finite.
    """
    lists = [np.asarray(values, dtype=np.float64).ravel() for values in (one, other)]
    if len(lists[0]) < 2 or not all(np.isfinite(values).all() for values in lists):
        return math.nan
    first, second = (places - places.mean() for places in map(rank, lists))
    spread = math.sqrt(float(first @ first) * float(second @ second))
    return float(first @ second) / spread if spread else math.nan
