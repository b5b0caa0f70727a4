"""What a classifier is worth for each class: precision, recall and F1 of every seed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headrace.figures.comparisons import Candidate
from headrace.figures.confusions import name_classes
from headrace.figures.numbers import format_mean
from headrace.judging.statistics import summarise

MAX_CLASSES = 20
"""Classes in one table; of more, those with the lowest F1."""

SCORES = ("precision", "recall", "F1")


@dataclass(frozen=True)
class ClassRow:
    """One class, over the seeds of a candidate."""

    name: str
    support: int
    """Its samples in the test split."""
    cells: Sequence[dict[str, Any]]
    """For each of SCORES: mean and deviation as text, and the values of the seeds."""


def score_classes(counts: NDArray[Any]) -> NDArray[np.float64]:
    """Return precision, recall and F1 of every class, (3, classes), from a confusion matrix with true classes down.

    Precision is nan for a class that is never predicted, recall for one that is not there. F1 is 0 for a class that is
    neither, so that its mean is the macro F1 of `metrics`.
    """
    hits, present, predicted = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)
    nothing = np.full(len(counts), math.nan)
    precision = np.divide(hits, predicted, out=nothing.copy(), where=predicted > 0)
    recall = np.divide(hits, present, out=nothing.copy(), where=present > 0)
    either = present + predicted
    f1 = np.divide(2 * hits, either, out=np.zeros(len(counts)), where=either > 0)
    return np.stack([precision, recall, f1])


def tabulate_classes(candidate: Candidate, class_names: Sequence[str]) -> list[ClassRow]:
    """Return one row a class in their order; where they are too many, those with the lowest mean F1."""
    matrices = [
        np.asarray(run.confusion) for run in candidate.counted if run.confusion is not None and run.confusion.size
    ]
    if not matrices:
        return []
    scores = np.stack([score_classes(counts) for counts in matrices], axis=-1)
    names = name_classes(class_names, len(matrices[0]))
    worst = np.argsort(scores[2].mean(axis=-1), kind="stable")[:MAX_CLASSES]
    return [
        ClassRow(names[i], int(matrices[0][i].sum()), [_make_cell(scores[j, i].tolist()) for j in range(len(SCORES))])
        for i in sorted(worst.tolist())
    ]


def _make_cell(values: Sequence[float]) -> dict[str, Any]:
    """A value that is not defined for some seed leaves the mean of the others."""
    summary = summarise([value for value in values if math.isfinite(value)])
    mean, deviation = format_mean(summary.mean, summary.standard_deviation)
    return {"mean": mean if summary.count else "–", "deviation": deviation, "seeds": list(values)}
