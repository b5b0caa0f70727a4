"""What the seeds of one candidate say of one metric: where its values lie, how far apart, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from headrace.figures.comparisons import Candidate
from headrace.judging.resampling import Estimate, estimate_each
from headrace.judging.statistics import Summary

Measured = tuple[Candidate, str, str]
"""A candidate, a metric and a split."""


@dataclass(frozen=True)
class Spread:
    """One metric of one candidate on one split, over its seeds."""

    candidate: Candidate
    doubt: str
    """Why nothing is said of it; "" where something is, and all that follows is nan where not."""
    count: int
    """Seeds with a value."""
    summary: Summary
    mean: Estimate
    """As in the summary, with its bootstrap interval over the seeds."""
    median: Estimate
    iqm: Estimate
    minimum: float
    maximum: float
    sample_half_width: float
    """Half of the bootstrap interval over the samples of the split, the median over the runs: how far one run's value
    may be off because the split is finite. What another seed would change is not in it."""


def describe_spreads(wanted: Sequence[Measured]) -> list[Spread]:
    """Return the statistics of candidates; nothing is computed from runs that do not belong together."""
    doubts = [find_doubt(*each) for each in wanted]
    values = [
        [] if doubt else [value.value for _, value in candidate.values(metric, split)]
        for (candidate, metric, split), doubt in zip(wanted, doubts, strict=True)
    ]
    return [_describe(*parts) for parts in zip(wanted, doubts, values, estimate_each(values), strict=True)]


def _describe(each: Measured, doubt: str, values: Sequence[float], found: Mapping[str, Estimate]) -> Spread:
    candidate, metric, split = each
    members = candidate.values(metric, split)
    summary = candidate.summary(metric, split) if values else Summary(len(members), *[math.nan] * 5)
    halves = [value.high / 2 - value.low / 2 for _, value in members if math.isfinite(value.high - value.low)]
    return Spread(
        candidate=candidate,
        doubt=doubt,
        count=len(members),
        summary=summary,
        mean=Estimate(summary.mean, found["mean"].low, found["mean"].high),
        median=found["median"],
        iqm=found["iqm"],
        minimum=min(values, default=math.nan),
        maximum=max(values, default=math.nan),
        sample_half_width=float(np.median(halves)) if values and halves else math.nan,
    )


def find_doubt(candidate: Candidate, metric: str, split: str) -> str:
    """Return why the values of a candidate are not summed up, "" where they may be."""
    if candidate.disagreeing_seeds:
        return f"seeds whose runs do not say the same: {', '.join(map(str, candidate.disagreeing_seeds))}"
    if candidate.mixed_settings:
        return f"runs with different settings: {', '.join(candidate.mixed_settings)}"
    members = candidate.values(metric, split)
    if not members:
        return f"no run finished with {metric} on {split}"
    if not all(math.isfinite(value.value) for _, value in members):
        return "a value is not a finite number"
    return ""
