"""Inputs made worse on purpose: how much of a result is left when a measurement is not as good as in training.

After Hendrycks and Dietterich 2019, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations",
with noise alone and in units that fit any features.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from headrace.batching.batches import Batch, Split
from headrace.inference.trained import BATCH_SIZE
from headrace.linalg.matrix import Moments, block_moments


def find_deviations(train: Split) -> Tensor:
    """The standard deviation of every number of a sample over the training split, float32; 0 where it is constant."""
    total: Moments | None = None
    shape: tuple[int, ...] = ()
    for batch in train.in_order(BATCH_SIZE):
        assert isinstance(batch.inputs, Tensor)
        shape = tuple(batch.inputs.shape[1:])
        moments = block_moments(batch.inputs.numpy())
        total = moments if total is None else total + moments
    assert total is not None
    return torch.from_numpy(np.sqrt(total.squares / total.count).astype(np.float32)).reshape(shape)


def add_noise(batches: Iterable[Batch], deviations: Tensor, strength: float, seed: int) -> Iterator[Batch]:
    """Add Gaussian noise of `strength` standard deviations to all inputs.

    It is the same noise for every strength and for every model that reads the same features: what differs is not
    chance.
    """
    generator = torch.Generator().manual_seed(seed)
    for batch in batches:
        assert isinstance(batch.inputs, Tensor)
        noise = torch.randn(batch.inputs.shape, generator=generator)
        yield Batch(batch.inputs + strength * deviations * noise, batch.target)
