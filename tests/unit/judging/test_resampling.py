"""Statistics over seeds and their bootstrap intervals, against SciPy, the exact bootstrap and published examples."""

import itertools
import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.judging import resampling
from headrace.judging.resampling import NUM_RESAMPLES, Estimate, draw_runs, estimate, estimate_each, share_interval

finite = st.floats(-1e6, 1e6, allow_subnormal=False)
any_number = finite | st.floats() | st.floats(1e300, 1.7e308)
REFERENCES = {
    "mean": np.mean,
    "median": np.median,
    "iqm": lambda x, axis=None: scipy.stats.trim_mean(x, 0.25, axis=axis),
}


@given(st.lists(finite, min_size=1, max_size=25))
@settings(max_examples=60, deadline=None)
def test_values_are_those_of_numpy_and_scipy(values: list[float]) -> None:
    found = estimate([values])
    for name, reference in REFERENCES.items():
        expected = reference(np.array(values), axis=0)
        assert found[name].value == pytest.approx(expected, rel=1e-9, abs=1e-12 * max(map(abs, values)))


@given(st.lists(st.lists(any_number, max_size=12), max_size=12))
@settings(max_examples=60, deadline=None)
def test_of_many_sets_together_the_same_is_said_as_of_each_alone_to_the_bit(sets: list[list[float]]) -> None:
    assert list(map(repr, estimate_each(sets))) == [repr(estimate([values])) for values in sets]


def test_many_sets_are_the_same_however_they_are_cut_into_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    sets = np.random.default_rng(0).normal(size=(40, 4)).tolist()
    whole = estimate_each(sets)
    monkeypatch.setattr(resampling, "BLOCK_MIB", 0)
    assert estimate_each(sets) == whole


def test_the_interquartile_mean_of_a_published_example() -> None:
    # Wikipedia, "Interquartile mean": twelve values of which the lowest and the highest three are left out.
    values = [5, 8, 4, 38, 8, 6, 9, 7, 7, 3, 1, 6]
    assert estimate([values])["iqm"].value == pytest.approx(6.5)
    # Split into datasets, all values count together as in Agarwal et al. 2021.
    assert estimate([values[:4], values[4:]])["iqm"].value == pytest.approx(6.5)


@pytest.mark.parametrize("name", REFERENCES)
def test_intervals_agree_with_scipy_on_its_own_resamples(name: str) -> None:
    sample = np.random.default_rng(0).gamma(2, size=20)
    reference = scipy.stats.bootstrap(
        (sample,), REFERENCES[name], n_resamples=20_000, method="percentile", vectorized=True, rng=1
    )
    # Of 2,000 resamples a 2.5 % point errs by sqrt(0.025 * 0.975 / 2,000) / 0.058 = 0.06 standard errors where the
    # statistic is about normal: five of them are allowed.
    tolerance = 0.3 * float(reference.standard_error)
    found = estimate([list(sample)])[name]
    assert (found.low, found.high) == pytest.approx(tuple(reference.confidence_interval), abs=tolerance)


@pytest.mark.parametrize("values", [[0.1, 0.5, 0.6], [1.0, 2.0, 4.0, 8.0], [3.0, 1.0, 4.0, 1.0, 5.0]])
def test_resamples_of_few_seeds_are_as_frequent_as_among_all_there_are(values: list[float]) -> None:
    """Of n seeds there are n^n resamples, which can all be looked at."""
    every = np.array(list(itertools.product(values, repeat=len(values)))).mean(axis=1)
    drawn = np.array(values)[draw_runs((len(values),))].mean(axis=1)
    for mean in np.unique(every.round(12)):
        share = np.mean(np.isclose(every, mean))
        error = math.sqrt(share * (1 - share) / NUM_RESAMPLES)
        assert np.mean(np.isclose(drawn, mean)) == pytest.approx(share, abs=5 * error)


