"""Inputs made worse on purpose: how much of a result is left when a measurement is not as good as in training.

After Hendrycks and Dietterich 2019, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations",
but on the features that a model reads, behind all preprocessing, and in units that fit any features.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from headrace.batching.batches import Batch, Split
from headrace.corruptions.base import CorruptionSpec, Original
from headrace.inference.trained import BATCH_SIZE
from headrace.linalg.matrix import Moments, block_moments


def measure_inputs(train: Split) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of every number of a sample over the training split, float32, in its shape."""
    total: Moments | None = None
    shape: tuple[int, ...] = ()
    for batch in train.in_order(BATCH_SIZE):
        assert isinstance(batch.inputs, Tensor)
        shape = tuple(batch.inputs.shape[1:])
        moments = block_moments(batch.inputs.numpy())
        total = moments if total is None else total + moments
    assert total is not None
    mean, deviation = (
        torch.from_numpy(values.astype(np.float32)).reshape(shape)
        for values in (total.mean, np.sqrt(total.squares / total.count))
    )
    return mean, deviation


def corrupt(
    spec: CorruptionSpec, batches: Iterable[Batch], strength: float, original: Original, seed: int
) -> Iterator[Batch]:
    """Every batch made worse. What is drawn is the same for every strength and for every model that reads the same
    features: what differs is not chance.
    """
    generator = torch.Generator().manual_seed(seed)
    for batch in batches:
        assert isinstance(batch.inputs, Tensor)
        yield Batch(spec.apply(batch.inputs, strength, original, generator), batch.target)
