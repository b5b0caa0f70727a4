"""What is said of models over several datasets, against SciPy and the definitions of Agarwal et al. 2021."""

import dataclasses
import json
import math
import tracemalloc

import altair as alt
import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from headrace.figures.aggregates import Aggregate, aggregate, draw_profile, mean_ranks
from headrace.figures.comparisons import compare
from headrace.figures.theme import draw_svg
from headrace.findings.results import MetricValue, Results, RunResult
from headrace.reporting.report import render
from sample_results import HOSTILE, exact_runs, make_dataset, make_results, quickstart, three_datasets, two_datasets

VALUES = {
    "digits": {"fnn": [0.90, 0.92], "cnn": [0.95, 0.96], "linear": [0.80, 0.91]},
    "wine": {"fnn": [0.70, 0.70], "cnn": [0.60, 0.90], "linear": [0.85, 0.75]},
}


def runs_of(
    values: dict[str, dict[str, list[float]]], task: str = "classification", metric: str = "accuracy"
) -> list[RunResult]:
    """Runs on several datasets that hold one metric, without noise."""
    runs = []
    for dataset, by_model in values.items():
        for model, accuracies in by_model.items():
            for run in exact_runs(model, accuracies, dataset=dataset):
                (value,) = run.metrics
                told = [MetricValue(metric, "test", value.value, value.low, value.high)]
                runs.append(dataclasses.replace(run, task=task, metrics=told, id=f"{dataset}-{model}-{run.seed}"))
    return runs


def results_of(runs: list[RunResult]) -> Results:
    names = dict.fromkeys(run.dataset for run in runs)
    return make_results(runs, [make_dataset(name, "mnist5k", ("classification",), 5000) for name in names])


def only(runs: list[RunResult]) -> Aggregate:
    (found,) = aggregate(compare(results_of(runs)))
    return found


def section_of(results: Results) -> str:
    page = render(results)
    section = page[page.index('<section aria-labelledby="statistics">') :]
    return " ".join(section[: section.index("</section>")].split())


def test_scores_go_from_the_worst_run_of_a_dataset_to_its_best() -> None:
    scores = {standing.model: standing.scores for standing in only(runs_of(VALUES)).standings}
    assert scores["linear"][0] == pytest.approx((0, 0.11 / 0.16))
    assert scores["cnn"][1] == pytest.approx((0, 1))
    assert scores["fnn"][1] == pytest.approx((1 / 3, 1 / 3))


def test_aggregates_are_those_of_the_scores_of_all_runs() -> None:
    found = only(runs_of(VALUES))
    assert [standing.model for standing in found.standings] == ["cnn", "linear", "fnn"]
    for standing in found.standings:
        scores = np.concatenate(standing.scores)
        # rliable has aggregate_iqm = scipy.stats.trim_mean(scores, proportiontocut=0.25, axis=None).
        assert standing.iqm.value == pytest.approx(scipy.stats.trim_mean(scores, 0.25))
        assert standing.mean.value == pytest.approx(scores.mean())
        assert standing.iqm.low <= standing.iqm.value <= standing.iqm.high


def test_mean_ranks_are_those_of_scipy() -> None:
    found = only(runs_of(VALUES))
    means = np.array([[np.mean(VALUES[name][model]) for name in VALUES] for model in ("cnn", "linear", "fnn")])
    expected = scipy.stats.rankdata(-means.round(9), axis=0).mean(axis=1)
    assert [standing.rank.value for standing in found.standings] == pytest.approx(list(expected))
    assert all(1 <= standing.rank.low <= standing.rank.high <= 3 for standing in found.standings)


@given(
    arrays.arrays(
        np.float64,
        st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 4)),
        elements=st.sampled_from([0.0, 0.25, 0.5, 1.0]),
    )
)
@settings(max_examples=50, deadline=None)
def test_equal_scores_share_their_ranks(scores: np.ndarray) -> None:
    expected = scipy.stats.rankdata(-scores, axis=1).mean(axis=2)
    np.testing.assert_allclose(mean_ranks(scores), expected)


def test_the_interval_of_a_score_is_a_stratified_bootstrap() -> None:
    """Of one run resampled within its dataset, the other datasets give no spread."""
    found = only(runs_of({"a": {"x": [0.0, 1.0], "y": [0.5, 0.5]}, "b": {"x": [0.3, 0.3], "y": [0.0, 1.0]}}))
    standing = next(each for each in found.standings if each.model == "x")
    # The mean over both datasets is (0.3 + k / 2) / 2 where k of two runs score 1: a quarter of resamples at each end.
    assert (standing.mean.low, standing.mean.high) == pytest.approx((0.15, 0.65))


