"""Variational autoencoder (Kingma and Welling 2014, https://arxiv.org/abs/1312.6114)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from headrace.datasets.base import DataInfo
from headrace.experiments.config import PositiveFloat, PositiveInt
from headrace.models.base import EQUALLY, Inputs, ModelSpec, Shapes, Weighting, is_sequence

if TYPE_CHECKING:
    from torch import Tensor, nn

COMPUTES = ("layers.convolutions",)
SMALLEST = 4
"""Pixels of the shorter side of an image that convolutions halve."""


class Spec(ModelSpec):
    """A diagonal Gaussian posterior over a latent space, and a Bernoulli or Gaussian likelihood: for example
    `{kind: vae, architecture: convolutional, latent: 10}`.
    """

    tasks: ClassVar[tuple[str, ...]] = ("density",)

    architecture: Literal["dense", "convolutional"] = "dense"
    """Of the encoder and, mirrored, of the decoder: `dense` has one hidden layer; `convolutional`, for images of at
    least 4 by 4 pixels, halves height and width with every convolution before its hidden layer."""
    channels: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (32, 64)
    """Output channels of each convolution of the encoder; only for `convolutional`."""
    hidden: PositiveInt = 400
    """Units of the hidden layer of the encoder and of the decoder."""
    latent: PositiveInt = 20
    """Dimensions of the latent space."""
    likelihood: Literal["bernoulli", "gaussian"] = "bernoulli"
    """Of the inputs given the latent: `bernoulli` for inputs in [0, 1], `gaussian` (unit variance) for any."""
    beta: PositiveFloat = 1.0
    """Weight of the divergence from the prior in the loss (Higgins et al. 2017): above 1, more independent latents for
    worse reconstructions. The metrics reported are those of `beta: 1`."""

    def check(self, info: DataInfo) -> None:
        """A Bernoulli likelihood needs inputs in [0, 1], convolutions need images."""
        if self.likelihood == "bernoulli" and not info.unit_interval:
            raise ValueError(
                "likelihood: bernoulli needs inputs in [0, 1], and these features are not; allowed: gaussian"
            )
        is_image = len(info.shape) in (2, 3) and not is_sequence(info) and min(info.shape[:2]) >= SMALLEST
        if self.architecture == "convolutional" and not is_image:
            raise ValueError(
                "architecture: convolutional needs images (height, width) or (height, width, channel) of at least "
                f"{SMALLEST} by {SMALLEST} pixels, not {info.dims} {info.shape}; allowed: dense"
            )

    def build(self, shapes: Shapes) -> nn.Module:
        """An encoder to the posterior's mean and log variance, and a decoder to the likelihood's parameters."""
        import torch
        from torch import nn

        spec, is_dense = self, self.architecture == "dense"

        class Autoencoder(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.encoder = nn.Sequential(*(spec._dense_in(shapes) if is_dense else spec._convolutions_in(shapes)))
                self.decoder = nn.Sequential(*(spec._dense_out(shapes) if is_dense else spec._convolutions_out(shapes)))

            def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
                mean, log_variance = self.encode(inputs)
                sample = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
                return mean, log_variance, self.decoder(sample)

            def encode(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
                """(batch, ...) to the posterior's mean and log variance, (batch, latent) each."""
                mean, log_variance = self.encoder(inputs).chunk(2, dim=1)
                return mean, log_variance

            def decode(self, latent: Tensor) -> Tensor:
                """(batch, latent) to the mean of the inputs (batch, ...) given them."""
                return spec._mean(self.decoder(latent)).view(-1, *shapes.inputs)

            def cost(self, latent: Tensor, inputs: Tensor) -> Tensor:
                """What the inputs (batch, ...) cost given the latent (batch, latent): (batch,) in nats."""
                return spec._reconstruction(self.decoder(latent), inputs)

        return Autoencoder()

    def loss(self, outputs: Any, inputs: Inputs, target: Tensor, task: str, weighting: Weighting = EQUALLY) -> Tensor:
        """Mean negative evidence lower bound in nats, one posterior sample an input; its divergence counts `beta`."""
        reconstruction, divergence = self._terms(outputs, inputs)
        return (reconstruction + self.beta * divergence).mean()

    def predict(self, outputs: Any, inputs: Inputs, task: str) -> dict[str, Tensor]:
        """`neg_elbo` (batch,) and its part `reconstruction` (batch,) in nats, and the decoded `mean` (batch, ...)."""
        from torch import Tensor

        assert isinstance(inputs, Tensor)
        reconstruction, divergence = self._terms(outputs, inputs)
        return {
            "neg_elbo": reconstruction + divergence,
            "reconstruction": reconstruction,
            "mean": self._mean(outputs[2]).view_as(inputs),
        }

    def _terms(self, outputs: Any, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """Reconstruction and divergence from the prior, (batch,) each, in nats."""
        from torch import Tensor

        assert isinstance(inputs, Tensor)
        mean, log_variance, decoded = outputs
        divergence = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum(1)
        return self._reconstruction(decoded, inputs), divergence

    def _reconstruction(self, decoded: Tensor, inputs: Tensor) -> Tensor:
        """Negative log-likelihood (batch,) in nats, given what the decoder gives."""
        from torch.nn import functional

        flat = inputs.flatten(1)
        if self.likelihood == "bernoulli":
            return functional.binary_cross_entropy_with_logits(decoded, flat, reduction="none").sum(1)
        log_normaliser = 0.9189385332046727  # log(sqrt(2 pi))
        return (0.5 * (decoded - flat) ** 2 + log_normaliser).sum(1)

    def _mean(self, decoded: Tensor) -> Tensor:
        """Of the inputs, from what the decoder gives."""
        return decoded.sigmoid() if self.likelihood == "bernoulli" else decoded

    def _dense_in(self, shapes: Shapes) -> list[nn.Module]:
        from torch import nn

        return [
            nn.Flatten(),
            nn.Linear(shapes.num_inputs, self.hidden),
            nn.ReLU(),
            nn.Linear(self.hidden, 2 * self.latent),
        ]

    def _dense_out(self, shapes: Shapes) -> list[nn.Module]:
        from torch import nn

        return [nn.Linear(self.latent, self.hidden), nn.ReLU(), nn.Linear(self.hidden, shapes.num_inputs)]

    def _convolutions_in(self, shapes: Shapes) -> list[nn.Module]:
        from torch import nn

        from headrace.layers.convolutions import ChannelsFirst

        (height, width), depth = self._sizes(shapes)[-1], _depth(shapes)
        layers: list[nn.Module] = [ChannelsFirst()]
        for before, after in zip((depth, *self.channels), self.channels, strict=False):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.ReLU()]
        layers += [nn.Flatten(), nn.Linear(self.channels[-1] * height * width, self.hidden), nn.ReLU()]
        return [*layers, nn.Linear(self.hidden, 2 * self.latent)]

    def _convolutions_out(self, shapes: Shapes) -> list[nn.Module]:
        from torch import nn

        from headrace.layers.convolutions import FlatChannelsLast

        sizes, channels = self._sizes(shapes), (_depth(shapes), *self.channels)
        small = (channels[-1], *sizes[-1])
        layers = [
            nn.Linear(self.latent, self.hidden),
            nn.ReLU(),
            nn.Linear(self.hidden, small[0] * small[1] * small[2]),
        ]
        layers.append(nn.Unflatten(1, small))
        for stage in reversed(range(len(self.channels))):
            # Halves are rounded up: what was even is one pixel larger again than what was odd.
            height, width = sizes[stage]
            rest = (1 - height % 2, 1 - width % 2)
            twice = nn.ConvTranspose2d(channels[stage + 1], channels[stage], 3, 2, padding=1, output_padding=rest)
            layers += [nn.ReLU(), twice]
        return [*layers, FlatChannelsLast()]

    def _sizes(self, shapes: Shapes) -> list[tuple[int, int]]:
        """Height and width before every convolution, and after the last."""
        height, width = shapes.inputs[:2]
        sizes = [(height, width)]
        for _ in self.channels:
            height, width = (height + 1) // 2, (width + 1) // 2
            sizes.append((height, width))
        return sizes


def _depth(shapes: Shapes) -> int:
    """Channels of an image."""
    return shapes.inputs[2] if len(shapes.inputs) == 3 else 1
