"""The bootstrap and the summaries over seeds, against SciPy and textbook formulas."""

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.judging.statistics import (
    interval_around,
    paired_intervals,
    percentile_interval,
    resample_weight_blocks,
    resample_weights,
    summarise,
)

finite = st.floats(-1e6, 1e6, allow_subnormal=False)


@given(st.integers(1, 60), st.integers(0, 20), st.integers(0, 2**32))
@settings(max_examples=50, deadline=None)
def test_weights_are_counts_of_draws_with_replacement(num_samples: int, num_resamples: int, seed: int) -> None:
    weights = resample_weights(num_samples, num_resamples, seed)
    assert weights.shape == (num_resamples, num_samples)
    assert weights.dtype == np.float64
    assert (weights >= 0).all()
    assert (weights == np.round(weights)).all()
    assert (weights.sum(axis=1) == num_samples).all()


@given(st.integers(1, 60), st.integers(1, 20), st.floats(1e-6, 0.01))
@settings(max_examples=50, deadline=None)
def test_blocks_do_not_change_the_resamples(num_samples: int, num_resamples: int, block_mib: float) -> None:
    blocks = list(resample_weight_blocks(num_samples, num_resamples, 3, block_mib=block_mib))
    assert all(len(block) == 1 or block.nbytes <= block_mib * 2**20 for block in blocks)
    np.testing.assert_array_equal(np.concatenate(blocks), resample_weights(num_samples, num_resamples, 3))


def test_blocks_come_one_at_a_time() -> None:
    blocks = resample_weight_blocks(1_000_000, 10**9, 0, block_mib=16)
    assert next(blocks).shape == (2, 1_000_000)


def test_weights_follow_the_seed_and_not_the_number_of_resamples() -> None:
    weights = resample_weights(30, 20, 7)
    np.testing.assert_array_equal(weights, resample_weights(30, 20, 7))
    np.testing.assert_array_equal(weights[:5], resample_weights(30, 5, 7))
    assert (weights != resample_weights(30, 20, 8)).any()
    assert (weights[0] != weights[1]).any()


def test_weights_have_the_moments_of_a_multinomial() -> None:
    num_samples, num_resamples = 50, 20_000
    weights = resample_weights(num_samples, num_resamples, 0)
    expected = scipy.stats.multinomial(num_samples, np.full(num_samples, 1 / num_samples)).cov()
    # The standard error of a variance of about 1 over 20,000 resamples is 0.012: five of them are allowed.
    np.testing.assert_allclose(np.cov(weights, rowvar=False), expected, atol=0.06)
    np.testing.assert_allclose(weights.mean(axis=0), 1, atol=5 / math.sqrt(num_resamples))
    assert (weights == 0).mean() == pytest.approx((1 - 1 / num_samples) ** num_samples, abs=0.002)


@pytest.mark.parametrize(("num_samples", "num_resamples"), [(0, 1), (-1, 1), (1, -1)])
def test_impossible_resamples_are_refused(num_samples: int, num_resamples: int) -> None:
    with pytest.raises(ValueError, match="cannot draw"):
        resample_weights(num_samples, num_resamples, 0)


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.99])
def test_interval_equals_scipy_on_the_same_resamples(confidence: float) -> None:
    sample = np.random.default_rng(0).gamma(2, size=80)
    reference = scipy.stats.bootstrap(
        (sample,), np.mean, n_resamples=999, confidence_level=confidence, method="percentile", rng=1
    )
    interval = percentile_interval(reference.bootstrap_distribution, confidence)
    assert interval == pytest.approx(tuple(reference.confidence_interval), rel=1e-14)


def test_interval_agrees_with_scipy_on_its_own_resamples() -> None:
    sample = np.random.default_rng(0).gamma(2, size=80)
    means = resample_weights(80, 20_000, 0) @ sample / 80
    reference = scipy.stats.bootstrap((sample,), np.mean, n_resamples=20_000, method="percentile", rng=1)
    # Both are Monte Carlo estimates of the same two quantiles. At the 2.5 % point of a normal density each errs by
    # sqrt(0.025 * 0.975 / 20,000) / 0.058 = 0.019 standard errors, their difference by 0.027: five of them are allowed.
    tolerance = 0.13 * float(reference.standard_error)
    assert percentile_interval(means) == pytest.approx(tuple(reference.confidence_interval), abs=tolerance)


def test_few_undefined_resamples_are_left_out_of_the_interval() -> None:
    values = np.arange(95.0)
    undefined = np.full(5, np.nan)
    assert percentile_interval(np.concatenate([undefined, values])) == percentile_interval(values)


def test_many_undefined_resamples_leave_no_interval() -> None:
    for values in (np.concatenate([np.full(6, np.nan), np.arange(94.0)]), np.full(10, np.nan), np.empty(0)):
        assert all(map(math.isnan, percentile_interval(values)))


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95.0, math.nan])
def test_impossible_confidence_is_refused(confidence: float) -> None:
    with pytest.raises(ValueError, match="confidence"):
        percentile_interval([1.0, 2.0], confidence)


