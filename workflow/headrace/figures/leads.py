"""Whether the model with the best mean is the best one: ahead of all others, over the seeds and over the samples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from headrace.figures.claims import MAX_NAMES, Interval, bound_differences, holds, is_known, name_samples, say_interval
from headrace.figures.comparisons import Candidate, Comparison
from headrace.figures.numbers import format_number
from headrace.figures.words import join_some

MAX_NAMED = 4
"""Models that a headline names."""


@dataclass(frozen=True)
class Lead:
    """The model with the best mean beside all others, which are sorted by what stands in its way."""

    winner: Candidate
    unplaced: tuple[Candidate, ...]
    """Those without an interval, the winner perhaps among them."""
    overlapping: tuple[Candidate, ...]
    """Those whose interval overlaps the winner's."""
    turned: tuple[tuple[Candidate, float, Interval], ...]
    """Those that other samples could put in front, each with the lead and its interval over the samples."""
    held: tuple[tuple[Candidate, float, Interval], ...]
    """Those that are behind on other samples too; where nobody kept resamples the interval is nan."""


def find_lead(comparison: Comparison, best: Sequence[Candidate]) -> Lead:
    """Hold the first of several ranked candidates against the others.

    Over the seeds it is ahead of another one when the 95 % intervals of both means don't overlap. That is stricter than
    a test of the difference (Schenker & Gentleman 2001, "On Judging the Significance of Differences by Examining the
    Overlap Between Confidence Intervals"): it errs towards "no clear difference". Over the samples the interval of
    their difference must leave out 0.
    """
    winner, *others = best
    intervals = {candidate: candidate.interval(comparison.metric, comparison.split) for candidate in best}
    unplaced = [candidate for candidate in best if any(map(math.isnan, intervals[candidate]))]
    placed = [] if winner in unplaced else [candidate for candidate in others if candidate not in unplaced]
    overlapping = [candidate for candidate in placed if not _are_apart(intervals[winner], intervals[candidate])]
    apart = [candidate for candidate in placed if candidate not in overlapping]
    leads = _measure_leads(comparison, winner, apart)
    turned = [each for each in leads if is_known(each[2]) and not holds(each[1], each[2])]
    held = [each for each in leads if each not in turned]
    return Lead(winner, tuple(unplaced), tuple(overlapping), tuple(turned), tuple(held))


def _are_apart(first: Interval, second: Interval) -> bool:
    return first[1] < second[0] or second[1] < first[0]


def _measure_leads(
    comparison: Comparison, winner: Candidate, others: Sequence[Candidate]
) -> list[tuple[Candidate, float, Interval]]:
    """By how much the winner is better than each, as a positive number, with its interval over the samples."""
    metric, split = comparison.metric, comparison.split
    runs = [[run for run, _ in candidate.values(metric, split)] for candidate in (winner, *others)]
    found = bound_differences(split, [(other, runs[0]) for other in runs[1:]])
    sign = -1 if comparison.lower_is_better else 1
    top = winner.summary(metric, split).mean
    return [
        (other, sign * (top - other.summary(metric, split).mean), _turn(interval, sign))
        for other, interval in zip(others, found, strict=True)
    ]


def _turn(interval: Interval, sign: int) -> Interval:
    return interval if sign > 0 else (-interval[1], -interval[0])


def say_lead(comparison: Comparison, lead: Lead) -> tuple[str, list[str], bool]:
    """Return the headline, what stands behind it, and whether there is a clear winner."""
    winner = lead.winner
    sentences = [*_say_unplaced(comparison, lead), *_say_overlap(comparison, lead), *_say_turned(comparison, lead)]
    tied = [*lead.overlapping, *(candidate for candidate, *_ in lead.turned)]
    if tied or not lead.held:
        # Where nothing can be told of any other model, each of them may be as good.
        names = [c.model for c in comparison.best.values() if c is winner or c in tied or not tied]
        return f"No clear difference between {join_some(names, MAX_NAMED)}.", sentences, False
    over_seeds = (
        f"The {_name_intervals(comparison, [winner, *(candidate for candidate, *_ in lead.held)])} don't overlap"
    )
    nearest, value, interval = lead.held[0]
    if not all(is_known(each[2]) for each in lead.held):
        unknown = "what other samples would change is not known, since no bootstrap resamples were kept"
        headline, said = f"{winner.model} is best on {name_samples(comparison)}.", f"{over_seeds}; {unknown}."
    else:
        told = f"the lead over {nearest.name} is {format_number(value, 3)}"
        headline = f"{winner.model} is best."
        said = f"{over_seeds}, and {told} (95 % interval over the samples {say_interval(interval)})."
    if lead.unplaced:
        headline = f"{headline.rstrip('.')}, of the models that can be placed."
    return headline, [said, *sentences], not lead.unplaced


def _say_unplaced(comparison: Comparison, lead: Lead) -> list[str]:
    """Say of which models there is no interval, and why."""
    counts = {candidate: candidate.summary(comparison.metric, comparison.split).count for candidate in lead.unplaced}
    single = [candidate.name for candidate, count in counts.items() if count == 1]
    equal = [candidate.name for candidate, count in counts.items() if count > 1]
    said = []
    if single:
        has = "has" if len(single) == 1 else "have"
        said.append(f"One seed can't tell a difference from chance, and {join_some(single, MAX_NAMES)} {has} no more.")
    if equal:
        who = f"{join_some(equal, MAX_NAMES)} {'has' if len(equal) == 1 else 'each have'}"
        lacking = "there is no bootstrap interval over the samples: nothing says how sure that is."
        said.append(f"{who} the same value for all seeds, and {lacking}")
    return said


def _say_overlap(comparison: Comparison, lead: Lead) -> list[str]:
    if not lead.overlapping:
        return []
    names = join_some([candidate.name for candidate in lead.overlapping], MAX_NAMES)
    kind = _name_intervals(comparison, [lead.winner, *lead.overlapping])
    if len(lead.overlapping) == 1:
        return [f"The {kind} of {lead.winner.name} and of {names} overlap."]
    return [f"The {kind} of {names} overlap that of {lead.winner.name}."]


def _say_turned(comparison: Comparison, lead: Lead) -> list[str]:
    if not lead.turned:
        return []
    (nearest, value, interval), *others = lead.turned
    also = f", as that over {join_some([candidate.name for candidate, *_ in others], MAX_NAMES)}" if others else ""
    return [
        f"Other samples than {name_samples(comparison)} could turn the lead of {lead.winner.name} over {nearest.name}, "
        f"{format_number(value, 3)} (95 % interval over the samples {say_interval(interval)}){also}."
    ]


def _name_intervals(comparison: Comparison, candidates: Sequence[Candidate]) -> str:
    """Say what the intervals that were compared are of."""
    if all(each.summary(comparison.metric, comparison.split).standard_deviation > 0 for each in candidates):
        return "95 % intervals over the seeds"
    return "intervals (95 % over the seeds; over the samples where all seeds agree)"
