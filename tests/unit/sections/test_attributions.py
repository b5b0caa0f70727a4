"""Attributions as the report shows them: what is drawn, what is said of the check, and that names stay text."""

from __future__ import annotations

import base64
import dataclasses
import functools
import html
import json
import math
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.stats import spearmanr

from headrace.figures.attributions import NO, SIGNS, UNKNOWN, YES, check_methods
from headrace.figures.comparisons import compare
from headrace.figures.files import tabulate
from headrace.figures.theme import draw_svg
from headrace.findings.results import Results
from headrace.reporting.report import Report, compose, render
from headrace.sections import attributions as section
from headrace.sections.base import Page
from sample_explanations import (
    METHODS,
    checks_of,
    explain_features,
    explain_images,
    explain_series,
    explained_quickstart,
    explained_series,
    explained_tables,
    explained_with,
    hostile_explanations,
    make_explanation,
)
from sample_results import HOSTILE, many_runs, quickstart

composed = functools.cache(lambda make: compose(Page(make())))


def compose_once(results: Results | Callable[[], Results]) -> Report:
    """Of a sample that several tests look at, once."""
    return composed(results) if callable(results) else compose(Page(results))


def part_of(results: Results | Callable[[], Results]) -> str:
    page = compose_once(results).page
    part = page[page.index('<section aria-labelledby="attributions">') :]
    return part[: part.index("</section>")]


