"""Scores by group and the gaps between groups, over the seeds of a candidate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from headrace.figures.comparisons import Candidate
from headrace.figures.numbers import format_mean
from headrace.judging.group_metrics import GroupScores
from headrace.judging.statistics import summarise

MAX_TABLES = 24
"""Models with tables; the best ones."""

Cell = dict[str, Any]


@dataclass(frozen=True)
class GroupTable:
    """What is known of one candidate."""

    name: str
    column: str
    scores: tuple[str, ...]
    """Names of the scores."""
    rows: Sequence[tuple[str, int, Sequence[Cell]]]
    """For each group: name, samples of the split, and a cell a score."""
    gaps: dict[str, Cell]


def tabulate_groups(candidate: Candidate) -> GroupTable | None:
    """Return means over the seeds and the values of each; None where nothing is known of groups."""
    found = [run.groups for run in candidate.counted if run.groups is not None]
    if not found:
        return None
    first = found[0]
    rows = [
        (
            name,
            int(first.counts[i]),
            [_make_cell([float(each.scores[score][i]) for each in found]) for score in first.scores],
        )
        for i, name in enumerate(first.names)
    ]
    gaps = {name: _make_cell([each.gaps[name] for each in found]) for name in first.gaps}
    return GroupTable(candidate.name, first.column, tuple(first.scores), rows, gaps)


def find_small_groups(found: GroupScores, least: int) -> list[str]:
    """Return the groups with fewer samples than this."""
    return [name for name, count in zip(found.names, found.counts.tolist(), strict=True) if count < least]


def _make_cell(values: Sequence[float]) -> Cell:
    """A value that is not defined for some seed leaves the mean of the others."""
    summary = summarise([value for value in values if math.isfinite(value)])
    mean, deviation = format_mean(summary.mean, summary.standard_deviation)
    return {"mean": mean if summary.count else "–", "deviation": deviation, "seeds": list(values)}
