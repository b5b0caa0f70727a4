"""Recurrent layers written step by step compute what torch's own do."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from headrace.inference.stepwise import Stepwise, write_stepwise

LAYERS = {
    "gru": nn.GRU(3, 4, num_layers=2, batch_first=True),
    "lstm": nn.LSTM(3, 4, num_layers=2, batch_first=True),
    "tanh": nn.RNN(3, 4, batch_first=True),
    "relu": nn.RNN(3, 4, nonlinearity="relu", batch_first=True),
    "gru-without-bias": nn.GRU(3, 4, bias=False, batch_first=True),
    "lstm-without-bias": nn.LSTM(3, 4, bias=False, batch_first=True),
}


class Reader(nn.Module):
    """A family's module with a layer inside."""

    def __init__(self, layer: nn.RNNBase) -> None:
        super().__init__()
        self.layers = nn.ModuleList([layer])

    def forward(self, steps: Tensor) -> Tensor:
        """The states."""
        states: Tensor = self.layers[0](steps)[0]
        return states


@pytest.mark.parametrize("layer", LAYERS.values(), ids=list(LAYERS))
def test_a_layer_gives_the_states_of_torch(layer: nn.RNNBase) -> None:
    reader = Reader(layer).eval().requires_grad_(False)
    steps = torch.randn((2, 17, 3), generator=torch.Generator().manual_seed(1))
    wanted = [reader(steps), reader(steps[:1, :1])]
    write_stepwise(reader)
    assert isinstance(reader.layers[0], Stepwise)
    sizes = {dimension: torch.export.Dim(name, min=1) for dimension, name in enumerate(("batch", "steps"))}
    program = torch.export.export(reader, (torch.zeros(3, 5, 3),), dynamic_shapes=(sizes,)).module()
    found = [program(steps), program(steps[:1, :1])]
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "layer",
    [nn.GRU(3, 4), nn.GRU(3, 4, batch_first=True, bidirectional=True), nn.LSTM(3, 4, batch_first=True, proj_size=2)],
    ids=["steps-first", "bidirectional", "projected"],
)
def test_a_layer_that_is_read_otherwise_stays(layer: nn.RNNBase) -> None:
    reader = Reader(layer)
    write_stepwise(reader)
    assert reader.layers[0] is layer
