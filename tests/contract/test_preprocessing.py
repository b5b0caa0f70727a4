"""Every kind of preprocessing step keeps what it describes, block by block, and learns from what it is given alone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headrace import stores
from headrace.datasets.base import DataInfo
from headrace.linalg.blocks import RowBlocks
from headrace.preprocessing.base import StepSpec
from headrace.registry import list_kinds

SHAPES = {"table": ((12,), ("feature",)), "images": ((6, 5), ("height", "width"))}


def make_inputs(shape: tuple[int, ...], num_rows: int = 60) -> np.ndarray:
    generator = np.random.default_rng(4)
    return (0.5 + generator.normal(size=(num_rows, *shape))).astype(np.float32)


def blocks_of(values: np.ndarray, num_blocks: int = 4) -> RowBlocks:
    return RowBlocks([lambda block=block: block for block in np.array_split(values, num_blocks)])


@pytest.fixture(params=list_kinds("preprocessing"))
def step(request: pytest.FixtureRequest, make_example: Callable[..., Any]) -> StepSpec:
    spec = make_example("preprocessing", request.param)
    assert isinstance(spec, StepSpec)
    return spec


@pytest.fixture(params=SHAPES)
def info(request: pytest.FixtureRequest) -> DataInfo:
    shape, dims = SHAPES[request.param]
    return DataInfo(("classification",), 100, shape, dims, ("no", "yes"), (50, 50), unit_interval=True)


def test_what_comes_out_is_what_was_described(step: StepSpec, info: DataInfo) -> None:
    values = make_inputs(info.shape)
    described = step.describe(info, len(values))
    applied = step.apply(values, step.fit(blocks_of(values)))
    assert applied.shape == (len(values), *described.shape)
    assert applied.dtype == np.float32
    assert np.isfinite(applied).all()
    assert len(described.dims) == len(described.shape)
    assert (described.tasks, described.num_samples, described.class_names, described.class_counts) == (
        info.tasks,
        info.num_samples,
        info.class_names,
        info.class_counts,
    )
    if described.unit_interval:
        assert applied.min() >= 0
        assert applied.max() <= 1


def test_a_row_does_not_depend_on_its_neighbours(step: StepSpec, info: DataInfo) -> None:
    values = make_inputs(info.shape)
    state = step.fit(blocks_of(values))
    whole = step.apply(values, state)
    for border in (1, 30, 59):
        halves = np.concatenate([step.apply(values[:border], state), step.apply(values[border:], state)])
        assert np.abs(halves - whole).max() <= 1e-6 * max(1, np.abs(whole).max())


def test_applying_changes_no_input(step: StepSpec, info: DataInfo) -> None:
    values = make_inputs(info.shape)
    before = values.copy()
    step.apply(values, step.fit(blocks_of(values)))
    assert np.array_equal(values, before)


def test_a_state_is_arrays_that_safetensors_can_hold(step: StepSpec, info: DataInfo, tmp_path: Path) -> None:
    values = make_inputs(info.shape)
    state = step.fit(blocks_of(values))
    assert all(isinstance(name, str) and isinstance(array, np.ndarray) for name, array in state.items())
    stores.save_arrays(tmp_path / "state.safetensors", state)
    back = stores.load_arrays(tmp_path / "state.safetensors")
    assert {name: array.dtype for name, array in back.items()} == {name: array.dtype for name, array in state.items()}
    assert np.array_equal(step.apply(values, back), step.apply(values, state))


def test_fitting_twice_gives_the_same_bits(step: StepSpec, info: DataInfo) -> None:
    values = make_inputs(info.shape)
    np.random.seed(1)
    one = step.fit(blocks_of(values))
    np.random.seed(2)
    other = step.fit(blocks_of(values))
    assert {name: array.tobytes() for name, array in one.items()} == {
        name: array.tobytes() for name, array in other.items()
    }


def test_the_cut_of_the_blocks_changes_no_more_than_rounding(step: StepSpec, info: DataInfo) -> None:
    values = make_inputs(info.shape)
    one, other = (step.apply(values, step.fit(blocks_of(values, num_blocks))) for num_blocks in (1, 7))
    assert np.abs(one - other).max() <= 1e-4 * max(1, np.abs(one).max())


def test_parameters_survive_json(step: StepSpec) -> None:
    assert type(step).model_validate_json(step.model_dump_json()) == step
