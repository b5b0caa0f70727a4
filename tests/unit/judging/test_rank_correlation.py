"""Rank correlations against scipy's."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata, spearmanr

from headrace.judging.rank_correlation import correlate_ranks, rank

# Few of them, so that many are equal.
values = st.integers(-4, 4).map(float)


@given(st.lists(values, min_size=1, max_size=30))
def test_ranks_are_those_of_scipy(numbers):
    assert np.array_equal(rank(np.array(numbers)), rankdata(numbers))


@given(st.lists(st.tuples(values, values), min_size=2, max_size=30))
def test_the_correlation_is_that_of_scipy_ties_included(pairs):
    one, other = map(list, zip(*pairs, strict=True))
    found = correlate_ranks(one, other)
    if len(set(one)) == 1 or len(set(other)) == 1:
        assert math.isnan(found)
    else:
        assert found == pytest.approx(spearmanr(one, other).statistic, abs=1e-12)


def test_a_map_beside_itself_gives_exactly_one_whatever_its_shape_and_scale():
    map_ = np.random.default_rng(0).normal(size=(28, 28)) * 1e-30
    assert correlate_ranks(map_, map_) == 1.0
    assert correlate_ranks(map_, np.exp(1e30 * map_)) == 1.0
    assert correlate_ranks(map_, -map_) == -1.0


@pytest.mark.parametrize("broken", [[1.0], [], [1.0, math.nan], [math.inf, 0.0], [2.0, 2.0]])
def test_what_has_no_order_has_no_correlation(broken):
    assert math.isnan(correlate_ranks(broken, np.arange(len(broken))))