def text_of(results: Results | Callable[[], Results]) -> str:
    words = re.sub(r"<script.*?</script>", " ", part_of(results), flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", words)).split())


def charts_of(results: Results | Callable[[], Results]) -> dict[tuple[str, ...], dict[str, Any]]:
    return {figure.parts: figure.spec for figure in compose_once(results).figures if figure.section == "attributions"}


def explained_by(explanation, model: str = "cnn") -> Results:
    """A quickstart of which one run alone was explained."""
    runs = [run for run in quickstart().runs if run.model == model][:1]
    return explained_with(quickstart(), [dataclasses.replace(run, explanation=explanation) for run in runs])


def verdicts(explanation) -> list[str]:
    (comparison,) = compare(explained_by(explanation))
    return [method.verdict for method in check_methods(comparison.best["cnn"])]


def check_alike(signed: float, sizes: float, start: float = 0.0):
    return make_explanation(
        checks=checks_of({(method, "start"): (start, 0.0) for method in METHODS})
        + checks_of({(method, "random"): (signed, sizes) for method in METHODS})
    )


# The check


@pytest.mark.parametrize(
    ("explanation", "verdict"),
    [
        (check_alike(0.1, 0.3), YES),
        (check_alike(-0.9, 0.3), YES),
        (check_alike(0.1, 0.7), SIGNS),
        (check_alike(0.1, 0.496), SIGNS),
        (check_alike(0.494, 0.494), YES),
        (check_alike(0.496, 0.1), NO),
        (check_alike(0.0, 0.0, start=0.99), NO),
        (check_alike(math.nan, math.nan, start=math.nan), UNKNOWN),
        (check_alike(math.nan, math.nan, start=0.9), NO),
    ],
)
def test_the_weights_with_which_maps_are_most_alike_decide(explanation, verdict):
    """By two decimals, which is what a reader sees."""
    assert verdicts(explanation) == [verdict, verdict]


def test_each_verdict_has_its_sentence_with_its_numbers():
    text = text_of(explained_quickstart)
    for words in (
        "Integrated gradients and occlusion pass the check: the attributions depend on what was learnt. With the "
        "weights that training began with they come in another order, by rank correlations of 0.12 and 0.12, and so do "
        "their sizes alone, by 0.30 and 0.30: all below 0.5.",
        "pass the check by the signs alone.",
        "Integrated gradients and occlusion fail the check: with the weights that training began with the attributions "
        "come in much the same order, by rank correlations of 0.97 and 0.80, not below 0.5.",
        "The two methods agree with a rank correlation of 0.81 over the parts hidden.",
        "Integrated gradients miss 0.12 % of the differences that they sum to.",
        "Integrated gradients miss 8.1 % of the differences that they should sum to, more than 5 %: their 64 steps are "
        "too few for this model; raise evaluation.attributions.steps.",
        "below 0.5 it is called low",
    ):
        assert words in text, words
    strong = re.findall(r"<strong>(.*?)</strong>", part_of(explained_quickstart))
    assert [words.split(":")[0] for words in strong] == [
        "Integrated gradients and occlusion fail the check",
        "Integrated gradients miss 8.1 % of the differences that they should sum to, more than 5 %",
    ]


def test_methods_with_different_verdicts_have_sentences_of_their_own():
    checks = checks_of({(METHODS[0], "random"): (0.1, 0.2), (METHODS[1], "random"): (0.6, 0.7)})
    text = text_of(explained_by(make_explanation(checks=checks)))
    assert (
        "Integrated gradients pass the check: the attributions depend on what was learnt. With random weights" in text
    )
    assert "by a rank correlation of 0.10, and so do" in text
    assert "Occlusion fails the check: with random weights" in text


def test_what_has_no_number_is_said_to_have_none():
    nothing = check_alike(math.nan, math.nan, start=math.nan)
    text = text_of(explained_by(dataclasses.replace(nothing, agreement=math.nan, completeness_error=math.nan)))
    assert "cannot be checked: of no sample do attributions differ among its inputs." in text
    assert "nan" not in text
    assert "agree with" not in text


@pytest.mark.parametrize(("number", "words"), [(4, "± 0.58"), (9, "± 0.35"), (10, ""), (1, "")])
def test_of_few_inputs_is_said_what_chance_does(number, words):
    """Against the spread over random orders."""
    text = text_of(explained_by(explain_features(number), "fnn"))
    assert (f"Of {number} inputs, two orders by chance have rank correlations of {words}." in text) == bool(words)
    if words:
        generator = np.random.default_rng(0)
        found = [spearmanr(generator.permutation(number), range(number)).statistic for _ in range(2000)]
        assert np.std(found) == pytest.approx(float(words[2:]), abs=0.02)


def test_every_seed_is_in_the_table_and_the_mean_over_them():
    runs = [run for run in quickstart().runs if run.model == "cnn"]
    runs = [dataclasses.replace(run, explanation=check_alike(0.2, 0.1, start=0.1 * run.seed)) for run in runs]
    text = text_of(explained_with(quickstart(), runs))
    assert "cnn integrated gradients 0.10 ± 0.10 0.00 0.10 0.20 0.20 ± 0.00 0.20 0.20 0.20" in text


# What is drawn


def test_images_stand_above_their_heat_maps_with_their_classes():
    spec = charts_of(explained_quickstart)["digits", "cnn", "samples"]
    strips = spec["datasets"]["strips"]
    assert [row["row"].split("\n")[1] for row in strips] == ["sample", "integrated gradients", "occlusion"]
    pngs = [base64.b64decode(row["url"].removeprefix("data:image/png;base64,")) for row in strips]
    assert all(png.startswith(b"\x89PNG") for png in pngs)
    # All end at the same height; the last one was taken for another.
    assert [row["label"] for row in spec["datasets"]["labels"]] == ["\n0", "\n1", "\n2", "3\n→ 4"]
    assert "From left to right: 0; 1; 2; 3 predicted as 4." in spec["description"]
    assert max(len(row["url"]) for row in strips) < 10_000


def test_long_names_are_broken_and_at_last_cut():
    names = ("concentration", "a rather long name of a class that says everything", *"23456789")
    results = explained_by(explain_images(2))
    datasets = [dataclasses.replace(dataset, class_names=names) for dataset in results.datasets]
    spec = charts_of(dataclasses.replace(results, datasets=datasets))["digits", "cnn", "samples"]
    labels = [row["label"].split("\n") for row in spec["datasets"]["labels"]]
    assert labels[0] == [*[""] * 3, "concentra", "tion"]
    assert labels[1] == ["a rather", "long name", "of a", "class…", "→ 2"]
    assert "a rather long name of a class that says everything predicted as 2" in spec["description"]


def test_features_are_ordered_by_their_mean_and_the_first_fifteen_are_drawn():
    charts = charts_of(explained_tables)
    means = charts["wine", "linear", "features"]["datasets"]["means"]
    assert [row["feature"] for row in means[::2]] == ["radius", "texture", "perimeter", "constructor", "__proto__"] + [
        f"column {i}" for i in range(5, 15)
    ]
    assert {row["method"] for row in means} == {"integrated gradients", "occlusion"}
    shares = charts["wine", "linear", "shares"]["datasets"]["shares"]
    explanation = explain_features()
    found = [row["integrated gradients"] for row in shares if row["sample"] == "11"]
    assert found == pytest.approx(explanation.shares[1, 0, :15].tolist())
    assert {(row["integrated gradients"] > 0, row["sign"]) for row in shares} == {
        (True, "raises what is predicted"),
        (False, "lowers it"),
    }
    regression = charts["diabetes", "linear", "shares"]["datasets"]["shares"]
    assert {(row["true"], row["predicted"]) for row in regression} >= {("25.0", "129"), ("283", "172")}


def test_features_without_names_and_groups_of_features_are_counted():
    grouped = explain_features(3, names=(), edges=np.array([0, 1, 4, 9]), patch_size=5, num_patches=3)
    text = charts_of(explained_by(grouped, "fnn"))["digits", "fnn", "features"]["datasets"]["means"]
    assert [row["feature"] for row in text[::2]] == ["feature 0", "features 1 to 3", "features 4 to 8"]
    named = dataclasses.replace(grouped, names=tuple("abcdefghi"))
    rows = charts_of(explained_by(named, "fnn"))["digits", "fnn", "features"]["datasets"]["means"]
    assert [row["feature"] for row in rows[::2]] == ["a", "b to d", "e to i"]
    assert "occlusion hides up to 5 features at a time (3 groups)" in text_of(explained_by(named, "fnn"))


def test_series_have_a_line_a_method_and_their_features_a_bar_each():
    charts = charts_of(explained_series)
    lines = charts["load", "rnn", "steps"]["datasets"]["lines"]
    assert len(lines) == 4 * 2
    assert lines[0]["step"] == list(range(24))
    assert lines[0]["share"] == pytest.approx(explain_series().shares[0, 0].tolist(), abs=1e-3)
    means = charts["load", "rnn", "features"]["datasets"]["means"]
    assert [(row["feature"], row["mean"]) for row in means] == [("load", 8.0), ("temperature", 3.0)]
    assert "occlusion hides one step at a time (24 of them)" in text_of(explained_series)


def test_broken_numbers_are_drawn_as_gaps():
    features = explain_features(4)
    broken = dataclasses.replace(features, shares=features.shares * np.nan, means=features.means * np.nan)
    series = explain_series(targets=np.arange(4), outputs=np.arange(4))
    for explanation in (broken, dataclasses.replace(series, shares=series.shares * np.nan)):
        charts = charts_of(explained_by(explanation, "fnn"))
        texts = [json.dumps(spec["datasets"], allow_nan=False) for spec in charts.values()]
        assert any("null" in text for text in texts)


@pytest.mark.parametrize("make", [explained_quickstart, explained_tables, explained_series, hostile_explanations])
def test_charts_become_drawings_and_tables_without_pictures(make):
    for parts, spec in charts_of(make).items():
        drawn = draw_svg(spec)
        root = ElementTree.fromstring(drawn)
        tags = {element.tag.rpartition("}")[2] for element in root.iter()}
        assert not tags & {"script", "a", "foreignObject"}
        assert not [name for element in root.iter() for name in element.attrib if name.startswith("on")]
        assert ("image" in tags) == (parts[2] == "samples")
        assert len(drawn) < 150_000
        assert "data:image" not in tabulate(spec)
        assert "var(--" not in drawn


def test_hostile_names_stay_text():
    part = part_of(hostile_explanations)
    assert "<img" not in part
    assert len(re.findall("<script", part)) == part.count('type="application/json"') == 3
    assert text_of(hostile_explanations).count(" ".join(HOSTILE.split())) > 8
    specs = charts_of(hostile_explanations)
    features = {row["feature"] for spec in specs.values() for row in spec["datasets"].get("means", ())}
    assert features == {HOSTILE}
    assert any(row["true"] == HOSTILE for spec in specs.values() for row in spec["datasets"].get("cells", ()))


# What is shown, and what is not


def test_nothing_is_said_where_nobody_asked():
    assert section.describe(Page(quickstart())) is None
    assert 'aria-labelledby="attributions"' not in render(quickstart())


def test_what_cannot_be_explained_is_said_in_a_line():
    assert "Left out: vae on digits (was trained for density)." in text_of(explained_quickstart)
    runs = [dataclasses.replace(run, unexplained="reads codes") for run in quickstart().runs if run.model == "rnn"]
    text = text_of(explained_with(quickstart(), runs))
    assert text == (
        "Attributions Attributions are shown for models of dense measurements that predict classes or one number. Left "
        "out: rnn on digits (reads codes)."
    )


def test_of_models_the_best_run_is_shown_and_of_many_the_best_models():
    text = text_of(explained_quickstart)
    runs = {run.id: run for run in quickstart().runs}
    shown = [name for name in runs if name in text]
    assert len(shown) == 3
    for name in shown:
        values = {
            run.id: value.value
            for run in runs.values()
            for value in run.metrics
            if (run.model, run.point) == (runs[name].model, runs[name].point)
            and (value.metric, value.split) == ("accuracy", "validation")
        }
        assert values[name] == max(values.values())
    results = explained_quickstart()
    one = next(run for run in results.runs if run.model == "cnn")
    many = [dataclasses.replace(one, model=f"cnn{i}", id=f"cnn{i}") for i in range(section.MAX_PANELS + 3)]
    part = part_of(explained_with(results, many))
    assert part.count('class="chart"') == section.MAX_PANELS
    assert "The best 8 of 11 models are drawn; the table has them all." in part


def test_a_report_of_a_thousand_runs_stays_small():
    """Attributions of every run are there, and those of one are shown."""
    results = many_runs()
    plain = len(render(results))
    explanation = explain_images(12)
    runs = [dataclasses.replace(run, explanation=explanation) for run in results.runs]
    assert len(runs) == 1000
    assert len(render(explained_with(results, runs))) - plain < 60_000
