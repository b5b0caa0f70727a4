"""Which inputs can be made worse in which way."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.corruptions.base import CorruptionSpec
from headrace.datasets.base import DataInfo
from headrace.registry import list_kinds, restore

PLACED = {"blur", "contrast"}


def misfits(shape: tuple[int, ...], dims: tuple[str, ...], **more: Any) -> dict[str, str | None]:
    info = DataInfo(("classification",), 9, shape, dims, ("no", "yes"), **more)
    specs = {kind: restore("corruptions", {"kind": kind, "strengths": [0.5]}, CorruptionSpec) for kind in KINDS}
    return {kind: spec.misfit(info) for kind, spec in specs.items()}


KINDS = list_kinds("corruptions")


@pytest.mark.parametrize(
    ("shape", "dims"),
    [
        ((8, 8), ("height", "width")),
        ((8, 8, 3), ("height", "width", "channel")),
        ((8, 8), ("axis_1", "axis_2")),
        ((8, 8, 24), ("lat", "lon", "time")),
        ((24, 3), ("time", "feature")),
        ((24, 3), ("window", "feature")),
    ],
)
def test_images_and_sequences_fit_every_kind(shape: tuple[int, ...], dims: tuple[str, ...]) -> None:
    assert misfits(shape, dims) == dict.fromkeys(KINDS)


@pytest.mark.parametrize(
    ("shape", "dims", "said"),
    [
        ((30,), ("feature",), "flat features"),
        ((24,), ("time",), "flat features"),
        ((24, 8, 8), ("time", "lat", "lon"), "(time, lat, lon)"),
        ((3, 100), ("channel", "time"), "(channel, time)"),
        ((2, 8, 8, 8), ("x", "y", "z", "channel"), "(x, y, z, channel)"),
    ],
)
def test_where_nothing_lies_beside_anything_nothing_is_blurred(
    shape: tuple[int, ...], dims: tuple[str, ...], said: str
) -> None:
    assert misfits(shape, dims) == {kind: said if kind in PLACED else None for kind in KINDS}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"layout": "ragged"}, "ragged inputs"),
        ({"layout": "sparse"}, "sparse inputs"),
        ({"num_codes": 30}, "codes"),
        ({"num_codes": 30, "layout": "ragged"}, "codes"),
    ],
)
def test_only_dense_measurements_are_made_worse(more: dict[str, Any], said: str) -> None:
    assert misfits((24, 3), ("time", "feature"), **more) == dict.fromkeys(KINDS, said)
