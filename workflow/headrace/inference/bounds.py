"""A tighter bound on the likelihood of what a model with a latent space has not met."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from headrace.batching.batches import Batch, move
from headrace.inference.trained import TrainedRun


@runtime_checkable
class LatentLikelihood(Protocol):
    """A module with a diagonal Gaussian posterior over a latent space, whose prior has mean 0 and variance 1."""

    def encode(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, ...) to the posterior's mean and log variance, (batch, latent) each."""

    def cost(self, latent: Tensor, inputs: Tensor) -> Tensor:
        """What the inputs (batch, ...) cost given the latent (batch, latent): (batch,) in nats."""


def bound_by_importance(run: TrainedRun, batches: Iterable[Batch], *, num_draws: int, seed: int) -> np.ndarray | None:
    """(samples,) float64: a bound from above on what each sample costs, in nats; None where nothing can be drawn.

    That is -log 1/K sum_k p(x | z_k) p(z_k) / q(z_k | x) over K draws z_k of the posterior q, whose mean falls with K
    from the negative evidence lower bound to -log p(x) (Burda, Grosse and Salakhutdinov 2016, "Importance Weighted
    Autoencoders", equation 8 and theorem 1). Memory is that of one draw of a batch; no other generator moves.
    """
    module = run.module
    if num_draws < 1 or not isinstance(module, LatentLikelihood):
        return None
    generator = torch.Generator().manual_seed(seed)
    found = []
    with torch.no_grad():
        for batch in batches:
            inputs = move(batch.inputs, run.device)
            assert isinstance(inputs, Tensor)
            mean, log_variance = module.encode(inputs)
            deviation = (0.5 * log_variance).exp()
            # Drawn on the CPU, so that every device is given the same.
            total = torch.full((len(inputs),), -math.inf, dtype=torch.float64, device=run.device)
            for _ in range(num_draws):
                noise = torch.randn(mean.shape, generator=generator).to(mean)
                latent = mean + noise * deviation
                # log p(z) - log q(z | x): the normalising constants of both are the same.
                ratio = 0.5 * (noise.double() ** 2 - latent.double() ** 2 + log_variance.double()).sum(1)
                total = torch.logaddexp(total, ratio - module.cost(latent, inputs).double())
            found.append((math.log(num_draws) - total).cpu().numpy())
    return np.concatenate(found)
