"""Recurrent network over sequences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from headrace.config import PositiveInt
from headrace.datasets.base import DataInfo
from headrace.models.base import ModelSpec, Shapes

if TYPE_CHECKING:
    from torch import nn


class Spec(ModelSpec):
    """One recurrent layer along the first dimension of a sample; the last state is read by a linear layer.

    An image is read as a sequence of its rows.
    """

    cell: Literal["gru", "lstm", "vanilla"] = "gru"
    """Kind of recurrent unit."""
    hidden: PositiveInt = 64
    """Units of the recurrent layer."""
    layers: PositiveInt = 1
    """Recurrent layers on top of each other."""

    def check(self, info: DataInfo) -> None:
        """Sequences only."""
        if len(info.shape) != 2:
            raise ValueError(f"rnn reads sequences (step, feature), not {info.dims} {info.shape}")

    def build(self, shapes: Shapes) -> nn.Module:
        """Many to one."""
        import torch
        from torch import nn

        cells = {"gru": nn.GRU, "lstm": nn.LSTM, "vanilla": nn.RNN}
        spec = self

        class LastState(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.cell = cells[spec.cell](shapes.inputs[1], spec.hidden, spec.layers, batch_first=True)
                self.head = nn.Linear(spec.hidden, shapes.outputs)

            def forward(self, sequences: torch.Tensor) -> torch.Tensor:
                states, _ = self.cell(sequences)
                output: torch.Tensor = self.head(states[:, -1])
                return output

        return LastState()
