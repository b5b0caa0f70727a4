"""Amdahl's and Gustafson's laws against published figures and SciPy's least squares."""

import math

import numpy as np
import pytest
import scipy.optimize
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.scaling.laws import Law, fit_law

times = st.dictionaries(st.integers(1, 512), st.lists(st.floats(1e-3, 1e4), min_size=1, max_size=4), min_size=2)


def test_speed_ups_are_the_published_ones():
    # Gustafson 1988: a serial share of 0.4 to 0.8 % on 1,024 processors scales to about 1,016 to 1,021;
    # Amdahl's law says of the same shares that the limit is 250 and 125.
    for share, scaled in ((0.004, 1020), (0.008, 1016)):
        law = Law(share, 1 - share)
        assert round(law.scaled_speed_up(1024)) == scaled
        assert law.limit == pytest.approx(1 / share)
    # Amdahl's law with a tenth serial, as textbooks print it.
    assert [round(Law(0.1, 0.9).speed_up(workers), 2) for workers in (2, 4, 8, 16)] == [1.82, 3.08, 4.71, 6.4]


@given(st.floats(0, 10), st.floats(0, 10), st.lists(st.integers(1, 256), min_size=2, max_size=6, unique=True))
@settings(max_examples=100, deadline=None)
def test_times_that_follow_a_law_give_that_law(serial, parallel, workers):
    if serial + parallel < 1e-3:
        return
    law = Law(serial, parallel)
    found = fit_law({count: [law.seconds(count)] for count in workers})
    for count in workers:
        assert found.seconds(count) == pytest.approx(law.seconds(count), rel=1e-6, abs=1e-9)


@given(times)
@settings(max_examples=100, deadline=None)
def test_the_fit_is_that_of_non_negative_least_squares(seconds):
    law = fit_law(seconds)
    medians = {workers: float(np.median(values)) for workers, values in seconds.items()}
    rows = np.array([[1 / value, 1 / (workers * value)] for workers, value in medians.items()])
    residual = math.sqrt(2 * scipy.optimize.lsq_linear(rows, np.ones(len(rows)), (0, np.inf), tol=1e-14).cost)
    ours = np.linalg.norm(rows @ [law.serial_s, law.parallel_s] - 1)
    assert law.serial_s >= 0
    assert law.parallel_s >= 0
    assert ours <= residual * (1 + 1e-6) + 1e-6


@given(st.floats(0.001, 0.999))
@settings(max_examples=100, deadline=None)
def test_the_last_worthwhile_number_of_workers_is_the_last(share):
    law = Law(share, 1 - share)
    last = law.last_worthwhile
    assert law.speed_up(last) / last >= 0.7 - 1e-9
    assert law.speed_up(last + 1) / (last + 1) < 0.7


def test_without_a_serial_part_there_is_no_limit():
    law = fit_law({1: [8.0], 2: [4.0], 4: [2.0]})
    assert law.serial_s == pytest.approx(0, abs=1e-12)
    assert fit_law({1: [8.0], 2: [3.0]}).limit == math.inf
    assert fit_law({1: [8.0], 2: [3.0]}).last_worthwhile == math.inf


def test_more_workers_that_take_longer_are_all_serial():
    law = fit_law({1: [4.0], 2: [5.0]})
    assert law.parallel_s == 0
    assert law.limit == 1
    assert law.last_worthwhile == 1


@pytest.mark.parametrize(
    "seconds", [{}, {2: [1.0]}, {0: [1.0], 1: [1.0]}, {1: [0.0], 2: [1.0]}, {1: [math.nan], 2: [1]}]
)
def test_what_gives_no_law_is_refused(seconds):
    with pytest.raises(ValueError, match="two numbers of workers"):
        fit_law(seconds)
