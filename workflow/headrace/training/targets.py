"""What is counted over the targets of the training split before a run begins."""

from __future__ import annotations

import numpy as np

from headrace.batching.batches import Split

TargetScale = tuple[np.ndarray, np.ndarray]
"""Mean and deviation (outputs,) of the numbers to predict."""


def target_scale(data: Split) -> TargetScale:
    """Mean and deviation of the training targets: an optimizer with a fixed step needs targets near one.

    By pairwise merging of the batches' moments in their order (Chan, Golub and LeVeque 1983).
    """
    count, mean, squares = 0, np.float64(0), np.float64(0)
    for target in data.targets():
        rows, own = len(target), target.mean(axis=0, dtype=np.float64)
        difference, total = own - mean, count + len(target)
        squares = squares + ((target - own) ** 2).sum(axis=0) + difference**2 * (count * rows / total)
        mean, count = mean + difference * (rows / total), total
    deviation = np.sqrt(squares / count)
    return np.asarray(mean), np.where(deviation > 0, deviation, 1.0)


def count_classes(data: Split, num_classes: int) -> np.ndarray:
    """(classes,) int64: samples of each class."""
    counts = np.zeros(num_classes, np.int64)
    for target in data.targets():
        counts += np.bincount(target[:, 0].astype(np.int64, copy=False), minlength=num_classes)
    return counts


def balanced_weights(data: Split, num_classes: int) -> np.ndarray:
    """(classes,) float32: samples / (classes x samples of the class), as scikit-learn's `balanced`.

    Their mean over the samples is 1. A class without samples weighs 0: it is never asked for.
    """
    counts = count_classes(data, num_classes)
    present = int((counts > 0).sum())
    weights = np.divide(counts.sum(), present * counts, out=np.zeros(num_classes), where=counts > 0)
    single: np.ndarray = weights.astype(np.float32)
    return single
