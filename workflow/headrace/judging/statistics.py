"""Bootstrap resamples over the samples of a split, and summaries over seeds."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit  # type: ignore[import-untyped, unused-ignore]

FloatArray = NDArray[np.float64]

BLOCK_MIB = 4.0
"""Memory of one block of resample weights, small enough for a cache; a block has one resample at least."""

SUMMARY_CONFIDENCE = 0.95

HUGE = 1e300
"""Sums of a few numbers above it may be beyond float64."""


@dataclass(frozen=True)
class Summary:
    """One metric over several seeds; all but `count` and `mean` are nan for fewer than two seeds."""

    count: int
    mean: float
    standard_deviation: float
    """Of one seed, with count - 1 in the denominator."""
    standard_error: float
    """Of the mean."""
    low: float
    """Lower end of the 95 % Student t interval of the mean."""
    high: float


def resample_weight_blocks(
    num_samples: int, num_resamples: int, seed: int, *, block_mib: float = BLOCK_MIB
) -> Iterator[FloatArray]:
    """Yield how often each sample is in each bootstrap resample, in blocks of rows: (rows, samples) counts.

    A resample draws `num_samples` samples with replacement (Efron & Tibshirani 1993, "An Introduction to the
    Bootstrap", chapter 6), so that every row sums to `num_samples`. The counts are whole numbers in float64 and follow
    from `num_samples` and `seed` alone: not from the size of the blocks, and the first resamples are the same however
    many follow. Two models evaluated on the same split with the same seed meet the same resamples, which makes their
    difference a paired one.
    """
    if num_samples < 1 or num_resamples < 0:
        raise ValueError(f"cannot draw {num_resamples} resamples of {num_samples} samples")
    generator = np.random.Generator(np.random.PCG64(seed))
    max_rows = max(1, int(block_mib * 2**20) // (8 * num_samples))
    for start in range(0, num_resamples, max_rows):
        block = np.empty((min(max_rows, num_resamples - start), num_samples))
        for row in block:
            # One call a row: 2.5 times faster than Generator.multinomial, and no bits depend on where a block ends.
            row[:] = np.bincount(generator.integers(0, num_samples, num_samples), minlength=num_samples)
        yield block


def resample_weights(num_samples: int, num_resamples: int, seed: int) -> FloatArray:
    """Return all resamples at once: (resamples, samples) counts, 8 bytes each; see `resample_weight_blocks`."""
    blocks = list(resample_weight_blocks(num_samples, num_resamples, seed))
    return np.concatenate([np.empty((0, num_samples)), *blocks])


def percentile_interval(values: ArrayLike, confidence: float = 0.95) -> tuple[float, float]:
    """Return the bootstrap percentile interval of a statistic's values over the resamples (`values`: (resamples,)).

    The ends are the (1 - confidence) / 2 quantiles from below and above, interpolated linearly (Efron & Tibshirani
    1993, chapter 13).

    A nan is a resample on which the statistic is undefined. It is left out, so that the interval is conditional on
    the statistic being defined. That is sound only while such resamples are rare: when their share is above
    1 - confidence they outnumber the tails that the interval cuts off, and both ends are nan, as they are without
    any resamples.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, not {confidence}")
    array = np.asarray(values, dtype=np.float64).ravel()
    defined = array[~np.isnan(array)]
    if defined.size == 0 or array.size - defined.size > (1 - confidence) * array.size:
        return math.nan, math.nan
    tail = (1 - confidence) / 2
    low, high = np.quantile(defined, [tail, 1 - tail])
    return float(low), float(high)


def interval_around(
    value: float, values: ArrayLike, confidence: float = 0.95, *, bounds: tuple[float, float] | None = None
) -> tuple[float, float]:
    """Return a bootstrap interval that holds the plain value of the statistic; `values` are its (resamples,).

    It is the percentile interval. Of a statistic whose resamples lie to one side of the plain value, given by the
    `bounds` that it can't leave, it is the basic one, which takes off that bias where the other has it twice (Davison &
    Hinkley 1997, "Bootstrap Methods and their Application", section 5.2). Where bias or too few resamples still leave
    the value outside, the interval is made to reach it.
    """
    low, high = percentile_interval(values, confidence)
    if math.isnan(value) or math.isnan(low):
        return low, high
    if bounds is not None:
        low, high = (min(max(2 * value - end, bounds[0]), bounds[1]) for end in (high, low))
    return min(low, value), max(high, value)


def paired_intervals(differences: FloatArray, confidence: float = SUMMARY_CONFIDENCE) -> FloatArray:
    """Return the percentile interval of every row of (pairs, resamples) differences: (pairs, 2).

    In a row two statistics have met the same resamples, and their difference says what other samples would change of it
    (paired bootstrap; Koehn 2004, "Statistical Significance Tests for Machine Translation Evaluation"). What isn't
    finite is left out as in `percentile_interval`.
    """
    if differences.shape[1] and np.isfinite(differences).all():
        tail = (1 - confidence) / 2
        return np.asarray(np.quantile(differences, [tail, 1 - tail], axis=1).T)
    finite = np.where(np.isfinite(differences), differences, math.nan)
    return np.array([percentile_interval(row, confidence) for row in finite]).reshape(-1, 2)


def summarise(values: Sequence[float]) -> Summary:
    """Return mean, spread and 95 % t interval of the mean over seeds (`values`: one per seed, in any order).

    The interval speaks of new seeds on the same split; `percentile_interval` speaks of new samples for the same seed.
    Sums are exactly rounded, so the order of the seeds doesn't change a bit. A value that isn't finite leaves
    everything but the count undefined (nan).
    """
    count = len(values)
    if count == 0 or not all(map(math.isfinite, values)):
        return Summary(count, math.nan, math.nan, math.nan, math.nan, math.nan)
    mean = math.fsum(value / count for value in values) if max(map(abs, values)) > HUGE else math.fsum(values) / count
    if count == 1:
        return Summary(count, mean, math.nan, math.nan, math.nan, math.nan)
    # Perplexities may be too large to be squared.
    scale = max(1.0, *(abs(value - mean) for value in values))
    deviation = scale * math.sqrt(math.fsum(((value - mean) / scale) ** 2 for value in values) / (count - 1))
    error = deviation / math.sqrt(count)
    half_width = float(stdtrit(count - 1, (1 + SUMMARY_CONFIDENCE) / 2)) * error
    return Summary(count, mean, deviation, error, mean - half_width, mean + half_width)
