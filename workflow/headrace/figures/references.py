"""What predictors without training are called, and whether a model is worth more than they are."""

from __future__ import annotations

import math
from dataclasses import dataclass

from headrace.figures.claims import Interval, bound_differences, holds, is_known, name_samples, say_interval
from headrace.figures.comparisons import Candidate, Comparison
from headrace.figures.numbers import format_number
from headrace.findings.results import MetricValue, ReferenceResult

NAMES = {
    "most_frequent": "most frequent class",
    "nearest_neighbour": "nearest neighbour",
    "mean": "mean",
    "last_value": "last value",
    "code_frequencies": "code frequencies",
}
DOINGS = {
    "most_frequent": "always predicting the most frequent class",
    "nearest_neighbour": "copying the class of the nearest training sample",
    "mean": "always predicting the mean of the training split",
    "last_value": "repeating the last value",
    "code_frequencies": "predicting every code as often as it occurs",
}
"""What each does, as part of a sentence."""


@dataclass(frozen=True)
class Verdict:
    """What the best predictor without training says of the best model."""

    sentence: str
    reached: str
    """What that predictor reaches."""
    is_beaten: bool
    """Whether the mean of the best model is better than what that predictor reaches."""


def name_reference(reference: ReferenceResult) -> str:
    """Return what a reader knows it by."""
    return NAMES.get(reference.name, reference.name)


def find_value(reference: ReferenceResult, metric: str, split: str) -> MetricValue | None:
    """Return one metric, or None."""
    return next((value for value in reference.metrics if (value.metric, value.split) == (metric, split)), None)


def find_best(comparison: Comparison) -> tuple[ReferenceResult, float] | None:
    """Return the best predictor by the main metric with its value; None where none has one."""
    sign = 1 if comparison.lower_is_better else -1
    found = [(each, find_value(each, comparison.metric, comparison.split)) for each in comparison.references]
    finite = [(each, value.value) for each, value in found if value is not None and math.isfinite(value.value)]
    return min(finite, key=lambda pair: sign * pair[1]) if finite else None


def hold_against(comparison: Comparison, winner: Candidate) -> Verdict | None:
    """Hold the best model against the best predictor without training; None where there is none."""
    best = find_best(comparison)
    if best is None:
        return None
    reference, value = best
    doing = DOINGS.get(reference.name, reference.name)
    sign = 1 if comparison.lower_is_better else -1
    reached = format_number(value, 3)
    if not sign * winner.summary(comparison.metric, comparison.split).mean < sign * value:
        return Verdict(f"No model is better than {doing}.", reached, False)
    told = f"{doing}, which reaches {reached} without training"
    values = winner.values(comparison.metric, comparison.split)
    (samples,) = bound_differences(comparison.split, [([reference], [run for run, _ in values])])
    if not _is_ahead(winner, comparison, value, samples):
        return Verdict(f"{winner.name} is not clearly better than {told}.", reached, True)
    alone = f"the one run of {winner.name}" if len(values) == 1 else winner.name
    if not is_known(samples):
        return Verdict(f"On {name_samples(comparison)}, {alone} is better than {told}.", reached, True)
    lead = abs(winner.summary(comparison.metric, comparison.split).mean - value)
    interval = samples if sign < 0 else (-samples[1], -samples[0])
    how_sure = f"the lead is {format_number(lead, 3)}, 95 % interval over the samples {say_interval(interval)}"
    if holds(lead, interval):
        said = f"{alone[0].upper()}{alone[1:]}" if len(values) == 1 else alone
        return Verdict(f"{said} is better than {told} ({how_sure}).", reached, True)
    restricted = f"On {name_samples(comparison)}, {alone} is better than {told}, but other samples could turn that"
    return Verdict(f"{restricted} ({how_sure}).", reached, True)


def _is_ahead(winner: Candidate, comparison: Comparison, value: float, samples: Interval) -> bool:
    """Whether chance in the training leaves a better mean better than a fixed value.

    One seed, and seeds that all agree, know of no such chance: then the samples alone decide, of the difference where
    it is known of them, and else of the model.
    """
    members = winner.values(comparison.metric, comparison.split)
    has_spread = winner.summary(comparison.metric, comparison.split).standard_deviation > 0
    if not has_spread and is_known(samples):
        return True
    low, high = winner.interval(comparison.metric, comparison.split)
    if len(members) == 1:
        low, high = members[0][1].low, members[0][1].high
    return not (math.isnan(low) or low <= value <= high)
