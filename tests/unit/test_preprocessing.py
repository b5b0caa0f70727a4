"""The kinds of preprocessing steps against scikit-learn, and that the training split alone is learned from."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import TruncatedSVD
from sklearn.preprocessing import StandardScaler

from headrace import stores
from headrace.errors import StageError
from headrace.linalg.blocks import RowBlocks
from headrace.preprocessing.base import StepSpec
from headrace.registry import restore
from headrace.stages import preprocess


def step(kind: str, **parameters: Any) -> StepSpec:
    return restore("preprocessing", {"kind": kind, **parameters}, StepSpec)


def blocks_of(values: np.ndarray, num_blocks: int) -> RowBlocks:
    return RowBlocks([lambda block=block: block for block in np.array_split(values, num_blocks)])


def fit_apply(spec: StepSpec, values: np.ndarray, num_blocks: int = 4) -> np.ndarray:
    return spec.apply(values, spec.fit(blocks_of(values, num_blocks)))


# standardize


@given(
    num_rows=st.integers(2, 200),
    num_blocks=st.integers(1, 9),
    offset=st.floats(-100, 100),
    scale=st.floats(0.01, 1000),
    seed=st.integers(0, 1000),
)
@settings(deadline=None, max_examples=50)
def test_standardize_matches_scikit_learn(
    num_rows: int, num_blocks: int, offset: float, scale: float, seed: int
) -> None:
    values = (offset + scale * np.random.default_rng(seed).normal(size=(num_rows, 5))).astype(np.float32)
    expected = StandardScaler().fit_transform(values.astype(np.float64))
    assert fit_apply(step("standardize"), values, min(num_blocks, num_rows)) == pytest.approx(expected, abs=1e-5)


def test_standardize_over_all_features_keeps_their_contrast() -> None:
    images = np.random.default_rng(0).uniform(size=(50, 6, 6)).astype(np.float32)
    expected = StandardScaler().fit_transform(images.reshape(-1, 1).astype(np.float64)).reshape(images.shape)
    assert fit_apply(step("standardize", per="all"), images) == pytest.approx(expected, abs=1e-5)


def test_images_are_standardized_pixel_by_pixel() -> None:
    images = np.random.default_rng(0).uniform(size=(50, 6, 6)).astype(np.float32)
    expected = StandardScaler().fit_transform(images.reshape(50, 36).astype(np.float64)).reshape(images.shape)
    assert fit_apply(step("standardize"), images) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("constant", [0.0, 1.0, 0.1, 1e-30, 1e30, -12345.678])
@pytest.mark.parametrize("per", ["feature", "all"])
def test_constant_features_become_zero(constant: float, per: str) -> None:
    values = np.full((37, 3), constant, np.float32)
    assert fit_apply(step("standardize", per=per), values) == pytest.approx(np.zeros((37, 3)), abs=1e-6)


def test_a_feature_that_is_constant_in_training_stays_finite_elsewhere() -> None:
    spec = step("standardize")
    state = spec.fit(blocks_of(np.ones((10, 1), np.float32), 2))
    assert spec.apply(np.array([[3.0]], np.float32), state).tolist() == [[2.0]]


@pytest.mark.parametrize("offset", [1e3, 1e4, 1e5, 1e6])
def test_a_small_spread_on_a_large_offset_matches_scikit_learn(offset: float) -> None:
    # At an offset of 1e6 the spread of 1 is 16 steps of float32: information, and not rounding.
    values = (offset + np.random.default_rng(0).normal(size=(1000, 2))).astype(np.float32)
    expected = StandardScaler().fit_transform(values.astype(np.float64))
    assert fit_apply(step("standardize"), values) == pytest.approx(expected, abs=1e-4)


def test_standardize_does_not_depend_on_the_blocks_beyond_rounding() -> None:
    values = np.random.default_rng(0).normal(size=(101, 4)).astype(np.float32)
    states = [step("standardize").fit(blocks_of(values, num_blocks)) for num_blocks in (1, 3, 101)]
    for state in states[1:]:
        assert state["mean"] == pytest.approx(states[0]["mean"], rel=1e-12, abs=1e-15)
        assert state["scale"] == pytest.approx(states[0]["scale"], rel=1e-12)


# truncated_svd


@pytest.mark.parametrize("rank", [1, 5, 12])
def test_truncated_svd_matches_scikit_learn_up_to_signs(rank: int) -> None:
    generator = np.random.default_rng(2)
    values = (generator.normal(size=(90, 12)) * 0.7 ** np.arange(12) + 0.3).astype(np.float32)
    expected = TruncatedSVD(rank, algorithm="arpack" if rank < 12 else "randomized", random_state=0).fit_transform(
        values.astype(np.float64)
    )
    found = fit_apply(step("truncated_svd", rank=rank, tolerance=1e-12), values)
    signs = np.sign((found * expected).sum(axis=0))
    assert found * signs == pytest.approx(expected, abs=1e-4)


def test_truncated_svd_that_does_not_converge_says_so() -> None:
    values = np.random.default_rng(0).normal(size=(300, 200)).astype(np.float32)
    with pytest.raises(StageError, match=r"truncated_svd: residual .* after max_iterations = 2, above tolerance"):
        step("truncated_svd", rank=3, tolerance=1e-12, max_iterations=2).fit(blocks_of(values, 2))


def test_truncated_svd_refuses_a_rank_above_the_data() -> None:
    from headrace.datasets.base import DataInfo

    info = DataInfo(tasks=("density",), num_samples=50, shape=(4, 5), dims=("height", "width"))
    assert step("truncated_svd", rank=20).describe(info, 40).shape == (20,)
    with pytest.raises(ValueError, match=r"rank: 21 is above .* allowed: 1 to 20"):
        step("truncated_svd", rank=21).describe(info, 40)
    with pytest.raises(ValueError, match=r"rank: 11 is above .* allowed: 1 to 10"):
        step("truncated_svd", rank=11).describe(info, 10)


# Chains on stores


def write_store(path: Path, inputs: np.ndarray, sizes: dict[str, int]) -> dict[str, str]:
    layout = stores.choose_layout(len(inputs), inputs[0].nbytes)
    variables = {"inputs": stores.Variable(("feature",), inputs.shape[1:], str(inputs.dtype))}
    stores.create(path, variables, layout, sizes, {})
    digests: dict[str, str] = {}
    for shard in range(layout.num_shards):
        digests |= stores.write_shard(path, shard, {"inputs": inputs[layout.rows(shard)]})
    stores.finish(path)
    return digests


def fit_chain(path: Path, inputs: np.ndarray) -> preprocess.Chain:
    digests = write_store(path, inputs, {"train": 60, "validation": 20, "test": 20})
    steps = [{"kind": "standardize"}, {"kind": "truncated_svd", "rank": 3}]
    return preprocess.fit(SimpleNamespace(spec={"steps": steps}), path, digests, None)  # type: ignore[arg-type]


def test_only_the_training_split_is_learned_from(tmp_path: Path) -> None:
    inputs = np.random.default_rng(0).normal(size=(100, 6)).astype(np.float32)
    others = inputs.copy()
    others[60:] = 1e6 * np.random.default_rng(1).normal(size=(40, 6))
    chains = [fit_chain(tmp_path / f"{i}.zarr", values) for i, values in enumerate((inputs, others))]
    for (_, one), (_, other) in zip(*chains, strict=True):
        assert {name: values.tobytes() for name, values in one.items()} == {
            name: values.tobytes() for name, values in other.items()
        }


def test_a_step_is_fitted_on_what_the_steps_before_it_leave(tmp_path: Path) -> None:
    inputs = (5 + 3 * np.random.default_rng(0).normal(size=(100, 6))).astype(np.float32)
    (_, _), (_, state) = fit_chain(tmp_path / "data.zarr", inputs)
    scaled = StandardScaler().fit_transform(inputs[:60].astype(np.float64))
    assert state["values"] == pytest.approx(np.linalg.svd(scaled, compute_uv=False)[:3], rel=1e-5)


@pytest.mark.parametrize("rows", [slice(0, 60), slice(60, 80), slice(80, 100), slice(0, 100), slice(59, 61)])
def test_blocks_are_cut_at_the_borders_of_the_shards(tmp_path: Path, rows: slice) -> None:
    write_store(tmp_path / "data.zarr", np.zeros((100, 2), np.float32), {"train": 100})
    size = stores.read_attributes(tmp_path / "data.zarr")["layout"]["rows_per_shard"]
    parts = preprocess.blocks_of(tmp_path / "data.zarr", rows)
    assert [row for part in parts for row in range(part.start, part.stop)] == list(range(rows.start, rows.stop))
    assert all(part.start // size == (part.stop - 1) // size for part in parts)