def test_where_lower_is_better_the_lowest_run_scores_1() -> None:
    found = only(runs_of(VALUES, "regression", "rmse"))
    turned = {standing.model: standing.scores for standing in found.standings}
    upright = {standing.model: standing.scores for standing in only(runs_of(VALUES)).standings}
    for model, scores in upright.items():
        np.testing.assert_allclose(turned[model], 1 - np.array(scores))


def test_models_without_a_result_everywhere_are_named_and_left_out() -> None:
    found = only(list(three_datasets().runs))
    assert {standing.model for standing in found.standings} == {"fnn", "cnn", "linear"}
    assert found.left_out == (("rnn", "nothing to sum up on wine"),)
    section = section_of(three_datasets())
    assert "Left out:</span> rnn, nothing to sum up on wine." in section
    assert "classification over 3 datasets" in section


def test_a_seed_that_was_run_twice_counts_once_or_leaves_its_model_out() -> None:
    runs = runs_of(VALUES)
    twice = next(run for run in runs if (run.dataset, run.model, run.seed) == ("wine", "cnn", 0))
    assert only([*runs, dataclasses.replace(twice, id="again")]) == only(runs)
    other = dataclasses.replace(twice, id="other", metrics=[MetricValue("accuracy", "test", 0.1, 0, 1)])
    found = only([*runs, other])
    assert found.left_out == (("cnn", "nothing to sum up on wine"),)
    assert {standing.model for standing in found.standings} == {"fnn", "linear"}


def test_a_dataset_on_which_all_runs_are_the_same_does_not_count() -> None:
    same = {"iris": {model: [0.9, 0.9] for model in ("fnn", "cnn", "linear")}}
    found = only(runs_of({**VALUES, **same}))
    assert found.datasets == ("digits", "wine")
    assert found.left_out == (("iris", "all runs are the same there"),)
    assert found.standings == only(runs_of(VALUES)).standings


def test_where_nothing_is_left_to_sum_up_it_is_said() -> None:
    lonely = {"digits": {"fnn": [0.9, 0.8], "cnn": [0.7, 0.6]}, "wine": {"fnn": [0.9, 0.8]}}
    assert only(runs_of(lonely)).standings == ()
    assert "nothing is summed up" in section_of(results_of(runs_of(lonely)))
    huge = {"a": {"x": [1e308, -1e308], "y": [0.1, 0.2]}, "b": {"x": [0.5, 0.6], "y": [0.1, 0.2]}}
    assert only(runs_of(huge)).standings == ()


@pytest.mark.parametrize("make", [quickstart, two_datasets])
def test_datasets_that_share_no_task_are_not_summed_up(make) -> None:
    assert aggregate(compare(make())) == []
    assert "over 2 datasets" not in section_of(make())


def test_a_profile_is_the_share_of_runs_above_every_score() -> None:
    found = only(list(three_datasets().runs))
    colours = {standing.model: "#2f78c4" for standing in found.standings}
    spec = draw_profile(found, colours)
    alt.Chart.from_dict(spec, validate=True)
    json.dumps(spec, allow_nan=False)
    for standing in found.standings:
        scores = np.concatenate(standing.scores)
        rows = [row for row in spec["datasets"]["profile"] if row["model"] == standing.model]
        assert [row["score"] for row in rows] == pytest.approx(list(np.linspace(0, 1, 101)))
        for row in rows:
            assert row["share"] == pytest.approx(np.mean(scores > row["score"] + 1e-12), abs=1e-9)
            assert 0 <= row["low"] <= row["high"] <= 1
    text = draw_svg(spec)
    for word in ("cnn", "runs above", "score (0 the worst run, 1 the best)"):
        assert word in text


def test_hostile_names_and_single_seeds_are_drawn() -> None:
    names = {"fnn": "constructor", "cnn": HOSTILE, "linear": "__proto__"}
    values = {
        dataset: {names[model]: runs[:1] for model, runs in by_model.items()} for dataset, by_model in VALUES.items()
    }
    found = only(runs_of(values))
    spec = draw_profile(found, dict.fromkeys(names.values(), "#2f78c4"))
    alt.Chart.from_dict(spec, validate=True)
    json.dumps(spec, allow_nan=False)
    assert HOSTILE not in json.dumps({**spec["layer"][0], "encoding": {}})
    assert all(row["low"] is None for row in spec["datasets"]["profile"])
    assert all(math.isnan(standing.rank.low) and math.isnan(standing.iqm.low) for standing in found.standings)
    assert HOSTILE not in section_of(results_of(runs_of(values)))


def test_ranks_of_many_models_are_those_of_scipy_in_little_memory() -> None:
    scores = np.random.default_rng(0).integers(0, 4, (50, 30, 3)) / 4
    expected = scipy.stats.rankdata(-scores, axis=1).mean(axis=2)
    np.testing.assert_allclose(mean_ranks(scores), expected)
    tracemalloc.start()
    mean_ranks(np.zeros((200, 300, 3)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20 * 200 * 300 * 8
