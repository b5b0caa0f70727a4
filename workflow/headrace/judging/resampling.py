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

TRIMMED_SHARE = 0.25
"""Of the values, at either end, that an interquartile mean leaves out."""


@dataclass(frozen=True)
class Estimate:
    """A statistic over runs and its 95 % bootstrap interval; the ends are nan where nothing can be resampled."""

    value: float
    low: float
    high: float


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
        return dict.fromkeys(STATISTICS, Estimate(math.nan, math.nan, math.nan))
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


def share_interval(wins: FloatArray) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of the mean of (first runs, second runs) outcomes.

    Both sets of runs are resampled, each by itself (Agarwal et al. 2021, section 4.3); nan with fewer than two of one.
    """
    first, second = wins.shape
    if min(first, second) < 2:
        return math.nan, math.nan
    weights = [resample_weights(count, NUM_RESAMPLES, SEED + place) for place, count in enumerate((first, second))]
    return percentile_interval(((weights[0] @ wins) * weights[1]).sum(axis=1) / (first * second))
