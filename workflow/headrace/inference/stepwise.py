"""Recurrent layers of torch, written step by step: a program made of them takes sequences of any number of steps.

When torch traces a recurrent layer it writes one step after the other down, as many as its example has. `scan` is
traced as one loop instead, of which a program holds a single step.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

States = tuple[Tensor, ...]
"""(batch, hidden) each: what a layer remembers from one step to the next, first what it gives."""
Step = Callable[[Tensor, States, Tensor, Tensor | None], States]
"""From what comes in, (batch, gates * hidden), the states before, and the weights and biases that these meet."""


def write_stepwise(module: nn.Module) -> None:
    """Replace, in place, the recurrent layers that read forwards. Others stay, and torch cannot trace them."""
    for name, layer in list(module.named_modules()):
        if (
            name
            and isinstance(layer, nn.RNNBase)
            and layer.batch_first
            and not (layer.bidirectional or layer.proj_size)
        ):
            module.set_submodule(name, Stepwise(layer))


class Stepwise(nn.Module):
    """What a recurrent layer computes when nothing is dropped, with the very weights of that layer."""

    def __init__(self, layer: nn.RNNBase) -> None:
        super().__init__()
        self.layer, self._step = layer, step_of(layer)

    def forward(self, steps: Tensor) -> tuple[Tensor, None]:
        """(batch, steps, width) to (batch, steps, hidden); nobody asks for the last states, which come second."""
        for i in range(self.layer.num_layers):
            steps = self._run(steps, i)
        return steps, None

    def _run(self, steps: Tensor, i: int) -> Tensor:
        from torch._higher_order_ops.scan import scan

        weights = dict(self.layer.named_parameters())
        to_hidden, bias = weights[f"weight_hh_l{i}"], weights.get(f"bias_hh_l{i}")
        # What the gates are told of the inputs, for all steps at once; steps go first, along which is scanned.
        told = functional.linear(steps, weights[f"weight_ih_l{i}"], weights.get(f"bias_ih_l{i}")).transpose(0, 1)

        def advance(states: States, now: Tensor) -> tuple[States, Tensor]:
            after = self._step(now, states, to_hidden, bias)
            # A scan may not give the same tensor twice.
            return after, after[0].clone()

        zeros = steps.new_zeros(steps.shape[0], self.layer.hidden_size)
        before = (zeros, torch.zeros_like(zeros)) if isinstance(self.layer, nn.LSTM) else (zeros,)
        _, states = scan(advance, before, told)
        given: Tensor = states.transpose(0, 1)
        return given


def step_of(layer: nn.RNNBase) -> Step:
    """How a kind of recurrent layer goes from one step to the next."""
    if isinstance(layer, nn.GRU):
        return gated_step
    if isinstance(layer, nn.LSTM):
        return long_short_step
    return relu_step if layer.nonlinearity == "relu" else tanh_step


def gated_step(told: Tensor, states: States, weights: Tensor, bias: Tensor | None) -> States:
    """A gated recurrent unit with the reset behind the product (Cho et al. 2014, https://arxiv.org/abs/1406.1078)."""
    (hidden,) = states
    reset, update, new = told.chunk(3, dim=1)
    reset_by, update_by, new_by = functional.linear(hidden, weights, bias).chunk(3, dim=1)
    update = (update + update_by).sigmoid()
    new = (new + (reset + reset_by).sigmoid() * new_by).tanh()
    return (new + update * (hidden - new),)


def long_short_step(told: Tensor, states: States, weights: Tensor, bias: Tensor | None) -> States:
    """Long short-term memory (Hochreiter and Schmidhuber 1997, https://doi.org/10.1162/neco.1997.9.8.1735), with the
    forget gate of Gers et al. 2000.
    """
    hidden, cell = states
    enter, forget, new, leave = (told + functional.linear(hidden, weights, bias)).chunk(4, dim=1)
    cell = forget.sigmoid() * cell + enter.sigmoid() * new.tanh()
    return leave.sigmoid() * cell.tanh(), cell


def tanh_step(told: Tensor, states: States, weights: Tensor, bias: Tensor | None) -> States:
    """An Elman network (1990, https://doi.org/10.1207/s15516709cog1402_1)."""
    return ((told + functional.linear(states[0], weights, bias)).tanh(),)


def relu_step(told: Tensor, states: States, weights: Tensor, bias: Tensor | None) -> States:
    """The same with rectified units."""
    return ((told + functional.linear(states[0], weights, bias)).relu(),)
