"""Reliability diagrams, curves and scores by class, as the report shows them."""

import dataclasses
import json
import math

import numpy as np
import pytest
import sklearn.metrics as sk
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.figures import ranking
from headrace.figures.classes import MAX_CLASSES, score_classes, tabulate_classes
from headrace.figures.comparisons import compare, find_metric
from headrace.figures.numbers import format_mean
from headrace.figures.ranking import MAX_DRAWN, MAX_PANELS, draw_reliability, draw_tradeoffs
from headrace.figures.theme import assign_colours
from headrace.findings.results import MetricValue, Results
from headrace.judging.calibration import measure_reliability
from headrace.judging.metrics import confusion
from headrace.reporting.report import render
from headrace.sections import calibration, classes
from headrace.sections import ranking as tradeoffs
from headrace.sections.base import Page
from sample_results import HOSTILE, exact_runs, make_dataset, make_results, quickstart, ranked


def many(num_models: int, num_seeds: int) -> Results:
    """Return results of many models, each with what a classifier leaves."""
    (of_cnn,) = [run for run in ranked().runs if (run.model, run.seed) == ("cnn", 0)]
    runs = [
        dataclasses.replace(of_cnn, model=f"m{model}", seed=seed, id=f"m{model}-{seed}")
        for model in range(num_models)
        for seed in range(num_seeds)
    ]
    return make_results(runs, [make_dataset("digits", "mnist5k", ("classification",), 5000)])


def test_every_seed_has_a_curve_and_the_legend_tells_the_mean_area() -> None:
    results = ranked()
    (comparison, _) = compare(results)
    colours = assign_colours([candidate.name for candidate in comparison.candidates])
    for way in ("roc", "precision_recall"):
        spec = draw_tradeoffs(comparison, colours, way)
        assert spec is not None
        rows = spec["datasets"]["curves"]
        assert len({row["run"] for row in rows}) == len(rows) == 9
        cnn = [getattr(run, way).area for run in results.runs if run.model == "cnn"]
        assert rows[0]["key"] == f"0\ncnn, area {sum(cnn) / 3:.4f}"
        curve = next(getattr(run, way) for run in results.runs if run.id == rows[0]["run"])
        np.testing.assert_allclose(rows[0]["x"], curve.x, atol=1e-4)
        np.testing.assert_allclose(rows[0]["y"], curve.y, atol=1e-4)


def test_a_reliability_diagram_tells_all_seeds_together_and_each_of_them() -> None:
    (comparison, _) = compare(ranked())
    candidate = comparison.best["rnn"]
    spec = draw_reliability(candidate, "#000000", "digits")
    bins = spec["datasets"]["bins"]
    assert sum(int(row["samples"]) for row in bins) == 3 * 750
    assert sum(row["share"] for row in bins) == pytest.approx(1)
    assert len(spec["datasets"]["seeds"]) == 3
    hits = sum(int(row["samples"]) * row["y"] for row in bins)
    right = [run.reliability for run in candidate.finished]
    assert hits == pytest.approx(sum(np.nansum(each.accuracy * each.counts) for each in right))


def test_sections_are_there_where_there_is_something_to_say() -> None:
    with_all, without = Page(ranked()), Page(quickstart())
    assert calibration.describe(without) is None
    assert tradeoffs.describe(without) is None
    page = render(ranked())
    for words in ("Calibration", "ROC and precision-recall", "Every class of cnn"):
        assert words in page
    said = calibration.describe(with_all)
    assert said is not None
    (comparison,) = said["comparisons"]
    assert [panel["name"] for panel in comparison["panels"]] == ["cnn", "fnn (learning_rate=0.001)", "rnn"]
    every = [[run for run in ranked().runs if run.model == model] for model in ("cnn", "rnn")]
    errors = [[find_metric(run, "ece", "test").value for run in seeds] for seeds in every]
    expected = [" ± ".join(format_mean(np.mean(seeds), np.std(seeds, ddof=1))) for seeds in errors]
    assert [comparison["panels"][i]["ece"] for i in (0, 2)] == expected


def test_seeds_whose_errors_cancel_each_other_are_not_called_calibrated() -> None:
    target, found = np.array([0, 1] * 50), []
    for wrong in (np.zeros(100, dtype=bool), np.arange(100) < 40):
        # Confident in 0.8: right in all samples with one seed, in 0.6 of them with the other.
        chances = np.where((target[:, None] == np.arange(2)) ^ wrong[:, None], 0.8, 0.2)
        found.append(measure_reliability(target, chances))
    assert ranking.Reliability.pool(found).ece == pytest.approx(0)
    runs = [
        dataclasses.replace(
            run, reliability=found[run.seed], metrics=[*run.metrics, MetricValue("ece", "test", 0.2, 0.1, 0.3)]
        )
        for run in exact_runs("cnn", [1.0, 0.6])
    ]
    said = calibration.describe(Page(make_results(runs, [make_dataset("digits", "x", ("classification",), 5000)])))
    assert said is not None
    assert said["comparisons"][0]["panels"][0]["ece"] == "0.2000 ± 0"


