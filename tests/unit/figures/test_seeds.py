"""The chart of seeds: its labels can be told apart, and its axis leaves the dots room."""

from __future__ import annotations

import dataclasses
import math

import pytest

from headrace.figures.comparisons import Comparison
from headrace.figures.seeds import draw_seeds
from headrace.figures.theme import Spec, assign_colours, draw_svg
from headrace.findings.results import MetricValue
from sample_results import exact_runs, only


def draw(comparison: Comparison) -> Spec:
    spec = draw_seeds(comparison, assign_colours([candidate.name for candidate in comparison.candidates]))
    assert spec is not None
    return spec


def without_intervals(model: str, values: list[float], metric: str = "accuracy"):
    return [
        dataclasses.replace(run, metrics=[MetricValue(metric, "test", value, math.nan, math.nan)])
        for run, value in zip(exact_runs(model, values), values, strict=True)
    ]


def axis_of(spec: Spec) -> tuple[list[float], bool]:
    scale = spec["layer"][0]["encoding"]["x"]["scale"]
    return scale["domain"], scale["nice"]


def test_every_parameter_of_a_setting_has_a_line_of_its_own_and_a_long_name_several():
    name = "a-very-long-name-of-a-model-that-somebody-thought-helpful-01"
    runs = []
    for rate in (0.001, 0.03):
        for dropout in (0.0, 0.5):
            runs += exact_runs(name, [0.9, 0.8], point={"learning_rate": rate, "dropout": dropout})
    spec = draw(only(runs))
    texts = draw_svg(spec)
    for words in ("learning_rate=0.001", "learning_rate=0.03", "dropout=0.0", "dropout=0.5"):
        assert texts.count(f">{words}<") == 2
    keys = spec["layer"][0]["encoding"]["y"]["scale"]["domain"]
    for key in keys:
        _, *lines = key.split("\n")
        assert "".join(lines[:-2]) == name
        assert max(map(len, lines)) <= 26
    # Five lines of 15 pixels each fit into the height of a row.
    assert spec["height"] >= len(keys) * 5 * 15


def test_a_wide_t_interval_is_cut_with_an_arrow_and_leaves_the_dots_most_of_the_axis():
    # Two seeds 0.02 apart: the t interval is 0.91 - 0.127 to 0.91 + 0.127.
    spec = draw(only([*without_intervals("cnn", [0.9, 0.92]), *without_intervals("fnn", [0.9, 0.9])]))
    (low, high), is_nice = axis_of(spec)
    assert (low, high) == pytest.approx((0.89, 0.93))
    assert not is_nice
    cuts = [(row["side"], row["x"]) for row in spec["datasets"]["cuts"]]
    assert cuts == [("low", low), ("high", high)]
    (cnn, _) = spec["datasets"]["bands"]
    assert cnn["x"] < 0.8
    assert draw_svg(spec)


def test_a_t_interval_with_room_is_whole():
    spec = draw(only(exact_runs("cnn", [0.50, 0.51, 0.505])))
    (low, high), is_nice = axis_of(spec)
    (band,) = spec["datasets"]["bands"]
    assert low <= band["x"] < band["high"] <= high
    assert is_nice
    assert spec["datasets"]["cuts"] == []


@pytest.mark.parametrize(
    ("metric", "values", "end", "bound"),
    [("accuracy", [0.96, 1.0], 1, 1.0), ("accuracy", [0.0, 0.02], 0, 0.0)],
)
def test_nothing_is_drawn_where_a_metric_cannot_be(metric, values, end, bound):
    assert axis_of(draw(only(without_intervals("cnn", values, metric))))[0][end] == bound


def test_one_seed_has_a_dot_and_no_mean():
    tables = draw(only(exact_runs("cnn", [0.9])))["datasets"]
    assert [len(tables[name]) for name in ("seeds", "means", "bands")] == [1, 0, 0]
