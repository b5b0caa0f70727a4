"""Transformer over sequences (Vaswani et al. 2017, https://arxiv.org/abs/1706.03762)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import model_validator

from headrace.datasets.base import DataInfo
from headrace.experiments.config import PositiveInt, Rate
from headrace.models.base import NEXT_STEP, Inputs, ModelSpec, Shapes, check_sequences

if TYPE_CHECKING:
    from torch import Tensor, nn

COMPUTES = ("layers.attention", "layers.sequences")


class Spec(ModelSpec):
    """Self-attention among the steps of a sample, its first dimension; a linear layer reads what came of them: for
    example `{kind: transformer, layers: 4, width: 128, heads: 8}`.

    An image is read as a sequence of its rows. Codes, as the bytes of a text, are embedded; measurements go through a
    linear layer. Layers are normalised before attention. Of sequences of different lengths, what was filled up behind
    the end is never read. Memory grows with the square of the number of steps.

    Where the next step is to be predicted, every step looks only at those up to itself, and the linear layer reads each
    of them.
    """

    tasks: ClassVar[tuple[str, ...]] = ("classification", "regression", NEXT_STEP)
    reads: ClassVar[tuple[str, ...]] = ("dense", "ragged")

    width: PositiveInt = 64
    """Numbers that stand for a step; a multiple of `heads`."""
    layers: PositiveInt = 2
    """Encoder layers on top of each other."""
    heads: PositiveInt = 4
    """Heads of attention in a layer, which share the width evenly."""
    feedforward: PositiveInt = 4
    """Units of the feed-forward layer behind each attention, as a multiple of `width`."""
    dropout: Rate = 0.1
    """Share of the attention weights, and of the units behind attention and in the feed-forward layers, dropped in
    training."""
    position: Literal["sinusoidal", "learned", "none"] = "sinusoidal"
    """How a step says where it is: by sines and cosines, for any length; by a `learned` vector for each step, only for
    sequences that all have the same length; or not at all."""
    read: Literal["mean", "token"] = "mean"
    """What the linear layer reads: the `mean` over all steps, or a learned `token` that is put before the first
    step. Where the next step is predicted it reads every step, and there is no token."""

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"width: {self.width} cannot be shared by heads: {self.heads}; allowed: multiples of them")
        return self

    def check(self, info: DataInfo) -> None:
        """Sequences only; places are learned where there is a fixed number of them."""
        check_sequences(self.kind, info)
        if self.position == "learned" and info.layout == "ragged":
            raise ValueError("position: learned needs sequences of one length; allowed: sinusoidal, none")
        if self.read == "token" and NEXT_STEP in info.tasks:
            raise ValueError("read: token sums a sequence up, and here every step is read; leave it out")

    def build(self, shapes: Shapes) -> nn.Module:
        """(batch, steps, ...) to (batch, outputs), or to (batch, steps, outputs): what comes after each step."""
        import torch
        from torch import nn

        from headrace.layers.attention import Encoder, sinusoids
        from headrace.layers.sequences import mask_of, mean_of, take_apart

        spec, width, is_causal = self, self.width, shapes.task == NEXT_STEP

        class Transformer(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                features = shapes.inputs[-1] if shapes.inputs else 1
                self.embedding = (
                    nn.Embedding(shapes.num_codes, width) if shapes.num_codes else nn.Linear(features, width)
                )
                if spec.position == "learned":
                    self.positions = nn.Parameter(0.02 * torch.randn(shapes.inputs[0], width))
                if spec.read == "token":
                    self.token = nn.Parameter(0.02 * torch.randn(width))
                self.dropout = nn.Dropout(spec.dropout)
                size = (spec.layers, width, spec.heads, spec.feedforward * width)
                self.encoder = Encoder(*size, spec.dropout, is_causal=is_causal)
                self.head = nn.Linear(width, shapes.outputs)

            def forward(self, inputs: Inputs) -> Tensor:
                steps, lengths = self._placed(inputs)
                if is_causal:
                    following: Tensor = self.head(self.encoder(steps, None))
                    return following
                steps = self.encoder(steps, None if lengths is None else mask_of(lengths, steps.shape[1]))
                output: Tensor = self.head(steps[:, 0] if spec.read == "token" else mean_of(steps, lengths))
                return output

            def _placed(self, inputs: Inputs) -> tuple[Tensor, Tensor | None]:
                values, lengths = take_apart(inputs)
                is_bare = values.dim() == 2 and not shapes.num_codes
                steps = self.embedding(values.unsqueeze(-1) if is_bare else values)
                if spec.position == "learned":
                    steps = steps + self.positions
                elif spec.position == "sinusoidal":
                    steps = steps + sinusoids(steps.shape[1], width, steps.device)
                if spec.read == "token":
                    steps = torch.cat([self.token.expand(steps.shape[0], 1, width), steps], dim=1)
                    lengths = None if lengths is None else lengths + 1
                return self.dropout(steps), lengths

        return Transformer()
