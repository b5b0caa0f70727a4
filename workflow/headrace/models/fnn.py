"""Feed-forward network."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from headrace.experiments.config import PositiveInt, Rate
from headrace.models.base import ModelSpec, Shapes

if TYPE_CHECKING:
    from torch import nn


class Spec(ModelSpec):
    """Fully connected layers with ReLU and dropout between them."""

    reads: ClassVar[tuple[str, ...]] = ("dense", "sparse")

    hidden: tuple[PositiveInt, ...] = (256, 128)
    """Units of each hidden layer."""
    dropout: Rate = 0.1
    """Share of the hidden units dropped in training."""

    def build(self, shapes: Shapes) -> nn.Module:
        """Flatten, then linear layers."""
        from torch import nn

        layers: list[nn.Module] = [nn.Flatten()]
        width = shapes.num_inputs
        for units in self.hidden:
            layers += [nn.Linear(width, units), nn.ReLU(), nn.Dropout(self.dropout)]
            width = units
        return nn.Sequential(*layers, nn.Linear(width, shapes.outputs))
