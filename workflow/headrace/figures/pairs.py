"""Every model against the baseline: how large the difference is, how sure, and what may be said of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from headrace.figures.claims import DIRECTIONS, Interval, bound_differences, holds, is_known, say_many, say_pair
from headrace.figures.comparisons import HIGHER_IS_BETTER, LOWER_IS_BETTER, Candidate, Comparison
from headrace.findings.results import RunResult
from headrace.judging.resampling import share_interval
from headrace.judging.significance import (
    NOTHING,
    ROUNDING,
    Difference,
    Effect,
    correct,
    difference,
    effect_size,
    find_pairs,
    sign_flip_test,
)
from headrace.judging.statistics import FloatArray

LEVEL = 0.05
"""A corrected p value above it lets no difference be claimed."""

MAX_SENTENCES = 12
"""Models with a sentence each; of more those of which the same is claimed share one."""


@dataclass(frozen=True)
class Pair:
    """The chosen candidate of a model beside that of the baseline, on the split that answers the question."""

    candidate: Candidate
    baseline: Candidate
    difference: Difference
    """Of the means of the main metric, candidate minus baseline."""
    p_value: float
    """Corrected for all models that are compared with the baseline."""
    flip_p_value: float
    """The same by flipping signs, corrected too; nan where nothing is paired or the differences have no spread."""
    samples: Interval
    """95 %, of the difference over the test samples, the seeds as they are; nan where nobody kept resamples."""
    effect: Effect
    probability: float
    """That a run of the candidate is better than one of the baseline, ties counted half; nan without runs."""
    probability_interval: tuple[float, float]
    """95 %, by resampling the seeds of both; nan with fewer than two of either."""
    most_seeds: int
    """Of the candidate or the baseline, whichever has more; 0 where one has none."""
    verdict: str
    """What the seeds let be claimed."""
    sentence: str
    """What they let be claimed together with the samples."""


def pair_with(comparison: Comparison, baseline: str | None) -> list[Pair]:
    """Compare the best candidate of every model with the baseline's; nothing without a baseline that has a result."""
    reference = comparison.best.get(baseline or "")
    if reference is None:
        return []
    others = [candidate for candidate in comparison.best.values() if candidate is not reference]
    values = [(by_seed(comparison, reference), by_seed(comparison, other)) for other in others]
    found = [difference(one, two) if one and two else NOTHING for one, two in values]
    corrected = correct([each.p_value for each in found])
    flipped = correct(
        [
            math.nan if math.isnan(each.p_value) else sign_flip_test(one, two)
            for each, (one, two) in zip(found, values, strict=True)
        ]
    )
    runs = [_pair_runs(comparison, reference, other, *each) for other, each in zip(others, values, strict=True)]
    samples = bound_differences(comparison.split, runs)
    verdicts = [
        judge(comparison.metric, *both, each, p_value)
        for both, each, p_value in zip(values, found, corrected, strict=True)
    ]
    return [
        Pair(
            candidate=other,
            baseline=reference,
            difference=each,
            p_value=p_value,
            flip_p_value=flip_p_value,
            samples=interval,
            effect=effect_size(one, two),
            probability=probability_of_improvement(comparison.metric, one, two),
            probability_interval=interval_of_improvement(comparison.metric, one, two),
            most_seeds=max(len(one), len(two)) if one and two else 0,
            verdict=verdict,
            sentence=say_pair(comparison, reference, other, verdict, each, interval),
        )
        for other, (one, two), each, p_value, flip_p_value, interval, verdict in zip(
            others, values, found, corrected, flipped, samples, verdicts, strict=True
        )
    ]


def _pair_runs(
    comparison: Comparison, reference: Candidate, other: Candidate, one: Mapping[int, float], two: Mapping[int, float]
) -> tuple[list[RunResult], list[RunResult]]:
    """The runs on which a difference rests: those of the seeds in which both are pairs, or all."""
    seeds = find_pairs(one, two)
    first, second = (
        [run for run, _ in candidate.values(comparison.metric, comparison.split) if run.seed in (seeds or values)]
        for candidate, values in ((reference, one), (other, two))
    )
    return first, second


