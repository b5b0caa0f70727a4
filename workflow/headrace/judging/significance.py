"""Whether two sets of results over seeds differ, and how sure that is when many are compared at once."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from headrace.judging.statistics import SUMMARY_CONFIDENCE, FloatArray

LARGEST = 1e150
ROUNDING = 1e-12
"""Relative error of a mean of equal numbers, and then some."""

MAX_EXACT_PAIRS = 16
"""With so many pairs all patterns of signs take 4 MiB and milliseconds; with more, some are drawn."""
NUM_PATTERNS = 19_999
"""Patterns of signs that are drawn where there are too many for all of them."""


@dataclass(frozen=True)
class Difference:
    """Of two means over seeds, second minus first; nan where it cannot be had."""

    value: float
    low: float
    """Lower end of the 95 % interval."""
    high: float
    p_value: float
    """Two-sided, of Student's t test; Welch's where nothing is paired. nan without a spread to judge by."""
    num_pairs: int
    """Seeds on whose differences it rests, which both have; 0 where it rests on all values of both."""

    @property
    def is_paired(self) -> bool:
        """Say whether it rests on the differences seed by seed."""
        return self.num_pairs > 0


@dataclass(frozen=True)
class Effect:
    """The size of a difference in standard deviations, second minus first; nan where there are none."""

    value: float
    name: str
    """`d_z`: Cohen's, of the differences in pairs; `g`: Hedges', of the values of both."""


NOTHING = Difference(math.nan, math.nan, math.nan, math.nan, num_pairs=0)
"""What can be said without values."""


def difference(first: Mapping[int, float], second: Mapping[int, float]) -> Difference:
    """Compare the values of two sets of runs by seed.

    Seeds that both have are compared in pairs (Student 1908): what a seed does to both cancels out. The others are left
    out then, as of runs that failed. Where `find_pairs` finds none, all values are compared by Welch's test (Welch
    1947), whose degrees of freedom follow from both spreads.
    """
    if not _are_numbers(first, second):
        return NOTHING
    seeds = find_pairs(first, second)
    one, two = ([values[seed] for seed in seeds or values] for values in (first, second))
    value = _mean(two) - _mean(one)
    if seeds:
        each = [b - a for a, b in zip(one, two, strict=True)]
        variance, freedom = _variance(each) / len(each), len(each) - 1.0
    else:
        parts = [_variance(values) / len(values) for values in (one, two)]
        variance = sum(parts)
        freedom = _welch(parts, variance, (len(one), len(two)))
    # A variance that is but rounding is no spread to judge by.
    if freedom < 1 or math.sqrt(variance) <= ROUNDING * max(abs(_mean(one)), abs(_mean(two))):
        return Difference(value, math.nan, math.nan, math.nan, len(seeds))
    return _judge(value, math.sqrt(variance), freedom, len(seeds))


def find_pairs(first: Collection[int], second: Collection[int]) -> list[int]:
    """Return the seeds in which two sets of runs are pairs, in order; none where all values together say more.

    These are the seeds that both have, where they are all, or two at least and more than half of either set.
    """
    shared = sorted(set(first) & set(second))
    most = max(len(first), len(second))
    return shared if len(shared) == most or (len(shared) > 1 and 2 * len(shared) > most) else []


def sign_flip_test(first: Mapping[int, float], second: Mapping[int, float]) -> float:
    """Return the two-sided p value of the mean difference of pairs by permutation; nan where nothing is paired.

    Without a difference each pair's could as well have the other sign (Fisher 1935, "The Design of Experiments",
    section 21): p is the share of the patterns of signs with a mean at least as far from 0, which supposes nothing of
    how values are distributed. Of n pairs it is never less than 2 / 2^n. Of more than `MAX_EXACT_PAIRS` pairs patterns
    are drawn, and the observed one counts among them (Phipson & Smyth 2010, "Permutation P-values Should Never Be
    Zero").
    """
    seeds = find_pairs(first, second)
    if not seeds or not _are_numbers(first, second):
        return math.nan
    each = np.array([second[seed] - first[seed] for seed in seeds])
    least = abs(float(each.sum())) - ROUNDING * max(map(abs, [*first.values(), *second.values()]))
    if len(each) > MAX_EXACT_PAIRS:
        generator = np.random.Generator(np.random.PCG64(0))
        signs = 2.0 * generator.integers(0, 2, (NUM_PATTERNS, len(each))) - 1
        return (1 + int(np.count_nonzero(np.abs(signs @ each) >= least))) / (NUM_PATTERNS + 1)
    return float(np.mean(np.abs(_all_signs(len(each)) @ each) >= least))


@lru_cache(maxsize=2)
def _all_signs(count: int) -> FloatArray:
    """Return half of all patterns of signs, (patterns, count): the other half are their opposites."""
    flipped = (np.arange(2 ** (count - 1))[:, None] >> np.arange(count)) & 1
    signs = 1 - 2 * flipped.astype(np.float64)
    signs.setflags(write=False)
    return signs


def effect_size(first: Mapping[int, float], second: Mapping[int, float]) -> Effect:
    """Return by how many standard deviations two sets of runs differ.

    In pairs it is the mean difference over the standard deviation of the differences (Cohen 1988, "Statistical Power
    Analysis for the Behavioral Sciences", d_z). Otherwise it is the difference of the means over the pooled standard
    deviation, corrected for small samples (Hedges 1981, "Distribution Theory for Glass's Estimator of Effect Size").
    """
    seeds = find_pairs(first, second)
    name = "d_z" if seeds else "g"
    if not _are_numbers(first, second) or min(len(first), len(second)) < 2:
        return Effect(math.nan, name)
    one, two = ([values[seed] for seed in seeds or values] for values in (first, second))
    value = _mean(two) - _mean(one)
    freedom = len(one) + len(two) - 2
    if seeds:
        variance = _variance([b - a for a, b in zip(one, two, strict=True)])
    else:
        variance = sum((len(values) - 1) * _variance(values) for values in (one, two)) / freedom
    if math.sqrt(variance) <= ROUNDING * max(abs(_mean(one)), abs(_mean(two))):
        return Effect(math.nan, name)
    # Logarithms, since the gamma function of many runs is beyond float64.
    logarithm = math.lgamma(freedom / 2) - math.lgamma((freedom - 1) / 2) - math.log(freedom / 2) / 2
    return Effect(value / math.sqrt(variance) * (1.0 if seeds else math.exp(logarithm)), name)


def _are_numbers(first: Mapping[int, float], second: Mapping[int, float]) -> bool:
    return bool(first and second) and all(abs(value) < LARGEST for value in [*first.values(), *second.values()])


def _welch(parts: Sequence[float], variance: float, counts: Sequence[int]) -> float:
    """Degrees of freedom of a difference of two means with these variances; 0 where there are none."""
    if min(counts) < 2 or variance == 0:
        return 0.0
    return 1 / sum((part / variance) ** 2 / (count - 1) for part, count in zip(parts, counts, strict=True))


def _judge(value: float, error: float, freedom: float, num_pairs: int) -> Difference:
    from scipy.special import stdtr, stdtrit  # type: ignore[import-untyped, unused-ignore]

    half_width = float(stdtrit(freedom, (1 + SUMMARY_CONFIDENCE) / 2)) * error
    p_value = 2 * float(stdtr(freedom, -abs(value) / error))
    return Difference(value, value - half_width, value + half_width, p_value, num_pairs)


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
