"""The points of a sweep: which ones, in which order, and always the same."""

import json
import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from headrace.experiments.config import RandomSweep, Sweep
from headrace.experiments.sweeps import draw, expand
from headrace.provenance.manifests import canonical_json

finite = st.floats(allow_nan=False, allow_infinity=False)
DRAWN = {
    "a": {"uniform": (0.0, 1.0)},
    "b": {"log_uniform": (1e-5, 1e-1)},
    "c": {"integer": (1, 1000)},
    "d": {"choice": ("x", "y", "z")},
}


def random_sweep(parameters, samples=20, seed=0):
    return RandomSweep.model_validate({"samples": samples, "seed": seed, "parameters": parameters})


def test_no_sweep_is_one_point_without_parameters():
    assert expand(None) == [{}]


def test_a_grid_walks_its_last_parameter_fastest():
    points = expand(Sweep(grid={"b": (2, 1), "a": ("x", "y", "z")}))
    assert [(point["b"], point["a"]) for point in points] == [
        (2, "x"),
        (2, "y"),
        (2, "z"),
        (1, "x"),
        (1, "y"),
        (1, "z"),
    ]


def test_zip_walks_its_lists_together():
    assert expand(Sweep(zip={"a": (1, 2), "b": (3, 4)})) == [{"a": 1, "b": 3}, {"a": 2, "b": 4}]


def test_grid_zip_and_random_are_multiplied_in_that_order():
    drawn = random_sweep({"d": {"integer": (0, 10**9)}}, samples=2)
    points = expand(Sweep(grid={"a": (1, 2)}, zip={"b": (3, 4), "c": (5, 6)}, random=drawn))
    first, second = (point["d"] for point in draw(drawn))
    assert points == [
        {"a": a, "b": b, "c": c, "d": d} for a in (1, 2) for b, c in ((3, 5), (4, 6)) for d in (first, second)
    ]


def test_a_point_appears_once():
    assert expand(Sweep(zip={"a": (1, 2, 1), "b": ((3,), (4,), (3,))})) == [{"a": 1, "b": (3,)}, {"a": 2, "b": (4,)}]
    points = expand(Sweep(random=random_sweep({"a": {"choice": (1, 2)}}, samples=50)))
    assert sorted(point["a"] for point in points) == [1, 2]


def test_the_same_seed_draws_the_same_points():
    assert draw(random_sweep(DRAWN, seed=4)) == draw(random_sweep(DRAWN, seed=4))


def test_another_seed_draws_others():
    one, two = draw(random_sweep(DRAWN, seed=1)), draw(random_sweep(DRAWN, seed=2))
    for name in DRAWN:
        assert [point[name] for point in one] != [point[name] for point in two]


def test_the_points_of_a_seed_are_these_for_good():
    """A change here moves every random sweep that anyone has run."""
    points = draw(random_sweep({**DRAWN, "e": {"integer": (-5, 5)}}, samples=3))
    assert points == [
        {"a": 0.932799, "b": 4.25064e-05, "c": 418, "d": "z", "e": 0},
        {"a": 0.35245, "b": 0.00584577, "c": 366, "d": "x", "e": 1},
        {"a": 0.00607826, "b": 0.000222214, "c": 707, "d": "z", "e": -4},
    ]


def test_another_parameter_or_more_samples_do_not_move_what_was_drawn():
    alone = draw(random_sweep({"b": DRAWN["b"]}))
    assert [point["b"] for point in draw(random_sweep(DRAWN))] == [point["b"] for point in alone]
    assert [point["b"] for point in draw(random_sweep(dict(reversed(DRAWN.items()))))] == [p["b"] for p in alone]
    assert draw(random_sweep(DRAWN, samples=30))[:20] == draw(random_sweep(DRAWN, samples=20))


@given(finite, finite, st.integers(0, 2**63 - 1))
def test_uniform_keeps_its_bounds(one, two, seed):
    low, high = sorted((one, two))
    assume(low < high and math.isfinite(high - low))
    for point in draw(random_sweep({"a": {"uniform": (low, high)}}, samples=5, seed=seed)):
        assert low <= point["a"] <= high


@given(
    st.floats(min_value=0, exclude_min=True, allow_infinity=False),
    st.floats(min_value=0, exclude_min=True, allow_infinity=False),
    st.integers(0, 2**63 - 1),
)
def test_log_uniform_keeps_its_bounds(one, two, seed):
    low, high = sorted((one, two))
    assume(low < high)
    for point in draw(random_sweep({"a": {"log_uniform": (low, high)}}, samples=5, seed=seed)):
        assert low <= point["a"] <= high


@pytest.mark.parametrize("way", ["uniform", "log_uniform"])
@pytest.mark.parametrize("bounds", [(0.9999991, 0.9999999), (0.12345678, 0.12345679), (1234567.1, 1234567.4)])
def test_narrow_bounds_are_kept_though_numbers_are_rounded(way, bounds):
    for point in draw(random_sweep({"a": {way: bounds}}, samples=50)):
        assert bounds[0] <= point["a"] <= bounds[1]


@given(st.integers(-(10**20), 10**20), st.integers(1, 10**20), st.integers(0, 2**63 - 1))
def test_integers_keep_their_bounds(low, width, seed):
    for point in draw(random_sweep({"a": {"integer": (low, low + width)}}, samples=5, seed=seed)):
        assert low <= point["a"] <= low + width
        assert type(point["a"]) is int


def test_both_ends_of_integers_are_drawn():
    drawn = {point["a"] for point in draw(random_sweep({"a": {"integer": (1, 3)}}, samples=100))}
    assert drawn == {1, 2, 3}


def test_uniform_is_uniform_and_log_uniform_is_so_in_the_logarithm():
    points = draw(random_sweep({"a": {"uniform": (2, 4)}, "b": {"log_uniform": (1e-4, 1)}}, samples=4000))
    assert sum(point["a"] for point in points) / 4000 == pytest.approx(3, abs=0.05)
    assert sum(math.log10(point["b"]) for point in points) / 4000 == pytest.approx(-2, abs=0.1)


def test_a_drawn_number_can_be_typed_again():
    for point in draw(random_sweep(DRAWN, samples=200)):
        assert json.loads(canonical_json(point)) == point
        assert float(f"{point['a']:.6g}") == point["a"]
        assert float(f"{point['b']:.6g}") == point["b"]


@given(st.dictionaries(st.sampled_from("abcd"), st.lists(st.integers(0, 9), min_size=1, max_size=4, unique=True)))
def test_a_grid_has_every_combination_once(lists):
    assume(lists)
    points = expand(Sweep.model_validate({"grid": {name: tuple(values) for name, values in lists.items()}}))
    assert len(points) == math.prod(len(values) for values in lists.values())
    assert len({canonical_json(point) for point in points}) == len(points)
    assert all(point[name] in values for point in points for name, values in lists.items())