def say_pairs(comparison: Comparison, pairs: Sequence[Pair]) -> list[str]:
    """Return a sentence for every pair, or for all of which the same is claimed where there are many."""
    if len(pairs) <= MAX_SENTENCES:
        return [pair.sentence for pair in pairs]
    alike: dict[tuple[str, bool, bool], list[Pair]] = {}
    for pair in pairs:
        rests_on_samples = pair.verdict in DIRECTIONS and is_known(pair.samples)
        held = rests_on_samples and holds(pair.difference.value, pair.samples)
        alike.setdefault((pair.verdict, rests_on_samples, held), []).append(pair)
    return [
        say_many(
            comparison,
            members[0].baseline,
            [pair.candidate.name for pair in members],
            verdict,
            members[0].difference.value,
            members[0].samples,
        )
        for (verdict, *_), members in alike.items()
    ]


def by_seed(comparison: Comparison, candidate: Candidate) -> dict[int, float]:
    """The main metric for every seed."""
    return {run.seed: value.value for run, value in candidate.values(comparison.metric, comparison.split)}


def judge(metric: str, one: Mapping[int, float], two: Mapping[int, float], found: Difference, p_value: float) -> str:
    """What may be claimed of the second beside the first, from values by seed and a corrected p value."""
    if one and one == two:
        return "the same, seed by seed"
    if math.isnan(found.value):
        return "cannot be compared: a value is missing or is not a number"
    if math.isnan(found.p_value):
        if len(one) < 2 or len(two) < 2:
            return "one seed cannot tell a difference from chance"
        if abs(found.value) <= ROUNDING * max(map(abs, [*one.values(), *two.values()])):
            return "the same for every seed"
        if all(_are_equal(list(values.values())) for values in (one, two)):
            return "differs by the same for every seed, and neither has a spread over the seeds to test against"
        return "the differences happen to be the same for every seed: no test can be made"
    if p_value > LEVEL:
        return "no difference can be claimed"
    if metric not in LOWER_IS_BETTER | HIGHER_IS_BETTER:
        return "larger" if found.value > 0 else "smaller"
    return "better" if (found.value < 0) == (metric in LOWER_IS_BETTER) else "worse"


def probability_of_improvement(metric: str, one: Mapping[int, float], two: Mapping[int, float]) -> float:
    """How often a run of the second is better than one of the first, ties counted half (Agarwal et al. 2021,
    "Deep Reinforcement Learning at the Edge of the Statistical Precipice"); the Mann-Whitney statistic as a share.
    """
    wins = _find_wins(metric, one, two)
    return float(wins.mean()) if wins.size else math.nan


def interval_of_improvement(metric: str, one: Mapping[int, float], two: Mapping[int, float]) -> tuple[float, float]:
    """The 95 % bootstrap interval of the probability of improvement; nan where there is none."""
    wins = _find_wins(metric, one, two)
    return share_interval(wins) if wins.size else (math.nan, math.nan)


def _find_wins(metric: str, one: Mapping[int, float], two: Mapping[int, float]) -> FloatArray:
    """(runs of the first, runs of the second): 1 where the second is better, 1/2 where none is; empty if undecided."""
    first, second = (np.array(list(values.values()), dtype=np.float64) for values in (one, two))
    has_direction = metric in LOWER_IS_BETTER | HIGHER_IS_BETTER
    if not has_direction or np.isnan(first).any() or np.isnan(second).any():
        return np.empty((0, 0))
    sign = -1.0 if metric in LOWER_IS_BETTER else 1.0
    pairs = (sign * second[None, :], sign * first[:, None])
    return np.greater(*pairs) + np.equal(*pairs) / 2


def _are_equal(values: Sequence[float]) -> bool:
    return max(values) - min(values) <= ROUNDING * max(map(abs, values))
