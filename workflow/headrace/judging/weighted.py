"""Sums, means and variances of samples that count as often as a resample has drawn them.

Their bits don't depend on the block of resamples that they are computed in, nor on the number of threads: sums run
along the contiguous axis of samples with np.add.reduce and np.add.reduceat, whose order follows from the number of
samples alone. A BLAS product doesn't have that property (its kernels differ with the shape), so there is none here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headrace.judging.statistics import FloatArray


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


def find_variance(weights: FloatArray, target: FloatArray) -> FloatArray:
    """Return the variance of the target (samples,) in each resample; exactly 0 where it is constant."""
    # Measured from a sample of the resample, the deviations of a constant target are exact zeros; from its mean, which
    # is rounded, they need not be, and R2 would divide one rounding error by another.
    first = target[np.argmax(weights > 0, axis=1), np.newaxis]
    deviation = target - first
    deviation -= average(weights, deviation)[:, np.newaxis]
    return average(weights, deviation**2)
