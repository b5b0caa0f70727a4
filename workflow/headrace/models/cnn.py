"""Convolutional network over images, or along the steps of sequences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from headrace.datasets.base import DataInfo
from headrace.experiments.config import PositiveInt, Rate
from headrace.models.base import ModelSpec, Shapes, is_sequence

if TYPE_CHECKING:
    from torch import nn

COMPUTES = ("layers.convolutions",)


class Spec(ModelSpec):
    """Convolutions, each followed by ReLU and max-pooling of 2x2 pixels, or of 2 steps, then one hidden linear layer:
    for example `{kind: cnn, channels: [16, 32, 64], blocks: residual}`.
    """

    channels: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (16, 32)
    """Output channels of each stage, which ends with a pooling."""
    kernel: PositiveInt = 3
    """Height and width of the kernels in pixels, or their length in steps; an odd number, padded so that only pooling
    shrinks the inputs."""
    blocks: Literal["plain", "residual"] = "plain"
    """What a stage does before its pooling: one convolution, or, `residual`, two convolutions with batch normalisation,
    added to what the stage reads (He et al. 2016)."""
    convolve: Literal["auto", "pixels", "steps"] = "auto"
    """Over the `pixels` of images (height, width) or (height, width, channel), or along the `steps` of sequences
    (step, feature). `auto` takes two dimensions for a sequence where the first is named step, time or window."""
    hidden: PositiveInt = 128
    """Units of the hidden linear layer."""
    dropout: Rate = 0.0
    """Share of the hidden units dropped in training."""

    def check(self, info: DataInfo) -> None:
        """Images or sequences, large enough for the poolings."""
        if self.convolve == "steps" and len(info.shape) != 2:
            raise ValueError(f"convolve: steps needs sequences (step, feature), not {info.dims} {info.shape}")
        if len(info.shape) not in (2, 3):
            raise ValueError(
                "cnn reads images (height, width) or (height, width, channel), and sequences (step, feature), "
                f"not {info.dims} {info.shape}"
            )
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel: {self.kernel} is even; allowed: odd numbers")
        dimensions = self._dimensions(is_sequence(info))
        if min(info.shape[:dimensions]) < 2 ** len(self.channels):
            what = f"a sequence of {info.shape[0]} steps" if dimensions == 1 else f"an image of {info.shape[:2]}"
            raise ValueError(f"channels: {len(self.channels)} poolings are too many for {what}")

    def build(self, shapes: Shapes) -> nn.Module:
        """Channels first inside; the data have them last or not at all."""
        import torch
        from torch import nn

        from headrace.layers.convolutions import ChannelsFirst

        dimensions = self._dimensions(shapes.is_sequence)
        *sizes, channels_in = shapes.inputs if len(shapes.inputs) > dimensions else (*shapes.inputs, 1)
        num_inputs = 1
        for size in sizes:
            num_inputs *= size // 2 ** len(self.channels)
        layers: list[nn.Module] = [ChannelsFirst(dimensions)]
        for channels in self.channels:
            layers += self._stage(channels_in, channels, dimensions)
            channels_in = channels
        layers += [nn.Flatten(), nn.Linear(channels_in * num_inputs, self.hidden), nn.ReLU(), nn.Dropout(self.dropout)]
        network = nn.Sequential(*layers, nn.Linear(self.hidden, shapes.outputs))
        if dimensions == 1:
            return network
        # Stored channels last: a quarter less time on CPU, and what tensor cores want.
        return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    def _stage(self, channels_in: int, channels: int, dimensions: int) -> list[nn.Module]:
        """What is done at one size. A stage reads at least 2 steps or pixels: batch normalisation needs more than one
        number of a channel, even where an epoch's last batch is a single sample.
        """
        from torch import nn

        from headrace.layers.convolutions import ResidualBlock

        pooling = nn.MaxPool1d(2) if dimensions == 1 else nn.MaxPool2d(2)
        if self.blocks == "residual":
            return [ResidualBlock(channels_in, channels, self.kernel, dimensions), pooling]
        convolution = nn.Conv1d if dimensions == 1 else nn.Conv2d
        return [convolution(channels_in, channels, self.kernel, padding=self.kernel // 2), nn.ReLU(), pooling]

    def _dimensions(self, is_sequence: bool) -> int:
        """How many dimensions are convolved over."""
        return 1 if self.convolve == "steps" or (self.convolve == "auto" and is_sequence) else 2
