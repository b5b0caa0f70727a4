"""Recurrent network over sequences."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from headrace.datasets.base import DataInfo
from headrace.experiments.config import PositiveInt, Rate
from headrace.models.base import NEXT_STEP, Inputs, ModelSpec, Shapes, check_sequences

if TYPE_CHECKING:
    from torch import Tensor, nn

COMPUTES = ("layers.recurrent", "layers.sequences")


class Spec(ModelSpec):
    """Recurrent layers along the first dimension of a sample; a linear layer reads their states: for example
    `{kind: rnn, cell: lstm, bidirectional: true, read: mean}`.

    An image is read as a sequence of its rows. Codes, as the bytes of a text, are embedded first. Of sequences of
    different lengths, what was filled up behind the end is never read. Where the next step is to be predicted, the
    linear layer reads the state after each step.
    """

    tasks: ClassVar[tuple[str, ...]] = ("classification", "regression", NEXT_STEP)
    reads: ClassVar[tuple[str, ...]] = ("dense", "ragged")

    cell: Literal["gru", "lstm", "vanilla"] = "gru"
    """Kind of recurrent unit."""
    hidden: PositiveInt = 64
    """Units of every recurrent layer, in each direction."""
    layers: PositiveInt = 1
    """Recurrent layers on top of each other."""
    embedding: PositiveInt = 32
    """Numbers that a code is embedded in."""
    bidirectional: bool = False
    """Whether every layer also reads the sequences from their last step to their first, with units of their own; not
    where the next step is predicted."""
    dropout: Rate = 0.0
    """Share of the states dropped in training, between one recurrent layer and the next, and before the linear
    layer."""
    read: Literal["last", "mean", "max"] = "last"
    """What the linear layer reads: `last` is the state after a direction has read everything; `mean` and `max` are
    taken over all steps, for every unit on its own. Means nothing where the next step is predicted."""

    def check(self, info: DataInfo) -> None:
        """Sequences only; what is to be predicted must not be read before."""
        check_sequences(self.kind, info)
        if NEXT_STEP not in info.tasks:
            return
        if self.bidirectional:
            raise ValueError("bidirectional: true reads the steps that are to be predicted; allowed: false")
        if self.read != "last":
            raise ValueError(f"read: {self.read} sums a sequence up, and here every step is read; leave it out")

    def build(self, shapes: Shapes) -> nn.Module:
        """Many to one, or, where the next step is predicted, every step to what comes after it."""
        import torch
        from torch import nn

        from headrace.layers.recurrent import RecurrentLayers
        from headrace.layers.sequences import largest_of, last_of, mean_of, take_apart

        spec, cell = self, {"gru": nn.GRU, "lstm": nn.LSTM, "vanilla": nn.RNN}[self.cell]
        is_plain = not self.bidirectional and (self.layers == 1 or self.dropout == 0)
        directions = 2 if self.bidirectional else 1

        class Recurrent(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.embedding = nn.Embedding(shapes.num_codes, spec.embedding) if shapes.num_codes else nn.Identity()
                width = spec.embedding if shapes.num_codes else shapes.inputs[-1] if shapes.inputs else 1
                size = (width, spec.hidden, spec.layers)
                # Forwards, what comes later cannot reach back: torch's own layers, all at once, are the fastest.
                self.cell = (
                    cell(*size, batch_first=True)
                    if is_plain
                    else RecurrentLayers(cell, *size, bidirectional=spec.bidirectional, dropout=spec.dropout)
                )
                self.dropout = nn.Dropout(spec.dropout)
                self.head = nn.Linear(directions * spec.hidden, shapes.outputs)

            def forward(self, inputs: Inputs) -> Tensor:
                values, lengths = take_apart(inputs)
                steps = self.embedding(values)
                steps = steps.unsqueeze(-1) if steps.dim() == 2 else steps
                states = self.cell(steps)[0] if is_plain else self.cell(steps, lengths)
                read = states if shapes.task == NEXT_STEP else self.summary(states, lengths)
                output: Tensor = self.head(self.dropout(read))
                return output

            def summary(self, states: Tensor, lengths: Tensor | None) -> Tensor:
                if spec.read != "last":
                    return (mean_of if spec.read == "mean" else largest_of)(states, lengths)
                ends = [last_of(states[:, :, : spec.hidden], lengths)]
                # Backwards, the first step is read last.
                ends += [states[:, 0, spec.hidden :]] if spec.bidirectional else []
                return torch.cat(ends, dim=1)

        return Recurrent()
