"""Operations of training, against counts by hand and against torch's count of a real step."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from headrace.models.base import ModelSpec, Shapes
from headrace.registry import restore
from headrace.training import flops
from headrace.training.flops import flops_per_sample

IMAGES = Shapes((8, 8), 10, "classification")
CODES = Shapes((6,), 3, "classification", num_codes=20)
FAMILIES: dict[str, tuple[dict[str, Any], Shapes]] = {
    "linear": ({"kind": "linear"}, Shapes((7,), 3, "classification")),
    "fnn": ({"kind": "fnn", "hidden": [5, 4]}, Shapes((7,), 2, "regression")),
    "cnn": ({"kind": "cnn", "channels": [3, 4], "hidden": 6}, IMAGES),
    "residual": ({"kind": "cnn", "channels": [3], "blocks": "residual"}, IMAGES),
    "vae": ({"kind": "vae", "hidden": 9, "latent": 2}, Shapes((8, 8), 0, "density")),
    "transformer": ({"kind": "transformer", "width": 8, "heads": 2, "layers": 1}, IMAGES),
    "codes": ({"kind": "transformer", "width": 8, "heads": 2, "layers": 1}, CODES),
    "next step": ({"kind": "rnn", "hidden": 5, "embedding": 3}, Shapes((6,), 9, "next_step", num_codes=9)),
    "sparse": ({"kind": "fnn", "hidden": [5]}, Shapes((50,), 3, "classification", layout="sparse")),
}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """As in a stage: threads that wait for each other on a busy machine would use up the time for counting."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def family_of(parameters: dict[str, Any]) -> ModelSpec:
    return restore("models", parameters, ModelSpec)


def count_by_torch(family: ModelSpec, shapes: Shapes) -> int:
    """Of a real step with real numbers, of 6 samples."""
    module = family.build(shapes)
    inputs = torch.zeros(6, *shapes.inputs, dtype=torch.int64) if shapes.num_codes else torch.rand(6, *shapes.inputs)
    target = torch.zeros(6, dtype=torch.int64) if shapes.task == "classification" else torch.rand(6, shapes.outputs)
    with FlopCounterMode(display=False) as counter:
        family.loss(module(inputs), inputs, target, shapes.task).backward()
    return counter.get_total_flops() // 6


def count_by_shapes(family: ModelSpec, shapes: Shapes) -> int:
    """By torch's own counter on the meta device, which knows all kernels as products."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        inputs = torch.empty(6, *shapes.inputs)
        target = torch.empty(6, dtype=torch.int64)
        family.loss(family.build(shapes)(inputs), inputs, target, shapes.task).backward()
    return counter.get_total_flops() // 6


def test_a_linear_layer_is_counted_by_hand() -> None:
    # Forwards, and backwards for the weights; nobody asks for the gradient of the inputs.
    assert flops_per_sample(*map_family("linear")) == 2 * (2 * 7 * 3)


def test_hidden_layers_are_counted_by_hand() -> None:
    forwards = 2 * (7 * 5 + 5 * 4 + 4 * 2)
    assert flops_per_sample(*map_family("fnn")) == 3 * forwards - 2 * 7 * 5


def map_family(name: str) -> tuple[ModelSpec, Shapes]:
    parameters, shapes = FAMILIES[name]
    return family_of(parameters), shapes


@pytest.mark.parametrize("name", [name for name in FAMILIES if "transformer" not in FAMILIES[name][0]["kind"]])
def test_the_count_is_that_of_a_real_step(name: str) -> None:
    family, shapes = map_family(name)
    assert flops_per_sample(family, shapes) == count_by_torch(family, shapes) > 0


@pytest.mark.parametrize(
    "parameters", [{"kind": "rnn", "cell": "lstm", "bidirectional": True}, {"kind": "rnn"}, {"kind": "transformer"}]
)
def test_fused_kernels_count_as_their_products(parameters: dict[str, Any]) -> None:
    family, shapes = family_of(parameters), Shapes((5, 3), 2, "classification")
    assert flops_per_sample(family, shapes) == count_by_shapes(family, shapes) > 0


@pytest.mark.parametrize("cell", ["gru", "lstm", "vanilla"])
def test_every_step_of_a_recurrent_layer_counts(cell: str) -> None:
    family = family_of({"kind": "rnn", "cell": cell, "hidden": 4})
    counts = [flops_per_sample(family, Shapes((steps, 3), 2, "classification")) for steps in (5, 10, 20)]
    assert counts[2] - counts[1] == 2 * (counts[1] - counts[0]) > 0


def test_attention_grows_with_the_square_of_the_steps() -> None:
    family = family_of({"kind": "transformer", "width": 8, "heads": 2, "layers": 1})
    counts = [flops_per_sample(family, Shapes((steps, 3), 2, "classification")) for steps in (10, 20, 40)]
    # What is linear in the steps falls out: 3 times 2 products of (steps, width) with (width, steps).
    squares = counts[2] - 3 * counts[1] + 2 * counts[0]
    assert squares == pytest.approx(12 * 8 * (40**2 - 3 * 20**2 + 2 * 10**2), rel=0.2)


def test_what_shapes_do_not_tell_is_not_counted() -> None:
    family = family_of({"kind": "rnn"})
    assert flops_per_sample(family, Shapes((2,), 3, "classification", layout="ragged")) is None
    assert flops_per_sample(family, Shapes((4, 2), 3, "something else")) is None


def test_a_family_that_cannot_read_zeros_is_not_counted(monkeypatch: pytest.MonkeyPatch, log_lines: list[str]) -> None:
    family, shapes = map_family("linear")
    with monkeypatch.context() as patched:
        patched.setattr(type(family), "loss", lambda *_: torch.zeros(3)[7])
        assert flops_per_sample(family, Shapes((13,), 3, "classification")) is None
    assert "operations of linear are not counted: index 7 is out of bounds" in log_lines[-1]
    assert flops_per_sample(family, shapes)


def test_what_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flops, "LIMIT_S", 0.0)
    assert flops_per_sample(family_of({"kind": "linear"}), Shapes((17,), 3, "classification")) is None


def test_a_model_that_memory_was_not_asked_for_is_not_counted() -> None:
    family, shapes = map_family("linear")
    assert flops_per_sample(family, shapes, flops.MAX_PARAMETERS + 1) is None
    assert flops_per_sample(family, shapes, flops.MAX_PARAMETERS)


def test_counting_moves_no_generator_and_puts_switches_back() -> None:
    torch.manual_seed(3)
    state = torch.get_rng_state()
    assert flops_per_sample(family_of({"kind": "vae", "hidden": 11}), Shapes((8, 8), 0, "density"))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.backends.mkldnn.enabled
    assert torch.backends.cuda.flash_sdp_enabled()


def test_counting_imports_no_compiler() -> None:
    """Which takes longer than all that is counted."""
    lines = (
        "import sys",
        "from headrace.models.fnn import Spec",
        "from headrace.models.base import Shapes",
        "from headrace.training.flops import flops_per_sample",
        "assert flops_per_sample(Spec(kind='fnn'), Shapes((3,), 2, 'classification'))",
        "assert 'torch._dynamo' not in sys.modules",
    )
    subprocess.run([sys.executable, "-c", "\n".join(lines)], check=True)
