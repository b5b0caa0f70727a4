"""Standardized features, against scikit-learn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.preprocessing import StandardScaler

from sample_fits import dense_sample, fit_apply, step


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
    state = spec.fit(dense_sample(np.ones((10, 1), np.float32)).fit_data(2))
    assert spec.apply(np.array([[3.0]], np.float32), state, slice(10, 11)).tolist() == [[2.0]]


@pytest.mark.parametrize("offset", [1e3, 1e4, 1e5, 1e6])
def test_a_small_spread_on_a_large_offset_matches_scikit_learn(offset: float) -> None:
    # At an offset of 1e6 the spread of 1 is 16 steps of float32: information, and not rounding.
    values = (offset + np.random.default_rng(0).normal(size=(1000, 2))).astype(np.float32)
    expected = StandardScaler().fit_transform(values.astype(np.float64))
    assert fit_apply(step("standardize"), values) == pytest.approx(expected, abs=1e-4)


def test_standardize_does_not_depend_on_the_blocks_beyond_rounding() -> None:
    values = np.random.default_rng(0).normal(size=(101, 4)).astype(np.float32)
    sample = dense_sample(values)
    states = [step("standardize").fit(sample.fit_data(num_blocks)) for num_blocks in (1, 3, 101)]
    for state in states[1:]:
        assert state["mean"] == pytest.approx(states[0]["mean"], rel=1e-12, abs=1e-15)
        assert state["scale"] == pytest.approx(states[0]["scale"], rel=1e-12)
