"""Families that read sequences of different lengths: what fills up a batch changes nothing."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from torch import nn

from headrace.batching.batches import Padded
from headrace.models.base import ModelSpec, Shapes
from headrace.registry import list_kinds, load_kind, restore
from sample_sequences import (
    LENGTHS,
    RAGGED,
    assert_filling_changes_nothing,
    assert_neighbours_change_nothing,
    draw_rows,
)

SMALL = {"rnn": {"hidden": 5, "embedding": 3}, "transformer": {"width": 12, "heads": 3}}
MORE: dict[str, dict[str, dict[str, Any]]] = {
    "rnn": {
        "bidirectional": {"bidirectional": True, "layers": 2},
        "lstm mean": {"cell": "lstm", "bidirectional": True, "read": "mean", "dropout": 0.3},
        "vanilla max": {"cell": "vanilla", "layers": 2, "read": "max", "dropout": 0.3},
        "bidirectional max": {"bidirectional": True, "read": "max"},
    },
    "transformer": {"token": {"read": "token"}, "nowhere": {"position": "none"}},
}
FAMILIES = [kind for kind in list_kinds("models") if "ragged" in load_kind("models", kind).reads]  # type: ignore[attr-defined]
VARIANTS = [
    pytest.param({"kind": kind, **SMALL.get(kind, {}), **more}, id=f"{kind} {name}")
    for kind in FAMILIES
    for name, more in {"plain": {}, **MORE.get(kind, {})}.items()
]


def build(shapes: Shapes, parameters: dict[str, Any]) -> nn.Module:
    torch.manual_seed(0)
    return restore("models", parameters, ModelSpec).build(shapes)


@pytest.mark.parametrize("layout", RAGGED)
@pytest.mark.parametrize("parameters", VARIANTS)
def test_neighbours_in_a_batch_change_nothing(parameters: dict[str, Any], layout: str) -> None:
    module = build(RAGGED[layout], parameters)

    @settings(max_examples=10, deadline=None)
    @given(LENGTHS)
    def holds(lengths: list[int]) -> None:
        assert_neighbours_change_nothing(module, draw_rows(RAGGED[layout], lengths))

    holds()


@pytest.mark.parametrize("layout", RAGGED)
@pytest.mark.parametrize("parameters", VARIANTS)
def test_what_fills_up_a_batch_is_never_read(parameters: dict[str, Any], layout: str) -> None:
    shapes = RAGGED[layout]
    assert_filling_changes_nothing(build(shapes, parameters), draw_rows(shapes, [4, 1, 7, 2]), shapes.num_codes)


@pytest.mark.parametrize("parameters", VARIANTS)
def test_dense_sequences_are_read_as_padded_ones_that_are_full(parameters: dict[str, Any]) -> None:
    inputs = torch.randn(3, 6, 4)
    module = build(RAGGED["measurements"], parameters).eval()
    assert torch.allclose(module(inputs), module(Padded(inputs, torch.full((3,), 6))), atol=1e-6)
