"""What may be claimed of two models: what holds over the seeds, and would hold on other test samples too."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from headrace.figures.comparisons import Candidate, Comparison
from headrace.figures.numbers import format_number
from headrace.figures.words import join_some
from headrace.findings.results import ReferenceResult, RunResult
from headrace.judging.significance import Difference
from headrace.judging.statistics import FloatArray, paired_intervals

Judged = RunResult | ReferenceResult
Interval = tuple[float, float]

UNKNOWN: Interval = (math.nan, math.nan)

RESOLUTION = 2.0**-22
"""Differences below this share of the values may be but the rounding of float32."""

DIRECTIONS = ("better", "worse", "larger", "smaller")
"""Verdicts that claim something."""

MAX_NAMES = 8
"""Models that a sentence about many names."""


def bound_differences(split: str, pairs: Sequence[tuple[Sequence[Judged], Sequence[Judged]]]) -> list[Interval]:
    """Return for every pair the 95 % interval, over the test samples, of the second's mean minus the first's.

    Both have met the same bootstrap resamples: their means over the seeds are subtracted on each of them. nan where one
    has no resamples, or others than the other one; those that are kept are of the test split.
    """
    rows = [_subtract(*pair) if split == "test" else None for pair in pairs]
    found = [UNKNOWN] * len(pairs)
    places: dict[int, list[int]] = {}
    for place, row in enumerate(rows):
        if row is not None:
            places.setdefault(len(row), []).append(place)
    for members in places.values():
        intervals = paired_intervals(np.stack([row for place in members if (row := rows[place]) is not None]))
        for place, (low, high) in zip(members, intervals.tolist(), strict=True):
            found[place] = (low, high)
    return found


def _subtract(one: Sequence[Judged], two: Sequence[Judged]) -> FloatArray | None:
    first, second = average_resamples(one), average_resamples(two)
    if first is None or second is None or len(first) != len(second):
        return None
    # What is infinite leaves a nan, as of a resample on which there is no value.
    with np.errstate(invalid="ignore"):
        difference = second - first
    scale = np.max(np.abs([first, second]), where=np.isfinite([first, second]), initial=0.0)
    difference[np.abs(difference) <= RESOLUTION * scale] = 0.0
    return difference


def average_resamples(judged: Sequence[Judged]) -> FloatArray | None:
    """Return the mean of the main metric on every resample, (resamples,); None where one has none or other ones."""
    found = [each.resampled for each in judged if each.resampled is not None and len(each.resampled)]
    if not judged or len(found) < len(judged) or len({len(values) for values in found}) > 1:
        return None
    mean: FloatArray = np.mean(np.stack(found), axis=0, dtype=np.float64)
    return mean


def is_known(interval: Interval) -> bool:
    """Say whether anything is known of other samples."""
    return not any(map(math.isnan, interval))


def holds(value: float, interval: Interval) -> bool:
    """Say whether a difference keeps its sign on other samples."""
    return interval[0] > 0 if value > 0 else interval[1] < 0


def name_samples(comparison: Comparison) -> str:
    """Return what a claim is restricted to that says nothing of other samples."""
    count = "" if comparison.num_samples is None else f"{comparison.num_samples:,} "
    return f"these {count}{comparison.split} samples"


def say_interval(interval: Interval) -> str:
    """Return both ends in words."""
    return f"{format_number(interval[0], 3)} to {format_number(interval[1], 3)}"


def say_pair(
    comparison: Comparison, first: Candidate, second: Candidate, verdict: str, found: Difference, samples: Interval
) -> str:
    """Return a sentence for a paper about the second model beside the first.

    `verdict` is that of the seeds, `found` their difference, and `samples` its interval over the test samples.
    """
    if verdict in DIRECTIONS:
        over_seeds = f"95 % interval over the seeds {say_interval((found.low, found.high))}"
        over_samples = f", over the samples {say_interval(samples)}" if is_known(samples) else ""
        said = f"its mean {comparison.metric} differs by {format_number(found.value, 3)} ({over_seeds}{over_samples})"
        return f"{_claim(comparison, [second.name], first.name, verdict, found.value, samples)}: {said}."
    if verdict == "no difference can be claimed":
        return f"Between {second.name} and {first.name} no difference can be claimed."
    over_samples = f" (95 % interval over the samples {say_interval(samples)})" if is_known(samples) else ""
    return f"{second.name} beside {first.name}: {verdict}{over_samples if found.value else ''}."


def say_many(
    comparison: Comparison, first: Candidate, names: Sequence[str], verdict: str, value: float, samples: Interval
) -> str:
    """Return a sentence about several models of which the same is claimed; `value` and `samples` are of any of them."""
    if verdict in DIRECTIONS:
        return f"{_claim(comparison, names, first.name, verdict, value, samples)}."
    said = join_some(names, MAX_NAMES)
    if verdict == "no difference can be claimed":
        among = "any of " if len(names) > 1 else ""
        return f"Between {first.name} and {among}{said} no difference can be claimed."
    return f"{said} beside {first.name}: {verdict}."


def _claim(
    comparison: Comparison, names: Sequence[str], beside: str, verdict: str, value: float, samples: Interval
) -> str:
    said = f"{join_some(names, MAX_NAMES)} {'is' if len(names) == 1 else 'are'} {verdict} than {beside}"
    if is_known(samples) and holds(value, samples):
        return said
    restricted = f"On {name_samples(comparison)}, {said}"
    return f"{restricted}, but other samples could turn that" if is_known(samples) else restricted
