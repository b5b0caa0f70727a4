"""What is left of the main metric when inputs are worse than in training."""

from __future__ import annotations

from headrace.figures.comparisons import Comparison
from headrace.figures.numbers import format_mean
from headrace.figures.robustness import MAX_DRAWN, draw_robustness, find_level, find_strengths
from headrace.sections.base import Context, Page

TITLE = "Robustness"
NOISE = "noise"


def describe(page: Page) -> Context | None:
    """Return a chart and a table for every comparison that was judged so; None where none was."""
    comparisons = [
        {
            "dataset": each.dataset,
            "task": each.task,
            "metric": each.metric,
            "strengths": strengths,
            "rows": _make_rows(each, strengths),
            "num_drawn": min(MAX_DRAWN, len(each.best)),
            "chart": draw_robustness(each, NOISE, page.colours),
        }
        for each in page.comparisons
        if (strengths := find_strengths(each, NOISE))
    ]
    figures = [((each["dataset"], each["task"]), each["chart"]) for each in comparisons if each["chart"]]
    return {"comparisons": comparisons, "figures": figures} if comparisons else None


def _make_rows(comparison: Comparison, strengths: list[float]) -> list[Context]:
    rows = []
    for candidate in comparison.best.values():
        levels = [find_level(comparison, candidate, NOISE, strength) for strength in strengths]
        cells = []
        for level in levels:
            mean, deviation = format_mean(level.summary.mean, level.summary.standard_deviation)
            cells.append({"mean": mean, "deviation": deviation, "seeds": [value for _, value in level.values]})
        rows.append({"name": candidate.name, "cells": cells})
    return rows
