"""Pictures of a latent space: where samples lie in it, and what changes in the decoded images as one dimension does."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from headrace.batching.batches import Batch, move
from headrace.inference.trained import Outputs, TrainedRun

NUM_DIMENSIONS = 6
"""Those that say the most of the inputs."""
NUM_STEPS = 7
REACH = 3.0
"""Standard deviations of the prior to either side of its mean."""
MAX_SIDE = 128
"""Pixels of height or width up to which images are pictured: a report goes into a mail."""
MAX_MAPPED = 1000
"""Samples on a map, spread over the split."""
ROUNDING = 1e-6
"""A spread of float32 numbers below it is none."""


@runtime_checkable
class LatentModel(Protocol):
    """A module with a Gaussian latent space, whose prior has mean 0 and variance 1."""

    def encode(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, ...) to the posterior's mean and log variance, (batch, latent) each."""

    def decode(self, latent: Tensor) -> Tensor:
        """(batch, latent) to the mean of the inputs (batch, ...) given them."""


@dataclass(frozen=True)
class Encoded:
    """What a latent space says of all samples."""

    means: np.ndarray
    """(samples, latent) float64: the posteriors' means."""
    divergence: np.ndarray
    """(latent,) float64: Kullback-Leibler divergence of the posterior from the prior in nats, of the mean sample."""
    target: np.ndarray | None
    """(samples,), where they have one."""


def picture_latents(run: TrainedRun, batches: Iterable[Batch]) -> Outputs:
    """What `traverse` and `map_samples` give, after one pass over the batches; nothing where there is no such space."""
    encoded = encode_samples(run, batches)
    return {} if encoded is None else {**traverse(run, encoded), **map_samples(encoded)}


def encode_samples(run: TrainedRun, batches: Iterable[Batch]) -> Encoded | None:
    """Every batch is read and encoded once; None where a run has no latent space of dense measurements."""
    module = run.module
    is_dense = run.shapes.layout == "dense" and not run.shapes.num_codes
    if run.shapes.task != "density" or not is_dense or not isinstance(module, LatentModel):
        return None
    total, means, targets = np.zeros(()), [], []
    with torch.no_grad():
        for batch in batches:
            inputs = move(batch.inputs, run.device)
            assert isinstance(inputs, Tensor)
            mean, log_variance = (part.double() for part in module.encode(inputs))
            total = total + (0.5 * (mean**2 + log_variance.exp() - 1 - log_variance)).sum(0).cpu().numpy()
            means.append(mean.cpu().numpy())
            targets += [] if batch.target is None else [batch.target.numpy()]
    latent = np.concatenate(means)
    divergence = np.nan_to_num(np.asarray(total / len(latent)), nan=0.0)
    return Encoded(latent, divergence, np.concatenate(targets) if targets else None)


def traverse(run: TrainedRun, encoded: Encoded) -> Outputs:
    """What the latent dimensions with the largest divergence from the prior stand for; nothing where none can be seen.

    One dimension moves from -REACH to REACH, and the others stay at 0. Gives `dimension` (dimensions,) int64, counted
    from 0, their `divergence` (dimensions,) float64 in nats a sample, largest first, `step` (steps,) float64, and
    `picture` (dimensions, steps, height, width) uint8 from black to white. No noise is drawn.
    """
    shape, module, divergence = run.shapes.inputs, run.module, encoded.divergence
    assert isinstance(module, LatentModel)
    if len(shape) != 2 or run.shapes.is_sequence or max(shape) > MAX_SIDE:
        return {}
    # Stable, so that of equal ones the first comes first.
    chosen = np.argsort(-divergence, kind="stable")[:NUM_DIMENSIONS]
    steps = np.linspace(-REACH, REACH, NUM_STEPS)
    latent = torch.zeros(len(chosen), NUM_STEPS, len(divergence))
    for place, dimension in enumerate(chosen):
        latent[place, :, int(dimension)] = torch.from_numpy(steps)
    with torch.no_grad():
        decoded = module.decode(latent.flatten(0, 1).to(run.device)).cpu().double().numpy()
    grey = np.nan_to_num(decoded, nan=0.0, posinf=1.0, neginf=0.0).clip(0, 1)
    pictures = np.rint(grey * 255).astype(np.uint8).reshape(len(chosen), NUM_STEPS, *shape)
    return {"dimension": chosen, "divergence": divergence[chosen], "step": steps, "picture": pictures}


def map_samples(encoded: Encoded) -> Outputs:
    """Where samples lie in a latent space, seen along the two axes in which their posterior means differ most.

    Gives `place` (mapped, 2) float32, the two axes' share of the variance, `explained` (2,) float64, and where samples
    have targets `mapped_target` (mapped,); at most MAX_MAPPED are mapped. The axes are principal components of all
    means (Pearson 1901), each turned so that its largest weight is positive. Nothing where the space has not two
    dimensions and a spread.
    """
    latent = encoded.means
    if latent.shape[1] < 2 or not np.isfinite(latent).all():
        return {}
    middle = latent.mean(axis=0)
    latent = latent - middle
    if np.abs(latent).max() <= ROUNDING * max(1.0, float(np.abs(middle).max())):
        return {}
    variances, axes = np.linalg.eigh(latent.T @ latent)
    first = axes[:, ::-1][:, :2]
    first = first * np.sign(first[np.abs(first).argmax(axis=0), [0, 1]])
    chosen = np.unique(np.linspace(0, len(latent) - 1, MAX_MAPPED).round().astype(np.int64))
    found = {
        "place": (latent[chosen] @ first).astype(np.float32),
        "explained": variances[::-1][:2].clip(0) / variances.clip(0).sum(),
    }
    return found if encoded.target is None else {**found, "mapped_target": encoded.target[chosen]}
