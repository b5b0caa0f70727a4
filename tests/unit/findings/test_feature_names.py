"""What features are called after a chain, against what the steps themselves make of numbered columns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from headrace.datasets.base import DataInfo
from headrace.findings.feature_names import NAME_KEEPING, name_features
from headrace.preprocessing.base import StepSpec
from headrace.registry import list_kinds, restore

ATTRIBUTES = {
    "feature_names": ["age", "colour", "height", "state"],
    "categories": {"colour": ["blue", "red"], "state": ["off", "on", "unknown"]},
}


def step(kind: str, **parameters: Any) -> dict[str, Any]:
    """As the report is told of it."""
    return restore("preprocessing", {"kind": kind, **parameters}, StepSpec).model_dump(mode="json")


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([], ("age", "colour", "height", "state")),
        ([step("standardize"), step("quantile_scale")], ("age", "colour", "height", "state")),
        (
            [step("one_hot", columns=((3, 3), (1, 2))), step("standardize")],
            ("age", "height", "colour = blue", "colour = red", "state = off", "state = on", "state = unknown"),
        ),
        ([step("one_hot", columns=((2, 2),))], ("age", "colour", "state", "height = 0", "height = 1")),
        (
            [step("impute", indicator=True)],
            (
                *("age", "colour", "height", "state"),
                *(f"{name} is missing" for name in ("age", "colour", "height", "state")),
            ),
        ),
        ([step("impute")], ("age", "colour", "height", "state")),
        ([step("standardize"), step("truncated_svd", rank=2)], ()),
        ([step("window", size=2)], ()),
        ([step("one_hot")], ()),
    ],
)
def test_names_follow_the_columns(steps: list[dict[str, Any]], expected: tuple[str, ...]) -> None:
    assert name_features(ATTRIBUTES, steps) == expected


def test_indicators_are_named_in_the_order_in_which_they_come() -> None:
    table = np.array([[30.0, 1.0, 1.8, 2.0]], np.float32)
    spec = restore("preprocessing", {"kind": "one_hot", "columns": ((3, 3), (1, 2))}, StepSpec)
    names = name_features(ATTRIBUTES, [spec.model_dump(mode="json")])
    found = dict(zip(names, spec.apply(table, {}, slice(0, 1))[0].tolist(), strict=True))
    assert {name for name, value in found.items() if value == 1} == {"colour = red", "state = unknown"}


def test_data_without_names_have_none() -> None:
    assert name_features({}, [step("impute", indicator=True)]) == ()


@pytest.mark.parametrize("kind", sorted(NAME_KEEPING))
def test_what_keeps_names_keeps_the_shape(kind: str) -> None:
    assert kind in list_kinds("preprocessing")
    info = DataInfo(("classification",), 10, (4,), ("feature",), class_names=("a", "b"), has_graph=True)
    parameters = {"noise": 0.1} if kind == "augment" else {}
    found = restore("preprocessing", {"kind": kind, **parameters}, StepSpec).describe(info, 7)
    assert (found.shape, found.dims) == (info.shape, info.dims)
