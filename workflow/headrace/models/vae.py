"""Variational autoencoder (Kingma and Welling 2014, https://arxiv.org/abs/1312.6114)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from headrace.config import PositiveInt
from headrace.datasets.base import DataInfo
from headrace.models.base import ModelSpec, Shapes

if TYPE_CHECKING:
    from torch import Tensor, nn


class Spec(ModelSpec):
    """One hidden layer each way, a diagonal Gaussian posterior, and a Bernoulli or Gaussian likelihood."""

    tasks: ClassVar[tuple[str, ...]] = ("density",)

    hidden: PositiveInt = 400
    """Units of the hidden layer of the encoder and of the decoder."""
    latent: PositiveInt = 20
    """Dimensions of the latent space."""
    likelihood: Literal["bernoulli", "gaussian"] = "bernoulli"
    """Of the inputs given the latent: `bernoulli` for inputs in [0, 1], `gaussian` (unit variance) for any."""

    def check(self, info: DataInfo) -> None:
        """A Bernoulli likelihood needs inputs in [0, 1]."""
        if self.likelihood == "bernoulli" and not info.unit_interval:
            raise ValueError(
                "likelihood: bernoulli needs inputs in [0, 1], and these features are not; allowed: gaussian"
            )

    def build(self, shapes: Shapes) -> nn.Module:
        """An encoder to the posterior's mean and log variance, and a decoder to the likelihood's parameters."""
        import torch
        from torch import nn

        size, hidden, latent = shapes.num_inputs, self.hidden, self.latent

        class Autoencoder(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.encoder = nn.Sequential(
                    nn.Flatten(), nn.Linear(size, hidden), nn.ReLU(), nn.Linear(hidden, 2 * latent)
                )
                self.decoder = nn.Sequential(nn.Linear(latent, hidden), nn.ReLU(), nn.Linear(hidden, size))

            def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
                mean, log_variance = self.encoder(inputs).chunk(2, dim=1)
                sample = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
                return mean, log_variance, self.decoder(sample)

        return Autoencoder()

    def loss(self, outputs: Any, inputs: Tensor, target: Tensor, task: str) -> Tensor:
        """Mean negative evidence lower bound in nats, one posterior sample an input."""
        return self.predict(outputs, inputs, task)["neg_elbo"].mean()

    def predict(self, outputs: Any, inputs: Tensor, task: str) -> dict[str, Tensor]:
        """`neg_elbo` (batch,) and its part `reconstruction` (batch,) in nats, and the decoded `mean` (batch, ...)."""
        from torch.nn import functional

        mean, log_variance, decoded = outputs
        flat = inputs.flatten(1)
        if self.likelihood == "bernoulli":
            reconstruction = functional.binary_cross_entropy_with_logits(decoded, flat, reduction="none").sum(1)
            decoded = decoded.sigmoid()
        else:
            log_normaliser = 0.9189385332046727  # log(sqrt(2 pi))
            reconstruction = (0.5 * (decoded - flat) ** 2 + log_normaliser).sum(1)
        divergence = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum(1)
        return {
            "neg_elbo": reconstruction + divergence,
            "reconstruction": reconstruction,
            "mean": decoded.view_as(inputs),
        }
