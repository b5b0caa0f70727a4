"""What the section of statistics says of each candidate, and of which it says nothing."""

import dataclasses
import math

import numpy as np
import pytest
import scipy.stats

from headrace.figures.answers import find_problems
from headrace.figures.spreads import Spread, describe_spreads
from headrace.findings.results import MetricValue, RunResult
from headrace.reporting.report import render
from sample_results import broken_quickstart, exact_runs, make_dataset, make_references, make_results, only, quickstart

VALUES = [0.91, 0.95, 0.89, 0.93, 0.97, 0.90, 0.96, 0.94]


def spread_of(runs: list[RunResult]) -> Spread:
    """Return the statistics of the only candidate of some runs."""
    (candidate,) = only(runs).candidates
    (spread,) = describe_spreads([(candidate, "accuracy", "test")])
    return spread


def page_of(runs: list[RunResult], section: str = "statistics") -> str:
    """Return a section of a report, in single spaces."""
    page = render(make_results(runs, [make_dataset("digits", "mnist5k", ("classification",), 5000)]))
    section = page[page.index(f'<section aria-labelledby="{section}">') :]
    return " ".join(section[: section.index("</section>")].split())


def problems_of(runs: list[RunResult]) -> list[str]:
    return find_problems(make_results(runs, []), [only(runs)])


def test_statistics_over_seeds_are_those_of_numpy_and_scipy() -> None:
    found = spread_of(exact_runs("fnn", VALUES))
    assert (found.doubt, found.count) == ("", 8)
    assert found.median.value == pytest.approx(np.median(VALUES))
    assert found.iqm.value == pytest.approx(scipy.stats.trim_mean(VALUES, 0.25))
    assert (found.minimum, found.maximum) == (0.89, 0.97)
    interval = scipy.stats.ttest_1samp(VALUES, 0).confidence_interval(0.95)
    assert (found.summary.low, found.summary.high) == pytest.approx((interval.low, interval.high))
    assert found.mean.value == found.summary.mean
    # The bootstrap of eight seeds is narrower than Student's interval, and says so in no other way.
    assert found.summary.low < found.mean.low < found.mean.value < found.mean.high < found.summary.high


def test_chance_of_samples_is_kept_apart_from_that_of_seeds() -> None:
    runs = exact_runs("fnn", [0.90, 0.92, 0.94])
    widths = [0.02, 0.05, 0.03]
    runs = [
        dataclasses.replace(run, metrics=[MetricValue("accuracy", "test", 0.9, 0.9 - width, 0.9 + width)])
        for run, width in zip(runs, widths, strict=True)
    ]
    found = spread_of(runs)
    assert found.sample_half_width == pytest.approx(0.03)
    assert found.summary.standard_deviation == 0
    unknown = [
        dataclasses.replace(run, metrics=[MetricValue("accuracy", "test", 0.9, math.nan, math.nan)]) for run in runs
    ]
    assert math.isnan(spread_of(unknown).sample_half_width)
    assert '<td class="number">–</td>' in page_of(unknown)


def test_runs_of_one_seed_that_disagree_are_a_problem_and_no_statistic() -> None:
    runs = [*exact_runs("fnn", [0.90, 0.92, 0.94]), *exact_runs("fnn", [0.10]), *exact_runs("cnn", [0.8, 0.81])]
    _, problem = problems_of(runs)
    assert "has runs of the same seed that do not say the same: 0." in problem
    assert "It has no mean and takes part in no comparison" in problem
    found = spread_of(runs[:4])
    assert (found.doubt, found.count) == ("seeds whose runs do not say the same: 0", 0)
    numbers = (found.summary.mean, found.mean.value, found.median.value, found.iqm.value, found.minimum)
    assert all(map(math.isnan, numbers))
    page = page_of(runs)
    assert "left out:</span> seeds whose runs do not say the same: 0" in page
    assert '<span class="short">0 of 3</span>' in page
    table = page_of(runs, "results").split("</table>")[0]
    assert '<data class="mean" value="nan">–</data><span class="seeds">' in table
    for run in runs:
        assert f">{run.metrics[0].value:.4f}</data>" in table
    assert page.count("bootstrap [") == 1


def test_a_seed_that_was_run_twice_counts_once() -> None:
    runs = exact_runs("fnn", [0.90, 0.92, 0.94])
    twice = [*runs, dataclasses.replace(runs[0], id="again")]
    (problem,) = problems_of(twice)
    assert "has the same seed more than once: 0. The first finished run of each counts." in problem
    once, found = spread_of(runs), spread_of(twice)
    for name in ("doubt", "count", "summary", "mean", "median", "iqm", "minimum", "maximum", "sample_half_width"):
        assert getattr(found, name) == getattr(once, name)
    assert page_of(twice).replace("again", "") == page_of(runs)


def test_runs_with_different_settings_are_a_problem_and_no_statistic() -> None:
    runs = exact_runs("fnn", [0.90, 0.92, 0.94])
    runs[1] = dataclasses.replace(runs[1], parameters={**runs[1].parameters, "dropout": 0.5, "width": 3})
    (problem,) = problems_of(runs)
    assert "mixes runs with different settings: dropout, width." in problem
    assert spread_of(runs).doubt == "runs with different settings: dropout, width"
    assert "left out:</span> runs with different settings" in page_of(runs)


def test_missing_runs_are_counted_and_values_that_are_no_numbers_left_out() -> None:
    results = broken_quickstart()
    page = page_of(list(results.runs))
    assert page.count('<span class="short">2 of 3</span>') == 2
    assert "left out:</span> a value is not a finite number" in page_of(exact_runs("fnn", [0.9, math.nan, 0.8]))
    failed = [dataclasses.replace(run, status="failed", metrics=()) for run in exact_runs("fnn", [0.9, 0.8])]
    assert "left out:</span> no run finished with" in page_of([*failed, *exact_runs("cnn", [0.9])])


def test_one_seed_has_values_and_no_intervals() -> None:
    found = spread_of(exact_runs("fnn", [0.9]))
    assert (found.summary.mean, found.median.value, found.iqm.value) == (0.9, 0.9, 0.9)
    assert all(map(math.isnan, (found.summary.low, found.mean.low, found.median.high, found.iqm.low)))
    assert "bootstrap [" not in page_of(exact_runs("fnn", [0.9]))


def test_what_needs_no_training_stands_below_the_models() -> None:
    page = render(dataclasses.replace(quickstart(), references=make_references()))
    section = page[page.index('<section aria-labelledby="statistics">') :]
    rows = section[: section.index("</table>")].split("<tr")
    assert "most frequent class" in rows[-2]
    assert "nearest neighbour" in rows[-1]
    (value,) = [m for m in make_references()[1].metrics if (m.metric, m.split) == ("accuracy", "test")]
    half_width = (value.high - value.low) / 2
    assert f'value="{value.value}"' in rows[-1]
    assert f'<td class="number">{half_width:.3f}</td>' in rows[-1]


def test_every_candidate_has_a_row_and_the_page_says_what_few_seeds_are_worth() -> None:
    page = page_of(list(quickstart().runs))
    assert page.count("bootstrap [") == 5
    assert "with fewer than about 5 seeds they are too narrow" in page
    assert page.count('<span class="badge">chosen</span>') == 1
