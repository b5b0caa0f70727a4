"""Features by their quantiles, against scikit-learn and against exact ranks."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.preprocessing import QuantileTransformer

from headrace.datasets.base import DataInfo
from sample_fits import Sample, dense_sample, fit_apply, step

KINDS = ("normal", "skewed", "few", "zeros", "constant", "rising")


def column(kind: str, num_rows: int, generator: np.random.Generator) -> np.ndarray:
    values = generator.normal(size=num_rows)
    made = {
        "normal": values,
        "skewed": np.exp(3 * values),
        "few": generator.integers(0, 5, num_rows).astype(float),
        "zeros": np.where(generator.uniform(size=num_rows) < 0.8, 0, values),
        "constant": np.full(num_rows, values[0]),
        "rising": np.sort(values),
    }
    return made[kind]


def table(num_rows: int, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return np.column_stack([column(kind, num_rows, generator) for kind in KINDS])


def reference(output: str, quantiles: int, values: np.ndarray) -> QuantileTransformer:
    return QuantileTransformer(n_quantiles=min(quantiles, len(values)), output_distribution=output, subsample=None).fit(
        values.astype(np.float64)
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("output", ["uniform", "normal"])
@pytest.mark.parametrize("quantiles", [2, 17, 100, 1000])
def test_with_few_samples_it_is_the_transformer_of_scikit_learn(output: str, quantiles: int, dtype: type) -> None:
    values = table(300).astype(dtype)
    other = np.concatenate([table(50, 1), [[-99] * 6, [99] * 6]]).astype(dtype)
    sample = Sample(np.concatenate([values, other]), dense_sample(values).info, 300)
    expected = reference(output, quantiles, values).transform(sample.inputs.astype(np.float64))
    found = fit_apply(step("quantile_scale", output=output, quantiles=quantiles), sample)
    assert found.dtype == np.float32
    # With a knot for every sample scikit-learn's percentiles miss tied ones by rounding, and so one half of a gap.
    is_tied = np.array([kind in ("few", "zeros") for kind in KINDS]) & (quantiles >= 300)
    bound = np.where(is_tied, 0.51 / 299, 2e-6)
    if output == "normal":
        expected, found = norm.cdf(expected), norm.cdf(found)
    assert (np.abs(found - expected) <= bound).all()


@given(
    num_rows=st.integers(1, 3000),
    num_blocks=st.integers(1, 40),
    error=st.sampled_from([0.1, 0.03, 0.01]),
    quantiles=st.sampled_from([11, 101, 1000]),
    seed=st.integers(0, 2**32 - 1),
)
@settings(deadline=None, max_examples=30)
def test_shares_are_off_by_no_more_than_the_error_and_a_gap_between_knots(
    num_rows: int, num_blocks: int, error: float, quantiles: int, seed: int
) -> None:
    values = table(num_rows, seed)
    spec = step("quantile_scale", error=error, quantiles=quantiles)
    sample = dense_sample(values)
    state = spec.fit(sample.fit_data(min(num_blocks, num_rows)))
    found = np.asarray(sample.apply(spec, state), np.float64)
    assert found.min() >= 0
    assert found.max() <= 1
    gap = 1 / (max(2, min(quantiles, num_rows)) - 1)
    for i in range(values.shape[1]):
        ordered = np.sort(values[:, i])
        # What is tied takes the ranks from the number of smaller values to the number of those not larger.
        first = np.searchsorted(ordered, values[:, i], "left") / num_rows
        last = np.searchsorted(ordered, values[:, i], "right") / num_rows
        off = np.maximum(np.maximum(first - found[:, i], found[:, i] - last), 0)
        assert off.max() <= error + gap + 1 / num_rows + 1e-6
        assert (np.diff(found[np.argsort(values[:, i], kind="stable"), i]) >= 0).all()


@pytest.mark.parametrize("num_blocks", [1, 6, 64])
@pytest.mark.parametrize("error", [0.02, 0.004])
def test_many_samples_agree_with_scikit_learn_within_the_error(num_blocks: int, error: float) -> None:
    values = table(20_000)
    quantiles = 500
    expected = reference("uniform", quantiles, values).transform(values)
    found = fit_apply(step("quantile_scale", error=error, quantiles=quantiles), dense_sample(values), num_blocks)
    off = np.abs(found - expected).max(axis=0)
    assert (off <= error + 1 / (quantiles - 1)).all()
    # Something was left out, or this would say nothing of the error.
    assert off.max() > 1e-5


def test_ties_take_the_middle_of_their_ranks() -> None:
    values = np.repeat([1.0, 2.0, 3.0, 4.0], [10, 30, 40, 21])[:, None]
    found = fit_apply(step("quantile_scale"), values)[:, 0]
    # Ranks 10 to 39 and 40 to 79 of 0 to 100; the ends are 0 and 1.
    assert found[[0, 15, 50, 100]] == pytest.approx([0, 0.245, 0.595, 1], abs=1e-6)


def test_normal_outputs_are_spread_normally() -> None:
    values = np.exp(np.random.default_rng(0).normal(size=(5000, 1)))
    found = fit_apply(step("quantile_scale", output="normal", error=0.0001, quantiles=5000), values)[:, 0]
    assert np.sort(found)[1:-1] == pytest.approx(norm.ppf(np.arange(1, 4999) / 4999), abs=1e-5)
    assert found.min() == pytest.approx(norm.ppf(1e-7), rel=1e-6)
    assert found.max() == pytest.approx(-norm.ppf(1e-7), rel=1e-6)


@pytest.mark.parametrize(("output", "least"), [("uniform", 0.0), ("normal", norm.ppf(1e-7))])
def test_constant_features_become_the_least_number(output: str, least: float) -> None:
    found = fit_apply(step("quantile_scale", output=output), np.full((20, 2), 7.0))
    assert found == pytest.approx(np.full((20, 2), least), rel=1e-6)


def test_images_keep_their_shape() -> None:
    images = np.random.default_rng(0).uniform(size=(40, 3, 4)).astype(np.float32)
    found = fit_apply(step("quantile_scale"), images)
    assert found.shape == (40, 3, 4)
    flat = fit_apply(step("quantile_scale"), images.reshape(40, 12))
    assert np.array_equal(found.reshape(40, 12), flat)


@pytest.mark.parametrize("output", ["uniform", "normal"])
def test_it_says_whether_the_unit_interval_holds_all(output: str) -> None:
    info = DataInfo(("density",), 50, (4,), ("feature",), unit_interval=True, dtype="float64")
    described = step("quantile_scale", output=output).describe(info, 40)
    assert described.unit_interval == (output == "uniform")
    assert (described.shape, described.dtype) == ((4,), "float32")


@pytest.mark.parametrize("wrong", [{"output": "cauchy"}, {"quantiles": 1}, {"error": 0.0}, {"error": 0.5}])
def test_parameters_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        step("quantile_scale", **wrong)
