"""What metrics are made of: outputs that are checked once, and sums of terms a sample, weighted for every resample.

Why the sums run as they do is said in `judging.metrics`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headrace.judging.statistics import FloatArray

IntArray = NDArray[np.int64]
Measure = Callable[[FloatArray], dict[str, FloatArray]]
"""Weights (resamples, samples) -> the value (resamples,) of each metric."""


@dataclass(frozen=True)
class Groups:
    """Samples sorted by a label, for sums per label that cost the same however many labels there are."""

    order: NDArray[np.intp]
    present: NDArray[np.intp]
    """The labels that occur, ascending; `starts` says where each begins in `order`."""
    starts: NDArray[np.intp]
    terms: FloatArray | None
    """(samples,) in the order of `order`; 1 each when None."""

    @classmethod
    def of(cls, labels: NDArray[Any], terms: FloatArray | None = None) -> Groups:
        """Sort the samples by label (samples,)."""
        order = np.argsort(labels, kind="stable")
        present, starts = np.unique(labels[order], return_index=True)
        return cls(order, present, starts, None if terms is None else terms[order])

    def sum(self, weights: FloatArray, num_groups: int) -> FloatArray:
        """Sum weights times terms by group: (resamples, groups); 0 for a label that doesn't occur."""
        ordered = np.take(weights, self.order, axis=1)
        if self.terms is not None:
            ordered *= self.terms
        sums = np.zeros((len(weights), num_groups))
        sums[:, self.present] = np.add.reduceat(ordered, self.starts, axis=1)
        return sums


def average(weights: FloatArray, terms: FloatArray) -> FloatArray:
    """Average the terms, (samples,) or (resamples, samples), by each row of weights: (resamples,)."""
    found: FloatArray = np.add.reduce(weights * terms, axis=1) / np.add.reduce(weights, axis=1)
    return found


def get_floats(outputs: Mapping[str, np.ndarray], name: str, dims: tuple[int, ...]) -> FloatArray:
    """Return one output as float64, checked to have samples, the right number of dimensions and finite values."""
    if name not in outputs:
        raise ValueError(f"{name}: missing from the outputs")
    array = np.asarray(outputs[name])
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{name}: must be real numbers, not {array.dtype}")
    if array.ndim not in dims or array.size == 0:
        raise ValueError(f"{name}: must have {' or '.join(map(str, dims))} dimensions and samples, not {array.shape}")
    floats = array.astype(np.float64)
    if not np.isfinite(floats).all():
        raise ValueError(f"{name}: holds NaN or Inf")
    return floats


def get_classes(outputs: Mapping[str, np.ndarray], name: str, num_classes: int) -> IntArray:
    """Return one output as class numbers (samples,), checked to be whole and in range."""
    floats = get_floats(outputs, name, dims=(1,))
    classes = floats.astype(np.int64)
    if (classes != floats).any() or classes.min() < 0 or classes.max() >= num_classes:
        raise ValueError(f"{name}: must be whole numbers from 0 to {num_classes - 1}")
    return classes


def check_same(expected: object, found: object, name: str, what: str) -> None:
    """Raise ValueError unless two arrays agree."""
    if expected != found:
        raise ValueError(f"{name}: {what} {found}, but {expected} expected")
