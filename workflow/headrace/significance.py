"""Whether two sets of results over seeds differ, and how sure that is when many are compared at once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from headrace.statistics import SUMMARY_CONFIDENCE

LARGEST = 1e150
ROUNDING = 1e-12
"""Relative error of a mean of equal numbers, and then some."""


@dataclass(frozen=True)
class Difference:
    """Of two means over seeds, second minus first; nan where it cannot be had."""

    value: float
    low: float
    """Lower end of the 95 % interval."""
    high: float
    p_value: float
    """Two-sided, of Student's t test; Welch's where seeds are not the same. nan without a spread to judge by."""
    is_paired: bool
    """Whether it rests on the differences seed by seed."""


NOTHING = Difference(math.nan, math.nan, math.nan, math.nan, is_paired=False)
"""What can be said without values."""


def difference(first: Mapping[int, float], second: Mapping[int, float]) -> Difference:
    """Compare the values of two sets of runs by seed.

    Runs with the same seeds are compared in pairs (Student 1908): what a seed does to both cancels out. Others by
    Welch's test (Welch 1947), whose degrees of freedom follow from both spreads.
    """
    one, two = list(first.values()), list(second.values())
    # Nor is anything said of numbers whose squares are beyond float64, as perplexities of a lost run may be.
    if not one or not two or not all(abs(value) < LARGEST for value in one + two):
        return NOTHING
    value, is_paired = _mean(two) - _mean(one), first.keys() == second.keys()
    if is_paired:
        each = [second[seed] - first[seed] for seed in sorted(first)]
        variance, freedom = _variance(each) / len(each), len(each) - 1.0
    else:
        parts = [_variance(values) / len(values) for values in (one, two)]
        variance = sum(parts)
        freedom = _welch(parts, variance, (len(one), len(two)))
    # A variance that is but rounding is no spread to judge by.
    if freedom < 1 or math.sqrt(variance) <= ROUNDING * max(abs(_mean(one)), abs(_mean(two))):
        return Difference(value, math.nan, math.nan, math.nan, is_paired)
    return _judge(value, math.sqrt(variance), freedom, is_paired=is_paired)


def _welch(parts: Sequence[float], variance: float, counts: Sequence[int]) -> float:
    """Degrees of freedom of a difference of two means with these variances; 0 where there are none."""
    if min(counts) < 2 or variance == 0:
        return 0.0
    return 1 / sum((part / variance) ** 2 / (count - 1) for part, count in zip(parts, counts, strict=True))


def _judge(value: float, error: float, freedom: float, *, is_paired: bool) -> Difference:
    from scipy.special import stdtr, stdtrit  # type: ignore[import-untyped, unused-ignore]

    half_width = float(stdtrit(freedom, (1 + SUMMARY_CONFIDENCE) / 2)) * error
    p_value = 2 * float(stdtr(freedom, -abs(value) / error))
    return Difference(value, value - half_width, value + half_width, p_value, is_paired)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _variance(values: Sequence[float]) -> float:
    """Of one value, with count - 1 in the denominator; 0 for one value alone."""
    mean = _mean(values)
    return math.fsum((value - mean) ** 2 for value in values) / max(1, len(values) - 1)


def correct(p_values: Sequence[float]) -> list[float]:
    """Holm's correction for several tests at once (Holm 1979); nan stays nan and counts as no test.

    The chance that any true equality is called a difference stays below the level that a corrected value is held to.
    """
    order = sorted((i for i, value in enumerate(p_values) if not math.isnan(value)), key=lambda i: p_values[i])
    corrected, largest = [math.nan] * len(p_values), 0.0
    for place, i in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - place) * p_values[i]))
        corrected[i] = largest
    return corrected
