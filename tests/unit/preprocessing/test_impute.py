"""Missing numbers filled in, against scikit-learn."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.impute import SimpleImputer

from headrace.datasets.base import DataInfo
from headrace.errors import StageError
from sample_fits import dense_sample, fit_apply, step


def with_holes(num_rows: int, share: float, seed: int = 0, num_columns: int = 5) -> np.ndarray:
    """A table of which every column has a value at least."""
    generator = np.random.default_rng(seed)
    values = (generator.normal(size=(num_rows, num_columns)) + 10.0 ** np.arange(num_columns)).round(3)
    values[generator.uniform(size=values.shape) < share] = np.nan
    rows = generator.integers(0, num_rows, num_columns)
    values[rows, np.arange(num_columns)] = np.arange(num_columns)
    return values


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("by", ["mean", "median"])
@given(
    num_rows=st.integers(1, 200),
    num_blocks=st.integers(1, 12),
    share=st.sampled_from([0.0, 0.2, 0.98]),
    indicator=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
@settings(deadline=None, max_examples=20)
def test_what_is_missing_is_filled_as_by_scikit_learn(
    by: str, dtype: type, num_rows: int, num_blocks: int, share: float, indicator: bool, seed: int
) -> None:
    values = with_holes(num_rows, share, seed).astype(dtype)
    expected = SimpleImputer(strategy=by).fit_transform(values.astype(np.float64))
    before = values.copy()
    found = fit_apply(step("impute", by=by, indicator=indicator), values, num_blocks)
    assert found.dtype == np.float32
    assert found.shape == (num_rows, 10 if indicator else 5)
    assert found[:, :5] == pytest.approx(expected, rel=1e-6, abs=1e-9)
    there = ~np.isnan(values)
    assert np.array_equal(found[:, :5][there], values[there].astype(np.float32))
    if indicator:
        assert np.array_equal(found[:, 5:], np.isnan(values).astype(np.float32))
    assert np.array_equal(values, before, equal_nan=True)


def test_the_mean_of_numbers_far_from_zero_keeps_its_digits() -> None:
    values = 1e9 + np.random.default_rng(0).normal(size=(1000, 2))
    values[np.arange(1000) % 7 > 0, 1] = np.nan
    state = step("impute").fit(dense_sample(values).fit_data(9))
    assert state["fill"] == pytest.approx(np.nanmean(values.astype(np.longdouble), axis=0).astype(float), rel=1e-15)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
@pytest.mark.parametrize("error", [0.05, 0.001])
def test_a_median_of_many_is_off_by_no_more_than_the_error(share: float, error: float) -> None:
    values = with_holes(20_000, share, num_columns=3)
    state = step("impute", by="median", error=error).fit(dense_sample(values).fit_data(33))
    for i, fill in enumerate(state["fill"]):
        there = np.sort(values[:, i][~np.isnan(values[:, i])])
        first, last = np.searchsorted(there, fill, "left"), np.searchsorted(there, fill, "right")
        assert first - 1 <= (0.5 + error) * len(there)
        assert last + 1 >= (0.5 - error) * len(there)


def test_a_number_takes_the_place_of_all_that_is_missing() -> None:
    values = np.array([[1, np.nan, np.nan], [np.nan, 2, np.nan]], np.float32)
    found = fit_apply(step("impute", by="constant", value=-1.5), values)
    assert found.tolist() == [[1, -1.5, -1.5], [-1.5, 2, -1.5]]


@pytest.mark.parametrize("by", ["mean", "median"])
def test_a_feature_without_any_value_in_training_is_named(by: str) -> None:
    values = with_holes(30, 0.2)
    values[:20, 3] = np.nan
    sample = dense_sample(values, 20)
    with pytest.raises(StageError, match=r"^impute: feature 3 \(counted from 0\) is missing in every training .*const"):
        step("impute", by=by).fit(sample.fit_data())
    values[:20, 1] = np.nan
    with pytest.raises(StageError, match=r"^impute: feature 1 \(counted from 0\) and 1 others? is missing"):
        step("impute", by=by).fit(sample.fit_data())
    assert np.isfinite(fit_apply(step("impute", by="constant", value=0.0), sample)).all()


def test_of_images_the_last_dimension_is_doubled() -> None:
    images = with_holes(20, 0.3, num_columns=24).reshape(20, 2, 4, 3).astype(np.float32)
    spec = step("impute", indicator=True)
    found = fit_apply(spec, images)
    info = spec.describe(dense_sample(images, has_missing=True).info, 20)
    assert info.shape == found.shape[1:] == (2, 4, 6)
    assert not info.has_missing
    assert np.array_equal(found[..., 3:], np.isnan(images).astype(np.float32))
    assert np.array_equal(found[..., :3], fit_apply(step("impute"), images))


@pytest.mark.parametrize(
    ("keys", "within"),
    [
        ({}, True),
        ({"by": "median", "indicator": True}, True),
        ({"by": "constant", "value": 1.0}, True),
        ({"by": "constant", "value": -1.0}, False),
    ],
)
def test_it_says_whether_the_unit_interval_holds_all(keys: dict[str, Any], within: bool) -> None:
    info = DataInfo(("density",), 50, (4,), ("feature",), unit_interval=True, has_missing=True)
    described = step("impute", **keys).describe(info, 40)
    assert described.unit_interval == within
    assert not described.has_missing


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"by": "constant"}, "value: is needed with by: constant"),
        ({"by": "median", "value": 0.0}, "value: means nothing with by: median; allowed with constant"),
        ({"by": "constant", "value": 1e39}, "value"),
        ({"by": "mode"}, "by"),
        ({"error": 0.7}, "error"),
    ],
)
def test_parameters_that_mean_nothing_are_refused(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        step("impute", **keys)
