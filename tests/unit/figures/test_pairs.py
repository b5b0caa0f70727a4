"""What the report says of each model beside the baseline."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from headrace.figures.comparisons import compare
from headrace.figures.pairs import Pair, judge, pair_with, probability_of_improvement
from headrace.findings.results import Results
from headrace.judging.significance import NOTHING
from headrace.reporting.report import render
from sample_results import make_run, quickstart, with_resamples

VALUES = st.dictionaries(st.integers(0, 20), st.sampled_from([0.1, 0.2, 0.25, 0.3, 0.9]), min_size=1, max_size=9)


def with_values(by_model: dict[str, list[float]], metric: str = "accuracy") -> Results:
    """Runs of some models that differ in nothing but their main metric."""
    runs = []
    for model, values in by_model.items():
        for seed, value in enumerate(values):
            run = make_run(model, seed, {"accuracy": 0.9})
            told = [dataclasses.replace(m, metric=metric, value=value) for m in run.metrics if m.metric == "accuracy"]
            runs.append(with_resamples(dataclasses.replace(run, metrics=told)))
    return dataclasses.replace(quickstart(), runs=runs)


def pairs(by_model: dict[str, list[float]], baseline: str | None = "fnn") -> dict[str, Pair]:
    (comparison,) = compare(with_values(by_model))
    return {pair.candidate.model: pair for pair in pair_with(comparison, baseline)}


def test_differences_are_those_of_paired_tests_with_holms_correction() -> None:
    values = {"fnn": [0.90, 0.91, 0.905], "cnn": [0.95, 0.963, 0.957], "rnn": [0.89, 0.92, 0.90]}
    found = pairs(values)
    raw = {model: stats.ttest_rel(values[model], values["fnn"]).pvalue for model in ("cnn", "rnn")}
    assert found["cnn"].p_value == pytest.approx(2 * raw["cnn"])
    assert found["rnn"].p_value == pytest.approx(max(2 * raw["cnn"], raw["rnn"]))
    assert found["cnn"].sentence.startswith(
        "cnn is better than fnn: its mean accuracy differs by 0.0517 (95 % interval"
    )
    assert found["rnn"].sentence == "Between rnn and fnn no difference can be claimed."
    assert found["cnn"].probability == 1
    assert found["rnn"].probability == pytest.approx(3.5 / 9)


def test_the_columns_beside_the_t_test() -> None:
    values = {"fnn": [0.90, 0.91, 0.905], "cnn": [0.95, 0.963, 0.957], "rnn": [0.89, 0.92, 0.90]}
    found = pairs(values)
    # Three pairs that all agree give 2 / 2^3; two models are compared.
    assert found["cnn"].flip_p_value == 2 * 0.25
    differences = [b - a for a, b in zip(values["fnn"], values["cnn"], strict=True)]
    assert found["cnn"].effect.value == pytest.approx(np.mean(differences) / np.std(differences, ddof=1))
    assert found["cnn"].probability_interval == (1, 1)
    low, high = found["rnn"].probability_interval
    assert 0 <= low < found["rnn"].probability < high <= 1
    equal = pairs({"fnn": [0.9, 0.9, 0.9], "cnn": [0.8, 0.8, 0.8]})["cnn"]
    assert math.isnan(equal.flip_p_value)
    assert math.isnan(equal.effect.value)


def test_the_page_says_what_three_seeds_can_never_claim() -> None:
    results = with_values({"fnn": [0.90, 0.91, 0.905], "cnn": [0.95, 0.963, 0.957]})
    page = render(dataclasses.replace(results, baseline="fnn"))
    section = page[page.index('<section aria-labelledby="comparisons">') :]
    assert "with 3 seeds, 0.25, it can never claim anything" in " ".join(section.split())
    for cell in ('<td class="number">0.25</td>', "<i>d</i><sub>z</sub> 33.8", "<td>3 in pairs</td>"):
        assert cell in section
    runs = [run for run in results.runs if (run.model, run.seed) != ("cnn", 2)]
    page = render(dataclasses.replace(results, runs=runs, baseline="fnn"))
    assert "<td>2 of 3 in pairs</td>" in page
    runs = [dataclasses.replace(run, seed=run.seed + 7 * (run.model == "cnn")) for run in results.runs]
    page = render(dataclasses.replace(results, runs=runs, baseline="fnn"))
    assert "<i>g</i> 7.1" in page
    assert "<td>not in pairs</td>" in page


@given(VALUES, VALUES)
def test_probability_of_improvement_is_the_share_of_mann_whitney(one, two) -> None:
    expected = stats.mannwhitneyu(list(two.values()), list(one.values())).statistic / (len(one) * len(two))
    assert probability_of_improvement("accuracy", one, two) == pytest.approx(expected)
    assert probability_of_improvement("nll", one, two) == pytest.approx(1 - expected)
    assert math.isnan(probability_of_improvement("unheard of", one, two))


@pytest.mark.parametrize("baseline", [None, "vae", "nobody"])
def test_without_a_baseline_that_has_results_nothing_is_compared(baseline) -> None:
    assert pairs({"fnn": [0.9, 0.8], "cnn": [0.95, 0.9]}, baseline) == {}


def test_one_seed_a_seed_twice_and_equal_values_are_said() -> None:
    assert "one seed cannot tell" in pairs({"fnn": [0.9], "cnn": [0.95]})["cnn"].sentence
    assert "the same, seed by seed" in pairs({"fnn": [0.9, 0.8], "cnn": [0.9, 0.8]})["cnn"].sentence
    assert "neither has a spread" in pairs({"fnn": [0.9, 0.9], "cnn": [0.8, 0.8]})["cnn"].sentence
    # A run that failed leaves other seeds, and a model without chance in it the same values.
    assert "the same for every seed" in pairs({"fnn": [0.9, 0.9, 0.9], "cnn": [0.9, 0.9]})["cnn"].sentence
    results = with_values({"fnn": [0.9, 0.8], "cnn": [0.9, 0.7]})
    twice = [dataclasses.replace(run, seed=0) if run.model == "cnn" else run for run in results.runs]
    (comparison,) = compare(dataclasses.replace(results, runs=twice))
    assert pair_with(comparison, "fnn") == []
    same = [*results.runs, next(run for run in results.runs if run.model == "cnn")]
    (comparison,) = compare(dataclasses.replace(results, runs=same))
    assert pair_with(comparison, "fnn")[0].most_seeds == 2


def test_of_a_metric_without_a_direction_it_is_said_which_is_larger() -> None:
    difference = dataclasses.replace(NOTHING, value=-1.0, p_value=0.01)
    assert judge("unheard of", {0: 2.0, 1: 2.1}, {0: 1.0, 1: 1.2}, difference, 0.01) == "smaller"


def test_the_page_has_the_sentences_and_without_a_baseline_no_section() -> None:
    results = with_values({"fnn": [0.90, 0.91, 0.905], "cnn": [0.95, 0.963, 0.957]})
    assert "cnn is better than fnn" in render(dataclasses.replace(results, baseline="fnn"))
    assert 'id="comparisons"' not in render(dataclasses.replace(results, baseline=None))


def test_numbers_beyond_float64_when_squared_break_nothing() -> None:
    results = with_values({"fnn": [1e170, 2e180], "cnn": [1e308, 1.5e308], "rnn": [0.5, 0.4]}, metric="accuracy")
    page = render(dataclasses.replace(results, baseline="fnn"))
    assert "cannot be compared" in page
    (comparison,) = compare(results)
    summary = comparison.candidates[1].summary("accuracy", "test")
    assert summary.mean == pytest.approx(1.25e308)
    assert summary.standard_deviation == pytest.approx(0.5e308 / math.sqrt(2))
