"""Differences between runs over seeds, held to scipy and to a published example."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from headrace.significance import correct, difference

NUMBERS = st.lists(st.floats(-100, 100), min_size=2, max_size=12)


def by_seed(values: list[float], first: int = 0) -> dict[int, float]:
    return {first + i: value for i, value in enumerate(values)}


@given(NUMBERS, st.integers(0, 2**32))
def test_the_same_seeds_are_compared_in_pairs(values: list[float], seed: int) -> None:
    noise = np.random.default_rng(seed).normal(1, 2, len(values))
    others = [value + change for value, change in zip(values, noise, strict=True)]
    found = difference(by_seed(values), by_seed(others))
    expected = stats.ttest_rel(others, values)
    interval = expected.confidence_interval(0.95)
    assert found.is_paired
    assert found.value == pytest.approx(np.mean(others) - np.mean(values), abs=1e-9)
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-6, abs=1e-12)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), rel=1e-6, abs=1e-9)


@given(NUMBERS, NUMBERS)
def test_other_seeds_are_compared_by_welch(one: list[float], two: list[float]) -> None:
    found = difference(by_seed(one), by_seed(two, first=100))
    assert not found.is_paired
    if min(np.ptp(one), np.ptp(two)) < 1e-3:
        return
    expected = stats.ttest_ind(two, one, equal_var=False)
    interval = expected.confidence_interval(0.95)
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-6, abs=1e-12)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize(
    ("one", "two", "value"),
    [
        ({0: 1.0}, {0: 2.5}, 1.5),
        ({0: 1.0}, {7: 2.5}, 1.5),
        ({0: 1.0, 1: 2.0}, {5: 2.5}, 1.0),
        # A model without chance in it: the same for every seed.
        ({0: 0.1, 1: 0.1, 2: 0.1}, {0: 0.3, 1: 0.3, 2: 0.3}, 0.2),
        ({0: 0.1, 1: 0.1}, {2: 0.3, 3: 0.3}, 0.2),
    ],
)
def test_without_a_spread_there_is_a_difference_and_nothing_to_judge_it_by(one, two, value) -> None:
    found = difference(one, two)
    assert found.value == pytest.approx(value)
    assert math.isnan(found.p_value)
    assert math.isnan(found.low)


@pytest.mark.parametrize(("one", "two"), [({}, {0: 1.0}), ({0: math.nan, 1: 1.0}, {0: 1.0, 1: 2.0})])
def test_what_is_missing_or_no_number_gives_no_difference(one, two) -> None:
    assert math.isnan(difference(one, two).value)


def test_correction_is_that_of_holm() -> None:
    # Adjusted by hand after Holm 1979: 4 x .005, 3 x .01, 2 x .03, and never less than the one before.
    assert correct([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert correct([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    found = correct([math.nan, 0.02])
    assert math.isnan(found[0])
    assert found[1] == 0.02
    assert correct([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_corrected_values_keep_their_order_and_are_never_smaller(values: list[float]) -> None:
    found = correct(values)
    assert all(value <= other <= 1 for value, other in zip(values, found, strict=True))
    order = np.argsort(values, kind="stable")
    assert np.all(np.diff(np.array(found)[order]) >= 0)
