"""Convolutional network over images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from headrace.config import PositiveInt, Rate
from headrace.datasets.base import DataInfo
from headrace.models.base import ModelSpec, Shapes

if TYPE_CHECKING:
    from torch import nn


class Spec(ModelSpec):
    """Convolutions, each followed by ReLU and 2x2 max-pooling, then one hidden linear layer."""

    channels: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (16, 32)
    """Output channels of each convolution."""
    kernel: PositiveInt = 3
    """Height and width of the kernels in pixels; an odd number, padded so that only pooling shrinks the image."""
    hidden: PositiveInt = 128
    """Units of the hidden linear layer."""
    dropout: Rate = 0.0
    """Share of the hidden units dropped in training."""

    def check(self, info: DataInfo) -> None:
        """Images only, large enough for the poolings."""
        if len(info.shape) not in (2, 3):
            raise ValueError(
                f"cnn reads images (height, width) or (height, width, channel), not {info.dims} {info.shape}"
            )
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel: {self.kernel} is even; allowed: odd numbers")
        if min(info.shape[:2]) < 2 ** len(self.channels):
            raise ValueError(f"channels: {len(self.channels)} poolings are too many for an image of {info.shape[:2]}")

    def build(self, shapes: Shapes) -> nn.Module:
        """Channels first inside; the data have them last or not at all."""
        import torch
        from torch import nn

        class ChannelsFirst(nn.Module):
            def forward(self, images: torch.Tensor) -> torch.Tensor:
                images = images.unsqueeze(1) if images.dim() == 3 else images.movedim(-1, 1)
                return images.contiguous(memory_format=torch.channels_last)

        height, width, *depth = shapes.inputs
        channels_in = depth[0] if depth else 1
        layers: list[nn.Module] = [ChannelsFirst()]
        for channels in self.channels:
            layers += [
                nn.Conv2d(channels_in, channels, self.kernel, padding=self.kernel // 2),
                nn.ReLU(),
                nn.MaxPool2d(2),
            ]
            channels_in, height, width = channels, height // 2, width // 2
        layers += [
            nn.Flatten(),
            nn.Linear(channels_in * height * width, self.hidden),
            nn.ReLU(),
            nn.Dropout(self.dropout),
        ]
        network = nn.Sequential(*layers, nn.Linear(self.hidden, shapes.outputs))
        # Stored channels last: a quarter less time on CPU, and what tensor cores want.
        return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]
