"""Whether probabilities are what they say: confidence and accuracy in bins of the confidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

NUM_BINS = 15
"""Equal bins of [0, 1); a confidence of exactly 1 has a bin of its own behind them."""


@dataclass(frozen=True)
class Reliability:
    """What a reliability diagram shows (DeGroot & Fienberg 1983, "The Comparison and Evaluation of Forecasters")."""

    counts: NDArray[np.int64]
    """(16,) samples by bin."""
    confidence: FloatArray
    """(16,) their mean confidence in the predicted class; nan in an empty bin."""
    accuracy: FloatArray
    """(16,) the share of them that is right; nan in an empty bin."""

    @property
    def ece(self) -> float:
        """Expected calibration error: the mean gap of the two over the samples."""
        held = self.counts > 0
        gaps = np.abs(self.confidence - self.accuracy)[held]
        return float(np.add.reduce(gaps * self.counts[held]) / self.counts.sum())

    @classmethod
    def pool(cls, found: Sequence[Reliability]) -> Reliability:
        """All samples of several, as of the seeds of a model."""
        counts = np.sum([each.counts for each in found], axis=0)
        return cls(counts, *(_divide(_sum(found, name), counts) for name in ("confidence", "accuracy")))


def _sum(found: Sequence[Reliability], name: str) -> FloatArray:
    """What the means were made from, added up by bin: (16,)."""
    total = np.zeros(NUM_BINS + 1)
    for each in found:
        total += np.where(each.counts > 0, getattr(each, name) * each.counts, 0.0)
    return total


def bins_of(confidence: FloatArray) -> NDArray[np.intp]:
    """The bin of every confidence, 0 to 15. A bin holds its lower edge but not its upper one, as in torchmetrics."""
    return np.searchsorted(np.linspace(0, 1, NUM_BINS + 1), confidence, side="right") - 1


def measure_reliability(target: NDArray[Any], probabilities: FloatArray) -> Reliability:
    """Compare confidence and accuracy; `target` (samples,) are class numbers, `probabilities` (samples, classes)."""
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == target
    bins = bins_of(confidence)
    counts = np.bincount(bins, minlength=NUM_BINS + 1).astype(np.int64)
    total, num_right = (np.bincount(bins, weights=terms, minlength=NUM_BINS + 1) for terms in (confidence, right))
    return Reliability(counts, _divide(total, counts), _divide(num_right, counts))


def _divide(sums: NDArray[Any], counts: NDArray[np.int64]) -> FloatArray:
    means: FloatArray = np.divide(sums, counts, out=np.full(len(counts), np.nan), where=counts > 0)
    return means
