"""Charts, comparisons and numbers of the report."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import struct
import xml.etree.ElementTree as ElementTree
import zlib

import altair as alt
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from headrace.figures import charts
from headrace.figures.charts import draw_curves
from headrace.figures.comparisons import HIGHER_IS_BETTER, LOWER_IS_BETTER, compare
from headrace.figures.confusions import draw_confusion, sum_confusions
from headrace.figures.convergence import MAX_PANELS, MAX_POINTS, draw_convergence, find_unconverged, select_drawn
from headrace.figures.images import encode_levels, encode_png, join_images
from headrace.figures.numbers import format_alike, format_bytes, format_mean, format_number, format_seconds
from headrace.figures.seeds import MAX_SEED_ROWS, draw_seeds, select_shown
from headrace.figures.theme import Spec, assign_colours, draw_svg
from headrace.findings.results import Results
from headrace.judging import metrics as judging_metrics
from headrace.judging.metrics import EXTRA, METRICS
from headrace.reporting.report import render
from headrace.sections import confusions
from headrace.sections.base import Page
from sample_results import (
    DIGITS,
    HOSTILE,
    broken_quickstart,
    exact_runs,
    hostile,
    make_results,
    make_run,
    make_trace,
    oddities,
    only,
    quickstart,
    two_datasets,
    unconverged,
)


def draw_all(results: Results) -> list[Spec]:
    """Return every chart of a report."""
    comparisons = compare(results)
    colours = assign_colours([candidate.name for comparison in comparisons for candidate in comparison.candidates])
    specs = []
    for comparison in comparisons:
        specs += [spec for spec in [draw_seeds(comparison, colours)] if spec]
        specs += draw_curves(comparison, colours).values()
        for candidate in comparison.best.values():
            if (counts := sum_confusions(candidate)) is not None:
                specs.append(draw_confusion(counts, DIGITS, candidate.name, comparison.dataset))
    return specs


@pytest.mark.parametrize("make", [broken_quickstart, two_datasets, hostile, oddities])
def test_charts_are_vega_lite(make):
    specs = draw_all(make())
    assert len(specs) == (8 if make in (two_datasets, oddities) else 9)
    for spec in specs:
        alt.Chart.from_dict(spec, validate=True)
        json.dumps(spec, allow_nan=False)
        ElementTree.fromstring(draw_svg(spec))


def test_svg_shows_models_and_nothing_that_needs_a_page():
    comparison = compare(quickstart())[0]
    spec = draw_seeds(comparison, assign_colours([candidate.name for candidate in comparison.candidates]))
    text = draw_svg(spec)
    for word in ("fnn", "learning_rate=0.003", "cnn", "rnn", "accuracy on test (higher is better)"):
        assert word in text
    assert "var(" not in text
    assert "NaN" not in text


def test_every_seed_is_a_dot_and_every_candidate_a_mean():
    results = quickstart()
    comparison = compare(results)[0]
    spec = draw_seeds(comparison, assign_colours([candidate.name for candidate in comparison.candidates]))
    drawn = {(row["run"], row["x"]) for row in spec["datasets"]["seeds"]}
    expected = {
        (run.id, value.value)
        for run in results.runs
        for value in run.metrics
        if (value.metric, value.split) == ("accuracy", "test")
    }
    assert drawn == expected
    means = {row["model"]: row["x"] for row in spec["datasets"]["means"]}
    cnn = [value for run, value in drawn if run.startswith("cnn")]
    assert means["cnn"] == pytest.approx(sum(cnn) / 3)
    assert len(means) == 4


def test_curves_hold_every_epoch_of_every_run_and_mark_the_best():
    results = broken_quickstart()
    comparison = compare(results)[0]
    specs = draw_curves(comparison, assign_colours([candidate.name for candidate in comparison.candidates]))
    assert list(specs) == ["fnn", "cnn", "rnn"]
    run = next(run for run in results.runs if run.model == "cnn" and run.seed == 0)
    lines = [row for row in specs["cnn"]["datasets"]["lines"] if row["run"] == run.id]
    losses = {row["split"]: row["loss"] for row in lines}
    assert losses["train"] == pytest.approx([record["train_loss"] for record in run.curves], rel=1e-5)
    assert losses["validation"] == pytest.approx([record["validation_loss"] for record in run.curves], rel=1e-5)
    (best,) = [row for row in specs["cnn"]["datasets"]["best"] if row["run"] == run.id]
    assert best["epoch"] == run.best_epoch
    failed = [row for row in specs["fnn"]["datasets"]["lines"] if row["status"] == "failed"]
    assert [len(row["loss"]) for row in failed] == [3, 3]


def test_panels_of_one_dataset_share_the_loss_axis():
    comparison = compare(quickstart())[0]
    specs = draw_curves(comparison, assign_colours([candidate.name for candidate in comparison.candidates]))
    domains = {str(spec["layer"][0]["encoding"]["y"]["scale"]["domain"]) for spec in specs.values()}
    assert len(domains) == 1


def test_of_many_models_the_curves_of_the_best_are_drawn():
    runs = [run for place in range(charts.MAX_PANELS + 3) for run in exact_runs(f"m{place}", [place / 100])]
    failed = dataclasses.replace(runs[0], model="broken", id="broken", status="failed", metrics=())
    comparison = only([failed, *runs])
    specs = draw_curves(comparison, assign_colours([candidate.name for candidate in comparison.candidates]))
    assert list(specs) == [f"m{place}" for place in range(3, charts.MAX_PANELS + 3)]
    page = " ".join(render(make_results([failed, *runs], [])).split())
    assert f"The best {charts.MAX_PANELS} of {charts.MAX_PANELS + 4} models are drawn." in page
    # Of a few models all are, those without a result too.
    few = only([failed, *runs[:2]])
    assert list(draw_curves(few, dict.fromkeys(["broken", "m0", "m1"], "#000000"))) == ["broken", "m0", "m1"]


def test_losses_that_are_not_finite_leave_gaps():
    run = make_run("fnn", 0, {"accuracy": 0.9})
    curves = [*run.curves[:4], {"epoch": 5.0, "train_loss": math.nan, "validation_loss": math.inf}]
    comparison = only([dataclasses.replace(run, curves=curves)])
    spec = draw_curves(comparison, {"fnn": "#000000"})["fnn"]
    assert [row["epoch"] for row in spec["datasets"]["lines"]] == [[1, 2, 3, 4], [1, 2, 3, 4]]
    json.dumps(spec, allow_nan=False)


def test_confusions_add_up_over_seeds():
    comparison = compare(quickstart())[0]
    candidate = comparison.best["cnn"]
    counts = sum_confusions(candidate)
    np.testing.assert_array_equal(counts, sum(run.confusion for run in candidate.runs))
    spec = draw_confusion(counts, DIGITS, "cnn", "digits")
    cells = {(row["true class"], row["predicted class"]): row["count"] for row in spec["datasets"]["counts"]}
    assert cells["3", "5"] == counts[3, 5]
    assert sum(cells.values()) == counts.sum()


def test_of_many_models_the_matrices_of_the_best_are_drawn_and_the_page_says_so():
    results = quickstart()
    one = next(run for run in results.runs if run.model == "cnn")
    runs = [dataclasses.replace(one, model=f"cnn{i}", id=f"cnn{i}") for i in range(30)]
    context = confusions.describe(Page(dataclasses.replace(results, runs=runs)))
    (comparison,) = context["comparisons"]
    assert [panel["name"] for panel in comparison["confusions"]] == [f"cnn{i}" for i in range(24)]
    assert "The best 24 of 30 models are drawn." in render(dataclasses.replace(results, runs=runs))


@pytest.mark.parametrize("names", [("a", "a", "b"), ("a", "b"), ()])
def test_classes_never_share_a_row_of_the_confusion_matrix(names):
    spec = draw_confusion(np.eye(3, dtype=int), names, "fnn", "digits")
    assert len({row["true class"] for row in spec["datasets"]["counts"]}) == 3


def test_a_large_sweep_draws_its_best_candidates():
    rates = range(MAX_SEED_ROWS + 20)
    runs = [run for rate in rates for run in exact_runs("fnn", [0.5 + rate / 1000], point={"learning_rate": rate})]
    shown = select_shown(only(runs))
    assert [candidate.setting for candidate in shown] == [f"learning_rate={rate}" for rate in rates[20:]]


def test_a_trace_holds_every_iteration_its_seconds_and_its_bytes():
    fit = unconverged().traces[0]
    spec = draw_convergence(fit)
    (drawn,) = spec["datasets"]["fit"]
    assert drawn["iteration"] == list(range(1, 13))
    assert drawn["value"] == [line["value"] for line in fit.trace]
    assert (drawn["time"][0], drawn["time"][-1]) == ("0.25 s", "3.00 s")
    assert (drawn["moved"][0], drawn["moved"][-1]) == ("1.5 MiB", "18.0 MiB")
    assert spec["datasets"]["tolerance"] == [{"value": 1e-6, "label": "tolerance 1e-06"}]
    tooltips = {tip["field"] for layer in spec["layer"] for tip in _list(layer["encoding"].get("tooltip", []))}
    assert tooltips == {"iteration", "value", "time", "moved", "label"}


def _list(value: object) -> list:
    return value if isinstance(value, list) else [value]


def value_scale(spec: Spec) -> dict:
    """Return the scale of the y axis, which all layers share."""
    scales = [layer["encoding"]["y"]["scale"] for layer in spec["layer"]]
    assert scales == scales[:1] * len(scales)
    return scales[0]


TRACES = {
    "falling": make_trace([0.5, 1e-3, 1e-8]),
    "one iteration": make_trace([1e-7]),
    "exactly zero": make_trace([0.5, 0.0]),
    "all the same": make_trace([0.25] * 3, tolerance=0.25),
    "negative": make_trace([-1234.5, -1200.0], measure="log-likelihood", converged=True, bounds_value=False),
    "an objective": make_trace([1e5, 9e4], measure="objective", converged=True, bounds_value=False),
    "gaps": make_trace([math.inf, 0.5, math.nan, 0.1]),
    "huge and tiny": make_trace([1.7e308, 5e-324]),
    "not a number at the end": make_trace([0.5], value=math.nan, converged=False),
    "hostile": hostile().traces[0],
}


@pytest.mark.parametrize("fit", TRACES.values(), ids=TRACES)
def test_traces_are_vega_lite(fit):
    spec = draw_convergence(fit)
    alt.Chart.from_dict(spec, validate=True)
    json.dumps(spec, allow_nan=False)
    (drawn,) = spec["datasets"]["fit"]
    low, high = value_scale(spec)["domain"]
    assert all(low <= value <= high for value in drawn["value"])
    text = draw_svg(spec)
    ElementTree.fromstring(text)
    assert "NaN" not in text
    assert "Infinity" not in text


@pytest.mark.parametrize(
    ("name", "scale"),
    [
        ("falling", "log"),
        ("one iteration", "log"),
        ("huge and tiny", "log"),
        ("exactly zero", None),
        ("negative", None),
    ],
)
def test_values_are_drawn_on_a_log_scale_where_all_are_positive(name, scale):
    assert value_scale(draw_convergence(TRACES[name])).get("type") == scale


@pytest.mark.parametrize(
    ("name", "is_drawn"),
    [("falling", True), ("exactly zero", True), ("gaps", True), ("an objective", False), ("negative", False)],
)
def test_the_tolerance_is_a_rule_where_it_bounds_the_value(name, is_drawn):
    spec = draw_convergence(TRACES[name])
    low, high = value_scale(spec)["domain"]
    assert ("tolerance" in spec["datasets"]) == is_drawn == any("rule" in str(layer["mark"]) for layer in spec["layer"])
    assert (low <= TRACES[name].tolerance <= high) == is_drawn


def test_values_that_are_not_finite_leave_a_gap():
    (drawn,) = draw_convergence(TRACES["gaps"])["datasets"]["fit"]
    assert (drawn["iteration"], drawn["value"]) == ([2, 4], [0.5, 0.1])
    assert draw_convergence(make_trace([math.nan], converged=False)) is None
    assert draw_convergence(make_trace([])) is None


def test_a_long_trace_keeps_its_ends():
    (drawn,) = draw_convergence(make_trace([1 / i for i in range(1, 5 * MAX_POINTS)]))["datasets"]["fit"]
    assert len(drawn["value"]) == len(drawn["moved"]) == MAX_POINTS
    assert (drawn["iteration"][0], drawn["iteration"][-1]) == (1, 5 * MAX_POINTS - 1)


def test_fits_that_did_not_converge_are_drawn_first_and_in_their_order():
    fits = [make_trace([1e-7], features=str(i)) for i in range(2 * MAX_PANELS)]
    assert [fit.features for fit in select_drawn(fits)] == [str(i) for i in range(MAX_PANELS)]
    fits[-1] = make_trace([0.5], features="last")
    fits[3] = make_trace([])
    shown = [fit.features for fit in select_drawn(fits)]
    assert shown == [*(str(i) for i in range(MAX_PANELS) if i != 3), "last"]


def test_only_what_did_not_converge_is_a_problem():
    assert find_unconverged([make_trace([1e-7])]) == []
    (sentence,) = find_unconverged([make_trace([1e-7]), make_trace([0.5, 0.25])])
    assert sentence.startswith(
        "Step 0-truncated_svd of features topics on digits did not converge: relative residual 0.2500 after 2 of at "
        "most 50 iterations, tolerance 1e-06."
    )


def test_hostile_names_stay_data():
    for spec in [*draw_all(hostile()), draw_convergence(hostile().traces[0])]:
        stripped = {**spec, "datasets": {}, "description": ""}
        encoded = json.dumps(stripped)
        assert '"href"' not in encoded
        assert '"signal"' not in encoded
    assert any(HOSTILE in row["run"] for row in draw_all(hostile())[0]["datasets"]["seeds"])


def test_png_decodes_to_the_same_pixels():
    pixels = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
    png = encode_png(pixels)
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    (length,) = struct.unpack(">I", png[8:12])
    assert struct.unpack(">II", png[16:24]) == (4, 3)
    body = png[8 + 12 + length :]
    (size,) = struct.unpack(">I", body[:4])
    assert struct.unpack(">I", body[8 + size : 12 + size])[0] == zlib.crc32(body[4 : 8 + size])
    rows = np.frombuffer(zlib.decompress(body[8 : 8 + size]), dtype=np.uint8).reshape(3, 5)
    np.testing.assert_array_equal(rows[:, 1:], pixels)


def test_colours_survive_a_reader_of_images():
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    with Image.open(io.BytesIO(encode_png(pixels))) as image:
        assert image.mode == "RGB"
        np.testing.assert_array_equal(np.asarray(image), pixels)


def test_a_heat_map_is_transparent_at_zero_and_symmetric_about_it():
    levels = np.array([[-127, -64, 0, 64, 127]], dtype=np.int8)
    with Image.open(io.BytesIO(encode_levels(levels, ("#ff8000", "#0000ff")))) as image:
        found = np.asarray(image.convert("RGBA"))[0]
    assert found[:, 3].tolist() == [255, 129, 0, 129, 255]
    assert found[[0, 1], :3].tolist() == 2 * [[255, 128, 0]]
    assert found[[3, 4], :3].tolist() == 2 * [[0, 0, 255]]


def test_images_are_clipped_and_joined_with_gaps():
    images = np.array([[[-1.0, 0.5]], [[2.0, np.nan]]])
    np.testing.assert_array_equal(join_images(images, gap=1), [[0, 128, 128, 255, 0]])


@pytest.mark.parametrize(
    ("mean", "deviation", "expected"),
    [
        (0.974123, 0.001234, ("0.9741", "0.0012")),
        (0.9, 0.0123, ("0.900", "0.012")),
        (143.2345, 0.63, ("143.2", "0.6")),
        (0.95, math.nan, ("0.9500", "")),
        (0.95, 0.0, ("0.9500", "0")),
        (0.010991, 0.0000017, ("0.01099", "1.7e-06")),
        (math.nan, math.nan, ("nan", "")),
        (12345678.0, 23456.0, ("1.235e+07", "23456")),
    ],
)
def test_means_show_the_digits_they_are_good_for(mean, deviation, expected):
    assert format_mean(mean, deviation) == expected


@given(st.floats(allow_nan=False, allow_infinity=False, width=32))
def test_a_written_number_is_close_to_the_number(value):
    assert float(format_number(value)) == pytest.approx(value, rel=1e-3)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (None, "–"),
        (math.nan, "–"),
        (0, "0 B"),
        (1023.0, "1023 B"),
        (1024.0, "1.0 KiB"),
        (1.5 * 2**20, "1.5 MiB"),
        (2**40, "1.0 TiB"),
        (5e15, "4547.5 TiB"),
    ],
)
def test_amounts_of_data(count, text):
    assert format_bytes(count) == text


@given(st.floats(-1e6, 1e6), st.floats(1e-9, 1e6))
def test_a_spread_never_reads_as_zero(mean, deviation):
    assert float(format_mean(mean, deviation)[1]) > 0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (0.42, "0.42 s"),
        (14.23, "14.2 s"),
        (245, "4 min 05 s"),
        (7384, "2 h 03 min"),
        (3599.7, "1 h 00 min"),
    ],
)
def test_durations(seconds, text):
    assert format_seconds(seconds) == text


def test_of_a_large_matrix_only_cells_that_hold_something_are_kept():
    counts = np.diag(np.full(60, 5))
    counts[3, 7] = 2
    spec = draw_confusion(counts, [f"class {i}" for i in range(60)], "cnn", "digits")
    assert len(spec["datasets"]["counts"]) == 61
    assert len(spec["layer"][0]["encoding"]["x"]["scale"]["domain"]) == 60
    assert "3\nclass 3" in spec["layer"][0]["encoding"]["y"]["scale"]["domain"]


def test_a_matrix_of_too_many_classes_is_not_drawn_and_the_page_says_so():
    results = quickstart()
    one = next(run for run in results.runs if run.model == "cnn")
    runs = [dataclasses.replace(one, confusion=np.eye(101, dtype=np.int64))]
    page = render(dataclasses.replace(results, runs=runs))
    assert "101 classes are too many for matrices" in page
    context = confusions.describe(Page(dataclasses.replace(results, runs=runs)))
    assert context["figures"] == []


@pytest.mark.parametrize(
    ("value", "shown", "expected"),
    [
        (0.098421, "0.088", "0.098"),
        (144.56, "144.0", "144.6"),
        (-0.08091, "0.8689", "-0.0809"),
        (12.0, "14", "12.00"),
        (0.00044, "0.950", "0.00044"),
        (0.0, "0.950", "0.000"),
        (3.2e-7, "1.200e-06", "3.200e-07"),
        (math.nan, "0.95", "nan"),
        (0.5, "inf", "0.5000"),
    ],
)
def test_numbers_beside_a_mean_have_its_decimals(value, shown, expected):
    assert format_alike(value, shown) == expected


def test_every_metric_has_a_direction():
    names = {name for table in (METRICS, EXTRA) for metrics in table.values() for name in metrics}
    assert names == LOWER_IS_BETTER | HIGHER_IS_BETTER
    assert HIGHER_IS_BETTER == judging_metrics.HIGHER_IS_BETTER
    assert not LOWER_IS_BETTER & HIGHER_IS_BETTER
