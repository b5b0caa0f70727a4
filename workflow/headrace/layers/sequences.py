"""Sequences inside a network: their real steps, and one vector for all of them. What fills up a batch is never read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from headrace.models.base import Inputs


def take_apart(inputs: Inputs) -> tuple[Tensor, Tensor | None]:
    """Values (batch, steps, ...), and lengths (batch,) int64 of at least 1, or None where every step is real.

    A sequence without steps counts as one step of zeros, however long its neighbours are.
    """
    if isinstance(inputs, Tensor):
        return inputs, None
    values = inputs.values
    if values.shape[1] == 0:
        values = values.new_zeros(values.shape[0], 1, *values.shape[2:])
    return values, inputs.lengths.clamp(min=1)


def mask_of(lengths: Tensor, num_steps: int) -> Tensor:
    """(batch, steps) bool: which steps are real."""
    return torch.arange(num_steps, device=lengths.device) < lengths[:, None]


def mean_of(states: Tensor, lengths: Tensor | None) -> Tensor:
    """Of the real steps: (batch, steps, width) to (batch, width)."""
    if lengths is None:
        return states.mean(dim=1)
    mask = mask_of(lengths, states.shape[1])[:, :, None]
    return states.where(mask, 0.0).sum(dim=1) / lengths[:, None]


def largest_of(states: Tensor, lengths: Tensor | None) -> Tensor:
    """The maximum over the real steps, for every number of its own: (batch, steps, width) to (batch, width)."""
    if lengths is not None:
        states = states.where(mask_of(lengths, states.shape[1])[:, :, None], -torch.inf)
    return states.amax(dim=1)


def last_of(states: Tensor, lengths: Tensor | None) -> Tensor:
    """That of the last real step: (batch, steps, width) to (batch, width)."""
    if lengths is None:
        return states[:, -1]
    end = (lengths - 1).view(-1, 1, 1).expand(-1, 1, states.shape[2])
    return states.gather(1, end).squeeze(1)


def reverse(states: Tensor, lengths: Tensor | None) -> Tensor:
    """The real steps of (batch, steps, width) in reverse order; what fills up stays behind them."""
    if lengths is None:
        return states.flip(1)
    steps = torch.arange(states.shape[1], device=states.device)
    places = torch.where(mask_of(lengths, states.shape[1]), lengths[:, None] - 1 - steps, steps)
    return states.gather(1, places[:, :, None].expand_as(states))
