"""The recurrent family, against torch's own layers over packed sequences."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from headrace.datasets.base import DataInfo
from headrace.layers.sequences import largest_of, last_of, mean_of, reverse
from headrace.models.base import ModelSpec, Shapes
from headrace.registry import restore
from sample_sequences import RAGGED, batch_of, draw_rows

CELLS = {"gru": nn.GRU, "lstm": nn.LSTM, "vanilla": nn.RNN}
GATES = {"gru": 3, "lstm": 4, "vanilla": 1}
MEASUREMENTS = RAGGED["measurements"]


def rnn(**parameters: Any) -> ModelSpec:
    return restore("models", {"kind": "rnn", "hidden": 5, "embedding": 3, **parameters}, ModelSpec)


def build(shapes: Shapes, **parameters: Any) -> nn.Module:
    torch.manual_seed(0)
    return rnn(**parameters).build(shapes)


def peer_of(module: nn.Module, cell: str, width: int, layers: int) -> nn.RNNBase:
    """torch's bidirectional layers with the same weights."""
    peer = CELLS[cell](width, 5, layers, batch_first=True, bidirectional=True)
    own = module.cell
    for i in range(layers):
        for part, suffix in ((own.forwards[i], ""), (own.backwards[i], "_reverse")):
            for name, value in part.state_dict().items():
                getattr(peer, f"{name.replace('_l0', f'_l{i}')}{suffix}").data = value
    return peer


@pytest.mark.parametrize("cell", CELLS)
def test_both_directions_give_what_torch_gives_for_packed_sequences(cell: str) -> None:
    module = build(MEASUREMENTS, cell=cell, bidirectional=True, layers=2).eval()
    batch = batch_of(draw_rows(MEASUREMENTS, [3, 8, 1, 5]))
    packed = pack_padded_sequence(batch.values, batch.lengths, batch_first=True, enforce_sorted=False)
    states, final = peer_of(module, cell, 4, 2)(packed)
    expected, _ = pad_packed_sequence(states, batch_first=True)
    found = module.cell(batch.values, batch.lengths)
    assert torch.allclose(found[batch.mask], expected[batch.mask], atol=1e-6)
    # The last layer's final states: forwards, backwards.
    last = (final[0] if cell == "lstm" else final)[-2:]
    assert torch.allclose(module(batch), module.head(torch.cat([last[0], last[1]], dim=1)), atol=1e-6)


def test_layers_that_drop_nothing_are_those_of_torch() -> None:
    torch.manual_seed(0)
    expected = {"cell": nn.LSTM(4, 5, 2, batch_first=True), "head": nn.Linear(5, 3)}
    found = build(Shapes((6, 4), 3, "classification"), cell="lstm", layers=2)
    for name, module in expected.items():
        own = getattr(found, name).state_dict()
        assert all(torch.equal(own[key], value) for key, value in module.state_dict().items())
    inputs = torch.randn(2, 6, 4)
    assert torch.equal(found(inputs), expected["head"](expected["cell"](inputs)[0][:, -1]))


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_the_number_of_parameters_is_known(cell: str, bidirectional: bool) -> None:
    module = build(MEASUREMENTS, cell=cell, bidirectional=bidirectional, layers=2)
    directions = 2 if bidirectional else 1
    per_layer = [GATES[cell] * (5 * width + 5 * 5 + 2 * 5) for width in (4, 5 * directions)]
    expected = directions * sum(per_layer) + (5 * directions + 1) * 3
    assert sum(parameter.numel() for parameter in module.parameters()) == expected


def test_only_training_drops_states_and_a_rate_of_zero_draws_nothing() -> None:
    inputs = torch.randn(4, 6, 4)
    for layers in (1, 2):
        module = build(MEASUREMENTS, dropout=0.5, layers=layers)
        assert not torch.equal(module(inputs), module(inputs))
        module.eval()
        assert torch.equal(module(inputs), module(inputs))
    module, before = build(MEASUREMENTS, bidirectional=True, layers=2), torch.get_rng_state()
    module(inputs)
    assert torch.equal(torch.get_rng_state(), before)


def test_summaries_are_those_of_the_real_steps() -> None:
    rows = draw_rows(MEASUREMENTS, [3, 1, 6])
    batch = batch_of(rows)
    expected = {
        mean_of: [row.mean(dim=0) for row in rows],
        largest_of: [row.amax(dim=0) for row in rows],
        last_of: [row[-1] for row in rows],
    }
    for summary, wanted in expected.items():
        assert torch.allclose(summary(batch.values, batch.lengths), torch.stack(wanted), atol=1e-6)


def test_reversing_twice_changes_nothing_and_leaves_the_filling_behind() -> None:
    rows = draw_rows(MEASUREMENTS, [3, 1, 6])
    batch = batch_of(rows)
    back = reverse(batch.values, batch.lengths)
    assert torch.equal(back, batch_of([row.flip(0) for row in rows]).values)
    assert torch.equal(reverse(back, batch.lengths), batch.values)


def test_a_batch_without_any_steps_is_read() -> None:
    module = build(MEASUREMENTS, bidirectional=True)
    assert torch.isfinite(module(batch_of(draw_rows(MEASUREMENTS, [0, 0])))).all()


def test_only_sequences_are_read() -> None:
    with pytest.raises(ValueError, match="rnn reads sequences"):
        rnn().check(DataInfo(("classification",), 9, (4,), ("feature",)))
    rnn().check(DataInfo(("classification",), 9, (4, 3), ("height", "width")))
    with pytest.raises(ValueError, match="rnn reads steps of one dimension"):
        rnn().check(DataInfo(("classification",), 9, (4, 3), ("a", "b"), layout="ragged"))
    with pytest.raises(ValueError, match="or of one code"):
        rnn().check(DataInfo(("classification",), 9, (4,), ("a",), layout="ragged", num_codes=3))
