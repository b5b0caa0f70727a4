"""Convolutions over images, and over sequences along their steps."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ChannelsFirst(nn.Module):
    """What convolutions read: images (batch, height, width) or (batch, height, width, channel) as
    (batch, channel, height, width), which stays channels last in memory; with `dimensions=1`, sequences
    (batch, step, feature) as (batch, feature, step).
    """

    def __init__(self, dimensions: int = 2) -> None:
        super().__init__()
        self.dimensions = dimensions

    def forward(self, inputs: Tensor) -> Tensor:
        """Channels move to the front."""
        if self.dimensions == 1:
            return inputs.movedim(-1, 1).contiguous()
        images = inputs.unsqueeze(1) if inputs.dim() == 3 else inputs.movedim(-1, 1)
        return images.contiguous(memory_format=torch.channels_last)


class FlatChannelsLast(nn.Module):
    """(batch, channel, height, width) to (batch, numbers), in the order in which images are stored."""

    def forward(self, images: Tensor) -> Tensor:
        """Channels move back to the end."""
        return images.movedim(1, -1).flatten(1)


class ResidualBlock(nn.Module):
    """Two convolutions with batch normalisation, added to what they read (He et al. 2016,
    https://arxiv.org/abs/1512.03385); where the number of channels changes, a kernel of one pixel brings it over.
    """

    def __init__(self, channels_in: int, channels: int, kernel: int, dimensions: int = 2) -> None:
        super().__init__()
        convolution = nn.Conv1d if dimensions == 1 else nn.Conv2d
        normalisation = nn.BatchNorm1d if dimensions == 1 else nn.BatchNorm2d
        # The normalisation that follows takes any constant away.
        self.residual = nn.Sequential(
            convolution(channels_in, channels, kernel, padding=kernel // 2, bias=False),
            normalisation(channels),
            nn.ReLU(),
            convolution(channels, channels, kernel, padding=kernel // 2, bias=False),
            normalisation(channels),
        )
        self.shortcut: nn.Module = nn.Identity()
        if channels_in != channels:
            self.shortcut = nn.Sequential(convolution(channels_in, channels, 1, bias=False), normalisation(channels))

    def forward(self, inputs: Tensor) -> Tensor:
        """(batch, channels_in, ...) to (batch, channels, ...), as high and wide as before."""
        output: Tensor = (self.residual(inputs) + self.shortcut(inputs)).relu()
        return output