@given(st.lists(finite, min_size=2, max_size=20))
@settings(max_examples=100, deadline=None)
def test_summary_equals_scipy(values: list[float]) -> None:
    summary = summarise(values)
    mean, error = np.mean(values), scipy.stats.sem(values)
    quantile = scipy.stats.t(len(values) - 1).ppf(0.975)
    # The references subtract a mean that is rounded at the scale of the largest value.
    tolerance = {"rel": 1e-9, "abs": 1e-12 * max(map(abs, values))}
    assert summary.count == len(values)
    assert summary.mean == pytest.approx(mean, **tolerance)
    assert summary.standard_deviation == pytest.approx(np.std(values, ddof=1), **tolerance)
    assert summary.standard_error == pytest.approx(error, **tolerance)
    assert (summary.low, summary.high) == pytest.approx(
        (mean - quantile * error, mean + quantile * error), rel=1e-9, abs=1e-10 * max(map(abs, values))
    )


def test_summary_of_three_seeds_by_hand() -> None:
    summary = summarise([0.90, 0.92, 0.94])
    assert summary.mean == pytest.approx(0.92)
    assert summary.standard_deviation == pytest.approx(0.02)
    # 4.3027 is the 97.5 % point of Student's t with 2 degrees of freedom in any printed table.
    assert summary.high - summary.mean == pytest.approx(4.3027 * 0.02 / math.sqrt(3), rel=1e-4)


@given(st.permutations([0.1, 0.7, 1e16, -1e16, 3.3]))
def test_summary_does_not_depend_on_the_order_of_seeds(values: list[float]) -> None:
    assert summarise(values) == summarise(sorted(values))


@pytest.mark.parametrize("values", [[], [0.5], [0.5, math.nan], [math.inf, -math.inf, 1.0]])
def test_summary_without_spread_is_nan(values: list[float]) -> None:
    summary = summarise(values)
    assert summary.count == len(values)
    assert summary.mean == 0.5 if len(values) == 1 else math.isnan(summary.mean)
    spread = (summary.standard_deviation, summary.standard_error, summary.low, summary.high)
    assert all(map(math.isnan, spread))


def test_summary_of_equal_values_has_no_width() -> None:
    summary = summarise([0.25] * 4)
    assert (summary.mean, summary.standard_deviation, summary.low, summary.high) == (0.25, 0.0, 0.25, 0.25)


@given(st.lists(finite, min_size=1, max_size=50), finite)
def test_an_interval_around_a_value_holds_it(values: list[float], value: float) -> None:
    low, high = interval_around(value, values)
    expected = percentile_interval(values)
    assert (low, high) == (min(expected[0], value), max(expected[1], value))
    basic = interval_around(value, values, bounds=(-math.inf, math.inf))
    assert basic[0] <= value <= basic[1]


def test_a_basic_interval_is_that_of_scipy_within_its_bounds() -> None:
    sample = np.random.default_rng(0).exponential(size=40)
    values = resample_weights(40, 3000, 0) @ sample / 40
    expected = scipy.stats.bootstrap(
        (sample,), np.mean, n_resamples=3000, method="basic", random_state=np.random.default_rng(1)
    ).confidence_interval
    found = interval_around(float(sample.mean()), values, bounds=(0, math.inf))
    assert found == pytest.approx((expected.low, expected.high), abs=0.04)
    # The mean and both ends of the percentile interval, mirrored.
    low, high = percentile_interval(values)
    assert found == pytest.approx((2 * sample.mean() - high, 2 * sample.mean() - low))
    assert interval_around(float(sample.mean()), values, bounds=(1, 1.1)) == (
        min(1, sample.mean()),
        max(1.1, sample.mean()),
    )


def test_what_is_not_known_has_no_interval() -> None:
    assert np.isnan(interval_around(0.5, [])).all()
    assert np.isnan(interval_around(0.5, [], bounds=(0, 1))).all()
    assert interval_around(math.nan, [1.0, 2.0], 0.5) == percentile_interval([1.0, 2.0], 0.5)


def test_paired_intervals_are_the_percentile_intervals_of_every_row() -> None:
    rows = np.random.default_rng(0).normal(size=(4, 200))
    np.testing.assert_array_equal(paired_intervals(rows, 0.9), [percentile_interval(row, 0.9) for row in rows])
    rows[1, :5], rows[2, :20], rows[3, 0] = math.nan, math.inf, -math.inf
    found = paired_intervals(rows)
    np.testing.assert_array_equal(found[0], percentile_interval(rows[0]))
    np.testing.assert_array_equal(found[1], percentile_interval(rows[1, 5:]))
    assert np.isnan(found[2]).all()
    np.testing.assert_array_equal(found[3], percentile_interval(rows[3, 1:]))
    assert np.isnan(paired_intervals(np.empty((2, 0)))).all()
