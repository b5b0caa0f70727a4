"""Families that say what comes next: from what came before, and from nothing else."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from headrace.batching.batches import Padded
from headrace.datasets.base import DataInfo
from headrace.errors import InputError
from headrace.experiments.reading import check_experiment
from headrace.layers.attention import Attention
from headrace.models.base import ModelSpec, Shapes, cost_of_steps
from headrace.registry import list_kinds, load_kind, restore
from sample_sequences import batch_of

NUM_CODES, NUM_STEPS = 5, 8
DENSE = Shapes((NUM_STEPS,), NUM_CODES, "next_step", num_codes=NUM_CODES)
RAGGED = Shapes((), NUM_CODES, "next_step", "ragged", NUM_CODES)
SMALL: dict[str, dict[str, Any]] = {
    "gru": {"kind": "rnn", "hidden": 7, "embedding": 3},
    "lstm": {"kind": "rnn", "cell": "lstm", "hidden": 7, "embedding": 3, "layers": 2, "dropout": 0.3},
    "transformer": {"kind": "transformer", "width": 12, "heads": 3},
    "transformer nowhere": {"kind": "transformer", "width": 12, "heads": 3, "position": "none", "layers": 3},
}
LEARNED = {"kind": "transformer", "width": 12, "heads": 3, "position": "learned"}
INFO = DataInfo(("next_step",), 9, (NUM_STEPS,), ("step",), num_codes=NUM_CODES)


def family(parameters: dict[str, Any]) -> ModelSpec:
    return restore("models", parameters, ModelSpec)


def build(parameters: dict[str, Any], shapes: Shapes = DENSE) -> nn.Module:
    torch.manual_seed(0)
    return family(parameters).build(shapes).eval()


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(NUM_CODES, shape, generator=torch.Generator().manual_seed(seed))


def test_every_family_that_serves_the_task_is_tried_here() -> None:
    serving = {kind for kind in list_kinds("models") if "next_step" in load_kind("models", kind).tasks}  # type: ignore[attr-defined]
    assert serving == {parameters["kind"] for parameters in SMALL.values()}


@pytest.mark.parametrize("parameters", [*SMALL.values(), LEARNED], ids=[*SMALL, "learned"])
def test_what_comes_later_changes_no_bit_of_what_was_said_before(parameters: dict[str, Any]) -> None:
    module, inputs = build(parameters), draw(3, NUM_STEPS)
    said = module(inputs)
    assert said.shape == (3, NUM_STEPS, NUM_CODES)
    for step in range(NUM_STEPS):
        other = inputs.clone()
        other[:, step:] = (other[:, step:] + draw(3, NUM_STEPS - step, seed=1) % (NUM_CODES - 1) + 1) % NUM_CODES
        found = module(other)
        assert torch.equal(found[:, :step], said[:, :step])
        assert not torch.equal(found[:, step], said[:, step])


@pytest.mark.parametrize("parameters", SMALL.values(), ids=SMALL)
def test_everything_that_came_before_is_read(parameters: dict[str, Any]) -> None:
    module = build(parameters)
    embedded = module.embedding(draw(1, NUM_STEPS)).detach().requires_grad_()
    module.embedding = nn.Identity()
    module(embedded)[0, -1].sum().backward()
    gradient = embedded.grad
    assert gradient is not None
    assert (gradient.abs().amax(dim=2) > 0).all()


@pytest.mark.parametrize("parameters", SMALL.values(), ids=SMALL)
def test_what_is_said_after_a_beginning_is_what_is_said_inside_of_the_whole(parameters: dict[str, Any]) -> None:
    module, inputs = build(parameters), draw(2, NUM_STEPS)
    whole = module(inputs)
    for length in range(1, NUM_STEPS + 1):
        torch.testing.assert_close(module(inputs[:, :length])[:, -1], whole[:, length - 1], rtol=1e-5, atol=1e-5)


def test_causal_attention_is_that_of_the_last_step_over_every_beginning() -> None:
    torch.manual_seed(0)
    causal, plain = Attention(6, 2, 0.0, is_causal=True).double(), Attention(6, 2, 0.0).double()
    plain.load_state_dict(causal.state_dict())
    steps = torch.randn(3, 5, 6, dtype=torch.float64)
    expected = torch.stack([plain(steps[:, :length], None)[:, -1] for length in range(1, 6)], dim=1)
    torch.testing.assert_close(causal(steps, None), expected, rtol=0, atol=1e-12)


@torch.no_grad()
@pytest.mark.parametrize("parameters", SMALL.values(), ids=SMALL)
def test_neighbours_and_what_fills_up_change_nothing(parameters: dict[str, Any]) -> None:
    module, spec = build(parameters, RAGGED), family(parameters)

    def costs(batch: Padded) -> dict[str, Tensor]:
        return spec.predict(module(batch), batch, "next_step")

    @settings(max_examples=10, deadline=None)
    @given(st.lists(st.integers(0, 9), min_size=1, max_size=5))
    def holds(lengths: list[int]) -> None:
        rows = [draw(length, seed=i) for i, length in enumerate(lengths)]
        batch = batch_of(rows)
        together = costs(batch)
        assert together["steps"].tolist() == [max(0, length - 1) for length in lengths]
        alone = [costs(batch_of([row])) for row in rows]
        for name, values in together.items():
            torch.testing.assert_close(values, torch.cat([one[name] for one in alone]), rtol=1e-5, atol=1e-5)
        filled = batch.values.where(batch.mask, NUM_CODES - 1)
        assert torch.equal(costs(Padded(filled, batch.lengths))["nats"], together["nats"])

    holds()


def test_the_cost_is_that_of_every_step_but_the_first() -> None:
    lengths, outputs = [4, 1, 6], torch.randn(3, 6, NUM_CODES, generator=torch.Generator().manual_seed(2))
    rows = [draw(length, seed=length) for length in lengths]
    expected = []
    for i, row in enumerate(rows):
        costs = []
        for step in range(1, len(row)):
            powers = [math.exp(value) for value in outputs[i, step - 1].tolist()]
            costs.append(-math.log(powers[int(row[step])] / sum(powers)))
        expected.append(math.fsum(costs))
    nats, counts = cost_of_steps(outputs, batch_of(rows))
    assert nats.tolist() == pytest.approx(expected, rel=1e-5)
    assert counts.tolist() == [3, 0, 5]
    spec = family(SMALL["gru"])
    loss = spec.loss(outputs, batch_of(rows), torch.empty(0), "next_step")
    assert float(loss) == pytest.approx(math.fsum(expected) / 8, rel=1e-5)
    dense = draw(3, 6, seed=9)
    nats, counts = cost_of_steps(outputs, dense)
    assert torch.equal(nats, cost_of_steps(outputs, Padded(dense, torch.full((3,), 6)))[0])
    assert counts.tolist() == [5, 5, 5]


@pytest.mark.parametrize("parameters", SMALL.values(), ids=SMALL)
@pytest.mark.parametrize("lengths", [[0, 0], [1], [1, 0]])
def test_a_batch_without_a_step_to_predict_costs_nothing(parameters: dict[str, Any], lengths: list[int]) -> None:
    module, spec = build(parameters, RAGGED), family(parameters)
    batch = batch_of([draw(length) for length in lengths])
    loss = spec.loss(module(batch), batch, torch.empty(0), "next_step")
    loss.backward()
    assert float(loss.detach()) == 0
    assert all(parameter.grad is not None and not parameter.grad.any() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"kind": "rnn", "bidirectional": True}, "bidirectional: true reads the steps that are to be predicted"),
        ({"kind": "rnn", "read": "mean"}, "read: mean sums a sequence up"),
        ({"kind": "transformer", "read": "token"}, "read: token sums a sequence up"),
    ],
)
def test_parameters_that_cannot_be_are_refused_for_this_task_alone(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        family(parameters).check(INFO)
    family(parameters).check(dataclasses.replace(INFO, tasks=("classification",)))


@pytest.mark.parametrize("kind", ["rnn", "transformer"])
def test_only_codes_can_come_next(kind: str) -> None:
    family({"kind": kind}).check(INFO)
    family({"kind": kind}).check(dataclasses.replace(INFO, shape=(), dims=(), layout="ragged"))
    for shape, layout in (((NUM_STEPS, 3), "dense"), ((3,), "ragged")):
        measured = dataclasses.replace(INFO, shape=shape, dims=("step", "feature")[-len(shape) :], num_codes=0)
        with pytest.raises(ValueError, match=f"{kind} predicts which code comes next, and these features are measure"):
            family({"kind": kind}).check(dataclasses.replace(measured, layout=layout))


@pytest.mark.parametrize("key", ["world_size", "accumulate"])
def test_lines_of_different_lengths_are_not_shared_out(tmp_path: Path, key: str) -> None:
    text = tmp_path / "lines.txt"
    text.write_text("".join(f"{'word ' * (1 + i % 7)}{i}\n" for i in range(60)))
    dataset = {"kind": "text_lines", "path": str(text)}
    raw = {"name": "lines", "datasets": {"lines": dataset}, "models": [{"kind": "rnn"}], "training": {"batch_size": 8}}
    check_experiment(raw, [Path("lines.yaml")], tmp_path)
    with pytest.raises(InputError, match=f"{key}: steps of different sequences cannot be shared out") as caught:
        check_experiment({**raw, "training": {"batch_size": 8, key: 2}}, [Path("lines.yaml")], tmp_path)
    assert len(caught.value.problems) == 1
