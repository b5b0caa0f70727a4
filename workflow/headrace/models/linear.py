"""Linear model."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from headrace.models.base import ModelSpec, Shapes

if TYPE_CHECKING:
    from torch import nn


class Spec(ModelSpec):
    """One linear layer on the flattened inputs: softmax regression in a classification, least squares in a regression;
    for example `{kind: linear, bias: false}`.
    """

    reads: ClassVar[tuple[str, ...]] = ("dense", "sparse")

    bias: bool = True
    """Whether every output has an intercept."""

    def build(self, shapes: Shapes) -> nn.Module:
        """Flatten, then one linear layer."""
        from torch import nn

        return nn.Sequential(nn.Flatten(), nn.Linear(shapes.num_inputs, shapes.outputs, bias=self.bias))