def test_strata_are_resampled_each_by_itself() -> None:
    drawn = draw_runs((3, 5, 2))
    assert drawn.shape == (NUM_RESAMPLES, 10)
    for columns, low, high in ((slice(0, 3), 0, 3), (slice(3, 8), 3, 8), (slice(8, 10), 8, 10)):
        assert set(np.unique(drawn[:, columns])) == set(range(low, high))
    # What is drawn of one dataset doesn't depend on the others, and no two share their luck.
    np.testing.assert_array_equal(drawn[:, :3], draw_runs((3,)))
    assert (draw_runs((4, 4))[:, :4] != draw_runs((4, 4))[:, 4:] - 4).any()
    assert (draw_runs((4,), 1) != draw_runs((4,))).any()


def test_a_stratified_interval_holds_no_spread_between_datasets() -> None:
    far_apart = [[0.0, 0.1, 0.2, 0.1], [100.0, 100.1, 100.2, 100.1]]
    stratified, pooled = estimate(far_apart)["mean"], estimate([far_apart[0] + far_apart[1]])["mean"]
    assert stratified.value == pytest.approx(pooled.value)
    assert stratified.high - stratified.low < 0.2
    assert pooled.high - pooled.low > 30


@given(st.permutations([0.1, 0.7, 0.2, 3.3, -0.4]))
@settings(max_examples=10, deadline=None)
def test_the_order_of_the_seeds_changes_no_bit(values: list[float]) -> None:
    assert estimate([values, [1.0, 2.0]]) == estimate([sorted(values), [2.0, 1.0]])


@given(st.lists(st.lists(finite, min_size=1, max_size=6), min_size=1, max_size=3))
@settings(max_examples=60, deadline=None)
def test_an_interval_lies_among_the_values(strata: list[list[float]]) -> None:
    values = list(itertools.chain(*strata))
    slack = 1e-9 * max(1.0, *map(abs, values))
    for found in estimate(strata).values():
        assert math.isnan(found.low) == math.isnan(found.high) == (max(map(len, strata)) == 1)
        assert not found.low < min(values) - slack
        assert not found.high > max(values) + slack
        assert not found.low > found.high


@pytest.mark.parametrize("strata", [[], [[]], [[0.5, 0.4], []], [[0.5, math.nan]], [[math.inf, 0.5]]])
def test_what_is_missing_or_no_number_gives_no_statistic(strata: list[list[float]]) -> None:
    for found in estimate(strata).values():
        assert all(map(math.isnan, (found.value, found.low, found.high)))


def test_equal_values_have_an_interval_without_width_to_the_last_bit() -> None:
    assert set(estimate([[0.1] * 3]).values()) == {Estimate(0.1, 0.1, 0.1)}


def test_numbers_whose_sum_is_beyond_float64_are_summed_up() -> None:
    found = estimate([[1e308, 1.5e308, -1.7e308, 1.6e308]])
    assert found["median"].value == pytest.approx(1.25e308)
    assert all(-1.7e308 <= each.low <= each.high <= 1.6e308 for each in found.values())


def test_the_interval_of_a_share_of_wins_is_that_of_two_resampled_sets() -> None:
    generator = np.random.default_rng(3)
    first, second = generator.normal(0, 1, 12), generator.normal(0.6, 1, 9)

    def share(one, two, axis=-1):
        return np.mean(np.expand_dims(two, -2) > np.expand_dims(one, -1), axis=(-2, -1))

    reference = scipy.stats.bootstrap((first, second), share, n_resamples=10_000, method="percentile", rng=1)
    low, high = share_interval((second[None, :] > first[:, None]).astype(float))
    tolerance = 0.3 * float(reference.standard_error)
    assert (low, high) == pytest.approx(tuple(reference.confidence_interval), abs=tolerance)


@pytest.mark.parametrize("shape", [(1, 4), (4, 1), (1, 1)])
def test_a_share_of_wins_of_a_single_run_has_no_interval(shape: tuple[int, int]) -> None:
    assert all(map(math.isnan, share_interval(np.ones(shape))))