def test_classifiers_without_curves_say_why() -> None:
    for num_classes, absent, words in (
        (21, 0, "21 classes are too many"),
        (3, 1, "Not defined: a class has no sample"),
    ):
        counts = np.eye(num_classes, dtype=int)
        counts[:absent] = 0
        runs = [dataclasses.replace(run, confusion=counts) for run in exact_runs("cnn", [0.9, 0.8])]
        page = render(make_results(runs, [make_dataset("digits", "x", ("classification",), 5000)]))
        assert words in page[page.index('<h2 id="ranking">') :]


def test_hostile_names_do_not_leave_their_place() -> None:
    runs = [dataclasses.replace(run, model=HOSTILE, id=f"{run.id}{HOSTILE}") for run in ranked().runs if run.roc]
    page = render(dataclasses.replace(ranked(), runs=runs))
    assert "<img src=x" not in page
    assert "ROC curve" in page


def test_of_many_models_the_best_are_drawn_and_a_thousand_runs_take_little_of_a_page(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    page = Page(many(MAX_PANELS + 1, 40))
    said, drawn = calibration.describe(page), tradeoffs.describe(page)
    assert said is not None
    assert drawn is not None
    assert len(said["comparisons"][0]["panels"]) == MAX_PANELS
    assert (drawn["comparisons"][0]["num_drawn"], drawn["comparisons"][0]["num_traced"]) == (MAX_DRAWN, MAX_PANELS + 1)
    assert len(json.dumps(said)) + len(json.dumps(drawn)) < 3_000_000
    monkeypatch.setattr(ranking, "MAX_POINTS", 500)
    spec = draw_tradeoffs(page.comparisons[0], page.colours, "roc")
    assert spec is not None
    rows = spec["datasets"]["curves"]
    assert sum(len(row["x"]) for row in rows) <= 500 + 2 * len(rows)
    assert all((row["x"][-1], row["y"][-1]) == (1, 1) for row in rows)


@given(st.integers(1, 60), st.integers(1, 6), st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_scores_of_classes_are_those_of_scikit_learn(num_samples: int, num_classes: int, seed: int) -> None:
    target, predicted = np.random.default_rng(seed).integers(0, num_classes, (2, num_samples))
    found = score_classes(confusion(target, predicted, num_classes))
    labels = np.arange(num_classes)
    expected = sk.precision_recall_fscore_support(target, predicted, labels=labels, zero_division=np.nan)
    np.testing.assert_allclose(found[:2], expected[:2], rtol=1e-12)
    f1 = sk.f1_score(target, predicted, labels=labels, average=None, zero_division=0)
    np.testing.assert_allclose(found[2], f1, rtol=1e-12)


def test_a_class_has_the_mean_and_every_seed() -> None:
    (comparison, _) = compare(quickstart())
    candidate = comparison.best["cnn"]
    row = tabulate_classes(candidate, ("zero", *map(str, range(1, 10))))[0]
    counts = [run.confusion for run in candidate.finished]
    recalls = [matrix[0, 0] / matrix[0].sum() for matrix in counts]
    assert (row.name, row.support) == ("zero", counts[0][0].sum())
    assert row.cells[1]["seeds"] == pytest.approx(recalls)
    assert float(row.cells[1]["mean"]) == pytest.approx(np.mean(recalls), abs=1e-3)


def test_a_class_that_is_never_predicted_has_no_precision() -> None:
    (comparison, _) = compare(quickstart())
    candidate = comparison.best["cnn"]
    matrix = np.array([[3, 0], [2, 0]])
    runs = tuple(dataclasses.replace(run, confusion=matrix) for run in candidate.finished)
    _, second = tabulate_classes(dataclasses.replace(candidate, runs=runs), ("a", "b"))
    assert [cell["mean"] for cell in second.cells] == ["–", "0", "0"]
    assert all(math.isnan(value) for value in second.cells[0]["seeds"])


def test_of_many_classes_those_with_the_lowest_f1_are_listed() -> None:
    (comparison, _) = compare(quickstart())
    candidate = comparison.best["cnn"]
    matrix = np.diag(np.full(30, 10))
    matrix[7, 8], matrix[7, 7] = 5, 5
    runs = tuple(dataclasses.replace(run, confusion=matrix) for run in candidate.finished)
    worse = dataclasses.replace(candidate, runs=runs)
    rows = tabulate_classes(worse, ())
    assert len(rows) == MAX_CLASSES
    assert {"7", "8"} <= {row.name for row in rows}
    results = make_results(list(runs), [make_dataset("digits", "mnist5k", ("classification",), 5000)])
    assert "of 30 classes the 20 with the lowest F1" in render(results)
    assert classes.describe(Page(results)) is not None
