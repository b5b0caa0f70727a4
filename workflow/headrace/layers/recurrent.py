"""Recurrent layers in both directions, blind to what fills up a batch."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from headrace.layers.sequences import reverse


class RecurrentLayers(nn.Module):
    """Layers on top of each other, each read forwards and perhaps backwards, with dropout from one to the next.

    Bidirectional recurrent neural networks: Schuster and Paliwal 1997, https://doi.org/10.1109/78.650093.
    torch's own layers would begin to read backwards in the filling, or need lengths on the host, for which a GPU is
    waited for at every batch. And cuDNN draws dropout from a generator of its own, which no checkpoint holds.
    """

    def __init__(
        self,
        cell: Callable[..., nn.Module],
        width: int,
        hidden: int,
        layers: int,
        *,
        bidirectional: bool,
        dropout: float,
    ) -> None:
        super().__init__()
        directions = 2 if bidirectional else 1
        widths = [width] + [directions * hidden] * (layers - 1)
        self.forwards = nn.ModuleList(cell(size, hidden, batch_first=True) for size in widths)
        self.backwards = nn.ModuleList(
            cell(size, hidden, batch_first=True) for size in (widths if bidirectional else ())
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, steps: Tensor, lengths: Tensor | None) -> Tensor:
        """(batch, steps, width) to (batch, steps, directions * hidden), the forward direction first."""
        for i, ahead in enumerate(self.forwards):
            steps = self.dropout(steps) if i else steps
            states, _ = ahead(steps)
            if self.backwards:
                back, _ = self.backwards[i](reverse(steps, lengths))
                states = torch.cat([states, reverse(back, lengths)], dim=2)
            steps = states
        return steps
