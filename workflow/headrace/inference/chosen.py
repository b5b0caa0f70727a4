"""Some samples of a split, chosen and read."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from headrace.batching.batches import Split
from headrace.inference.trained import BATCH_SIZE


def pick_rows(targets: np.ndarray, count: int, *, are_classes: bool) -> np.ndarray:
    """Up to `count` places (count,) int64 in `targets` (samples,): as many of each class, or evenly over the numbers.

    Of a class, and of all numbers in ascending order, they lie evenly from the first to the last. Of more classes than
    `count` some are left out, evenly too.
    """
    count = min(count, len(targets))
    order: np.ndarray = np.argsort(targets, kind="stable")
    if not are_classes:
        evenly: np.ndarray = order[_evenly(len(order), count)]
        return evenly
    classes, starts, sizes = np.unique(targets[order], return_index=True, return_counts=True)
    quotas = np.zeros(len(classes), np.int64)
    while quotas.sum() < count:
        # A round over the classes that have a sample left; the last one may be too short for all of them.
        left = np.flatnonzero(quotas < sizes)
        quotas[left[_evenly(len(left), min(len(left), count - int(quotas.sum())))]] += 1
    return np.concatenate(
        [
            order[start + _evenly(size, quota)]
            for start, size, quota in zip(starts.tolist(), sizes.tolist(), quotas.tolist(), strict=True)
        ]
    )


def _evenly(length: int, count: int) -> np.ndarray:
    """(count,) different places below `length`, at least `count`; in the middle where there is but one."""
    if count == 1:
        return np.array([length // 2])
    return np.linspace(0, length - 1, count).round().astype(np.int64)


def read_rows(data: Split, rows: np.ndarray) -> Tensor:
    """The inputs (rows, ...) of some samples of a split, in the order of `rows`."""
    found: dict[int, Tensor] = {}
    start = 0
    for batch in data.in_order(BATCH_SIZE):
        assert isinstance(batch.inputs, Tensor)
        own = rows[(rows >= start) & (rows < start + len(batch))]
        found |= {int(row): batch.inputs[int(row) - start].clone() for row in own}
        start += len(batch)
    return torch.stack([found[int(row)] for row in rows])
