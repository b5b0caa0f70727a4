"""Differences between runs over seeds, held to scipy and to a published example."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from headrace.judging.significance import (
    MAX_EXACT_PAIRS,
    correct,
    difference,
    effect_size,
    find_pairs,
    sign_flip_test,
)

NUMBERS = st.lists(st.floats(-100, 100), min_size=2, max_size=12)

# Student 1908, "The Probable Error of a Mean", and R's data set `sleep`: hours of sleep gained by two drugs.
SLEEP = ([0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0], [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4])
# Darwin's maize as Fisher has it in "The Design of Experiments": differences in eighths of an inch.
MAIZE = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]


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


def test_of_students_sleep_all_is_as_published() -> None:
    one, two = map(by_seed, SLEEP)
    found = difference(one, two)
    # R prints for t.test(extra ~ group, paired = TRUE): t = 4.0621, p-value = 0.002833, interval 0.7001 to 2.4599.
    assert found.p_value == pytest.approx(0.002833, abs=5e-7)
    assert (found.low, found.high) == pytest.approx((0.7001142, 2.4598858), abs=5e-8)
    assert effect_size(one, two).value == pytest.approx(4.0621 / math.sqrt(10), rel=1e-4)
    # Nine of ten differences are positive and one is 0: of 1,024 patterns two have that sum and two its opposite.
    assert sign_flip_test(one, two) == 4 / 1024


def test_of_darwins_maize_all_patterns_are_counted_as_by_fisher() -> None:
    # Section 21: 835 patterns have a larger sum than 314 and 28 have the same, of 32,768.
    zeros = by_seed([0.0] * len(MAIZE))
    assert sign_flip_test(zeros, by_seed([value / 8 for value in MAIZE])) == 2 * 863 / 32768


def test_without_pairs_the_effect_is_that_of_hedges() -> None:
    one, two = by_seed(SLEEP[0]), by_seed(SLEEP[1], first=100)
    pooled = math.sqrt((np.var(SLEEP[0], ddof=1) + np.var(SLEEP[1], ddof=1)) / 2)
    found = effect_size(one, two)
    # Hedges' approximation of his correction is good to 0.1 % at 18 degrees of freedom.
    assert found.value == pytest.approx(1.58 / pooled * (1 - 3 / (4 * 18 - 1)), rel=1e-3)
    assert found.value < 1.58 / pooled
    assert (found.name, effect_size(one, by_seed(SLEEP[1])).name) == ("g", "d_z")
    many = np.random.default_rng(0).normal(size=2000)
    assert effect_size(by_seed(list(many[:1000])), by_seed(list(many[1000:] + 1), 5000)).value == pytest.approx(
        1, abs=0.2
    )


@given(st.lists(st.integers(-5, 5), min_size=2, max_size=9))
def test_flipping_signs_is_the_permutation_test_of_scipy(differences: list[int]) -> None:
    # Whole numbers have many patterns with the same sum, and 0.1 times them sums that differ by rounding alone.
    values = [0.1 * each for each in differences]
    expected = stats.permutation_test(
        (np.array(differences),), np.sum, permutation_type="samples", n_resamples=np.inf, alternative="two-sided"
    )
    found = sign_flip_test(by_seed([0.7] * len(values)), by_seed([0.7 + value for value in values]))
    assert found == pytest.approx(expected.pvalue)
    assert found >= 2 / 2 ** len(values)


@given(st.integers(2, 10))
def test_the_smallest_p_of_flipped_signs_follows_from_the_number_of_pairs(count: int) -> None:
    # Also of Wilcoxon's signed ranks, which has the same patterns.
    first, second = [0.0] * count, [1.0 + 0.1 * i for i in range(count)]
    found = sign_flip_test(by_seed(first), by_seed(second))
    assert found == 2 / 2**count
    assert found == pytest.approx(stats.wilcoxon(second, first, method="exact").pvalue)


def test_of_many_pairs_patterns_are_drawn_the_same_every_time() -> None:
    generator = np.random.default_rng(5)
    count = MAX_EXACT_PAIRS + 8
    first, second = generator.normal(0, 1, count), generator.normal(0.5, 1, count)
    found = sign_flip_test(by_seed(list(first)), by_seed(list(second)))
    assert found == sign_flip_test(by_seed(list(first)), by_seed(list(second)))
    # The test is close to Student's for numbers that are normal; five standard errors of the draws are allowed beside.
    expected = stats.ttest_rel(second, first).pvalue
    assert found == pytest.approx(expected, rel=0.1, abs=5 * math.sqrt(expected / 20_000))
    assert sign_flip_test(by_seed([0.0] * count), by_seed([1.0] * count)) == 1 / 20_000


def test_flipping_signs_needs_pairs_of_numbers() -> None:
    for one, two in [({}, {}), ({0: 1.0}, {1: 1.0}), ({0: math.nan}, {0: 1.0}), ({0: 1e200}, {0: 1.0})]:
        assert math.isnan(sign_flip_test(one, two))
        assert math.isnan(effect_size(one, two).value)


@pytest.mark.parametrize("first", [0, 100])
def test_an_effect_needs_a_spread(first: int) -> None:
    assert math.isnan(effect_size(by_seed([0.1] * 3), by_seed([0.3] * 3, first)).value)
    assert math.isnan(effect_size({0: 0.1}, {first: 0.3}).value)


def test_seeds_that_both_have_are_pairs_where_they_are_most() -> None:
    assert find_pairs(range(5), range(4)) == [0, 1, 2, 3]
    assert find_pairs([3, 1, 2], [2, 3, 1]) == [1, 2, 3]
    assert find_pairs([7], [7]) == [7]
    # Half of them, or one alone, says less than all values do.
    assert find_pairs(range(4), range(2, 6)) == []
    assert find_pairs([0, 1], [1]) == []


def test_a_missing_seed_leaves_the_others_in_pairs_in_every_statistic() -> None:
    one, two = map(by_seed, SLEEP)
    fewer = {seed: value for seed, value in two.items() if seed != 4}
    kept = {seed: one[seed] for seed in fewer}
    expected = stats.ttest_rel(list(fewer.values()), list(kept.values()))
    found = difference(one, fewer)
    assert (found.num_pairs, found.p_value) == (9, pytest.approx(expected.pvalue))
    assert found.value == pytest.approx(np.mean(list(fewer.values())) - np.mean(list(kept.values())))
    assert effect_size(one, fewer) == effect_size(kept, fewer)
    assert sign_flip_test(one, fewer) == sign_flip_test(kept, fewer)
