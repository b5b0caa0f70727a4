"""What runs with several seeds say together: statistics with bootstrap intervals over the seeds.

Runs are resampled with replacement within strata, one for every dataset (Agarwal et al. 2021, "Deep Reinforcement
Learning at the Edge of the Statistical Precipice", section 4.1). With fewer than about five seeds such an interval is
too narrow: a resample holds nothing that no seed has shown.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from headrace.judging.statistics import HUGE, FloatArray, percentile_interval, resample_weights

NUM_RESAMPLES = 2000

SEED = 0

FEW_SEEDS = 5
"""With fewer of them a bootstrap interval over seeds is too narrow to be believed."""

TAILS = ((1 - 0.95) / 2, 1 - (1 - 0.95) / 2)
"""Quantiles at the ends of an interval, to the bit as `percentile_interval` has them."""

TRIMMED_SHARE = 0.25
"""Of the values, at either end, that an interquartile mean leaves out."""


BLOCK_MIB = 16
"""Memory of the resamples of several sets of runs that are computed on at once."""


@dataclass(frozen=True)
class Estimate:
    """A statistic over runs and its 95 % bootstrap interval; the ends are nan where nothing can be resampled."""

    value: float
    low: float
    high: float


UNKNOWN = Estimate(math.nan, math.nan, math.nan)


def interquartile_mean(ordered: FloatArray) -> FloatArray:
    """Return the mean without the lowest and the highest quarter, rounded down, of (..., runs) ordered values.

    It is `scipy.stats.trim_mean(x, 0.25)`, as Agarwal et al. have it: of three runs or fewer it is the mean.
    """
    num_runs = ordered.shape[-1]
    cut = int(TRIMMED_SHARE * num_runs)
    return np.asarray(ordered[..., cut : num_runs - cut].mean(axis=-1))


def median(ordered: FloatArray) -> FloatArray:
    """Return the middle, or the mean of both middles, of (..., runs) ordered values."""
    num_runs = ordered.shape[-1]
    return np.asarray((ordered[..., (num_runs - 1) // 2] + ordered[..., num_runs // 2]) / 2)


def mean(ordered: FloatArray) -> FloatArray:
    """Return the mean of (..., runs) values."""
    return np.asarray(ordered.mean(axis=-1))


STATISTICS: Mapping[str, Callable[[FloatArray], FloatArray]] = MappingProxyType(
    {"mean": mean, "median": median, "iqm": interquartile_mean}
)


@lru_cache(maxsize=32)
def draw_runs(counts: tuple[int, ...], stream: int = 0) -> NDArray[np.intp]:
    """Return resamples of runs: (resamples, all runs) positions in strata of these sizes that lie one behind the other.

    Every stratum has a stream of random numbers of its own, the first one of this number, so that what is drawn of one
    doesn't depend on the others.
    """
    parts, start = [], 0
    for place, count in enumerate(counts):
        generator = np.random.Generator(np.random.PCG64([SEED, stream + place]))
        parts.append(start + generator.integers(0, count, (NUM_RESAMPLES, count)))
        start += count
    drawn = np.concatenate(parts, axis=1)
    drawn.setflags(write=False)
    return drawn


def estimate(strata: Sequence[Sequence[float]], stream: int = 0) -> dict[str, Estimate]:
    """Return every statistic over the runs of all strata together, with stratified bootstrap intervals.

    `strata` holds one sequence of values for every dataset; every run counts once. The order of runs within one changes
    nothing. Without a value, or with one that isn't finite, all is nan; without a stratum of two runs the ends are.
    """
    counts = tuple(map(len, strata))
    values = np.array([value for stratum in strata for value in sorted(stratum)], dtype=np.float64)
    if not counts or 0 in counts or not np.isfinite(values).all():
        return dict.fromkeys(STATISTICS, UNKNOWN)
    # Perplexities may be too large to be added up; and of equal values every statistic is that value to the last bit.
    scale = float(np.abs(values).max()) if np.abs(values).max() > HUGE else 1.0
    offset = values.min() / scale
    values = values / scale - offset
    resampled = np.sort(values[draw_runs(counts, stream)], axis=1) if max(counts) > 1 else None
    found = {}
    for name, statistic in STATISTICS.items():
        ends = (math.nan, math.nan) if resampled is None else percentile_interval(statistic(resampled))
        numbers = (float(statistic(np.sort(values))), *ends)
        found[name] = Estimate(*(float((number + offset) * scale) for number in numbers))
    return found


def estimate_each(sets: Sequence[Sequence[float]]) -> list[dict[str, Estimate]]:
    """Return for every set of runs what `estimate` says of it as the only stratum, to the same bits.

    Thousands of sets take a tenth of the time: those of one size share their resamples and are computed on together.
    """
    found = [dict.fromkeys(STATISTICS, UNKNOWN)] * len(sets)
    by_count: dict[int, list[int]] = {}
    for place, values in enumerate(sets):
        if values and all(map(math.isfinite, values)):
            by_count.setdefault(len(values), []).append(place)
    for count, places in by_count.items():
        rows = max(1, BLOCK_MIB * 2**20 // (8 * NUM_RESAMPLES * count))
        for start in range(0, len(places), rows):
            block = places[start : start + rows]
            ordered = np.sort(np.array([sets[place] for place in block], dtype=np.float64), axis=1)
            for place, estimates in zip(block, _estimate_rows(ordered), strict=True):
                found[place] = estimates
    return found


def _estimate_rows(ordered: FloatArray) -> list[dict[str, Estimate]]:
    """Return the statistics of every row of (sets, runs) ordered finite values."""
    num_sets, count = ordered.shape
    largest = np.abs(ordered).max(axis=1, keepdims=True)
    scale = np.where(largest > HUGE, largest, 1.0)
    offset = ordered[:, :1] / scale
    ordered = ordered / scale - offset
    ends = np.full((len(STATISTICS), 2, num_sets), math.nan)
    if count > 1:
        distinct, which = _draw_distinct(count)
        resampled = np.take(ordered, distinct, axis=1)
        for place, statistic in enumerate(STATISTICS.values()):
            ends[place] = np.quantile(np.take(statistic(resampled), which, axis=1), TAILS, axis=1)
    numbers = [np.stack([statistic(ordered), *ends[i]]) for i, statistic in enumerate(STATISTICS.values())]
    told = (np.stack(numbers) + offset[:, 0]) * scale[:, 0]
    return [
        {name: Estimate(*map(float, told[i, :, place])) for i, name in enumerate(STATISTICS)}
        for place in range(num_sets)
    ]


@lru_cache(maxsize=8)
def _draw_distinct(count: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the resamples of one stratum that differ, (distinct, runs) ordered places, and which of them each is.

    Of few runs there are few: 10 of three, 126 of five. What is drawn by ordered places from ordered values is ordered.
    """
    distinct, which = np.unique(np.sort(draw_runs((count,)), axis=1), axis=0, return_inverse=True)
    return distinct, which.ravel()


def share_interval(wins: FloatArray) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of the mean of (first runs, second runs) outcomes.

    Both sets of runs are resampled, each by itself (Agarwal et al. 2021, section 4.3); nan with fewer than two of one.
    """
    first, second = wins.shape
    if min(first, second) < 2:
        return math.nan, math.nan
    weights = [_weigh_runs(count, SEED + place) for place, count in enumerate((first, second))]
    return percentile_interval(((weights[0] @ wins) * weights[1]).sum(axis=1) / (first * second))


@lru_cache(maxsize=8)
def _weigh_runs(count: int, seed: int) -> FloatArray:
    """Return how often each run is in each resample, which is the same for all pairs of models with as many runs."""
    weights = resample_weights(count, NUM_RESAMPLES, seed)
    weights.setflags(write=False)
    return weights
