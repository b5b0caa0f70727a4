"""How good a model is for each of several groups of samples, and how far the groups lie apart."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

GAPS: Mapping[str, tuple[str, ...]] = {
    "accuracy gap": ("accuracy",),
    "demographic parity difference": ("selection rate",),
    "equalized odds difference": ("true positive rate", "false positive rate"),
    "rmse gap": ("rmse",),
    "mae gap": ("mae",),
}
"""Name of a gap -> the scores that it is the largest difference of.

Demographic parity: that all groups are selected equally often (Agarwal et al. 2018, "A Reductions Approach to Fair
Classification", definition 1). Equalized odds: that among those who are positive, and among those who are not, all
groups are (Hardt et al. 2016, "Equality of Opportunity in Supervised Learning", definition 2.1).
"""


@dataclass(frozen=True)
class GroupScores:
    """One run's scores on one split by group."""

    column: str
    """What tells the groups apart."""
    names: tuple[str, ...]
    counts: NDArray[np.int64]
    """(groups,) samples."""
    scores: Mapping[str, FloatArray]
    """Name -> (groups,); nan for a group that lacks the samples it is a share of."""

    @property
    def gaps(self) -> dict[str, float]:
        """The difference of the largest and the smallest value, over the groups that have one; nan for fewer than two.

        The equalized odds difference is the larger of those of the true and the false positive rate.
        """
        return {
            name: _largest([_spread(self.scores[score]) for score in wanted])
            for name, wanted in GAPS.items()
            if all(score in self.scores for score in wanted)
        }


def score_classes_by_group(
    column: str, names: Sequence[str], group: NDArray[Any], target: NDArray[Any], predicted: NDArray[Any], classes: int
) -> GroupScores:
    """Score a classification; all arrays are (samples,), of places in `names` and of class numbers.

    Of two classes the second counts as positive: its selection rate is the share that is predicted to be of it. Of more
    there is the accuracy alone.
    """
    scores = {"accuracy": _rate(group, len(names), predicted == target)}
    if classes == 2:
        selected, positive = predicted == 1, target == 1
        scores["selection rate"] = _rate(group, len(names), selected)
        scores["true positive rate"] = _rate(group[positive], len(names), selected[positive])
        scores["false positive rate"] = _rate(group[~positive], len(names), selected[~positive])
    return GroupScores(column, tuple(names), _count(group, len(names)), scores)


def score_numbers_by_group(
    column: str, names: Sequence[str], group: NDArray[Any], target: NDArray[Any], prediction: NDArray[Any]
) -> GroupScores:
    """Score a regression: `target` and `prediction` are (samples,) or (samples, outputs); means over the outputs."""
    error = (prediction.astype(np.float64) - target).reshape(len(group), -1)
    means: dict[str, Callable[[FloatArray], FloatArray]] = {"rmse": np.square, "mae": np.abs}
    scores = {
        name: np.stack([_rate(group, len(names), term(column)) for column in error.T]) for name, term in means.items()
    }
    scores["rmse"] = np.sqrt(scores["rmse"])
    averaged = {name: found.mean(axis=0) for name, found in scores.items()}
    return GroupScores(column, tuple(names), _count(group, len(names)), averaged)


def _count(group: NDArray[Any], num_groups: int) -> NDArray[np.int64]:
    return np.bincount(group.astype(np.int64), minlength=num_groups).astype(np.int64)


def _rate(group: NDArray[Any], num_groups: int, terms: NDArray[Any]) -> FloatArray:
    """The mean of the terms by group."""
    counts = _count(group, num_groups)
    sums = np.bincount(group.astype(np.int64), weights=terms, minlength=num_groups)
    rates: FloatArray = np.divide(sums, counts, out=np.full(num_groups, math.nan), where=counts > 0)
    return rates


def _spread(values: FloatArray) -> float:
    found = values[np.isfinite(values)]
    return float(found.max() - found.min()) if len(found) > 1 else math.nan


def _largest(values: Sequence[float]) -> float:
    return math.nan if any(map(math.isnan, values)) else max(values)
