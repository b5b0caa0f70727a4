"""What is left of a metric, against means by hand."""

from __future__ import annotations

import dataclasses

import pytest

from headrace.figures.comparisons import compare
from headrace.figures.robustness import find_judged, find_kept, find_level, find_strengths
from headrace.findings.results import CorruptedValue, MetricValue, RunResult
from headrace.judging.statistics import Summary
from sample_results import corrupted_quickstart, make_results, make_run


def worsened(seed: int, metric: str, clean: float, task: str, worse: dict[float, float]) -> RunResult:
    """A run with its metric by the strength of noise."""
    corrupted = [
        CorruptedValue(metric, "test", left, left, left, corruption="noise", strength=strength)
        for strength, left in worse.items()
    ]
    metrics = [MetricValue(metric, "test", clean, clean, clean)]
    return dataclasses.replace(make_run("fnn", seed, {metric: clean}, task=task), metrics=metrics, corrupted=corrupted)


def kept_of(*runs: RunResult) -> Summary:
    (comparison,) = compare(make_results(runs, []))
    return find_kept(comparison, comparison.best["fnn"], "noise", find_strengths(comparison, "noise"))


def test_of_what_is_better_higher_a_share_is_kept() -> None:
    found = kept_of(
        worsened(0, "accuracy", 0.8, "classification", {1: 0.8, 2: 0.4}),
        worsened(1, "accuracy", 0.5, "classification", {1: 0.4, 2: 0.1}),
    )
    assert found.mean == pytest.approx(((1 + 0.5) / 2 + (0.8 + 0.2) / 2) / 2)
    assert found.standard_deviation == pytest.approx(0.25 / 2**0.5)


def test_of_what_is_better_lower_the_change_is_told() -> None:
    assert kept_of(worsened(0, "rmse", 50, "regression", {1: 52, 2: 60})).mean == pytest.approx((2 + 10) / 2)


def test_of_nothing_no_share_can_be_kept() -> None:
    found = kept_of(worsened(0, "accuracy", 0, "classification", {1: 0.1}))
    assert found.mean != found.mean


def test_a_seed_without_one_of_the_strengths_does_not_count() -> None:
    found = kept_of(
        worsened(0, "accuracy", 0.8, "classification", {1: 0.4, 2: 0.4}),
        worsened(1, "accuracy", 0.8, "classification", {1: 0.8}),
    )
    assert (found.count, found.mean) == (1, pytest.approx(0.5))


def test_kinds_of_corruption_are_told_apart() -> None:
    comparison = next(each for each in compare(corrupted_quickstart()) if each.task == "classification")
    assert find_strengths(comparison, "blur") == [0, 0.1, 0.5]
    assert find_strengths(comparison, "contrast") == []
    cnn = comparison.best["cnn"]
    clean = find_level(comparison, cnn, "noise", 0).summary.mean
    left = {kind: find_level(comparison, cnn, kind, 0.5).summary.mean / clean for kind in ("blur", "noise")}
    assert left == pytest.approx({"blur": 0.9, "noise": 0.8})
    assert {candidate.model for candidate in find_judged(comparison, "blur")} == {"cnn", "rnn"}
    assert {candidate.model for candidate in find_judged(comparison, "noise")} == {"fnn", "cnn", "rnn"}
