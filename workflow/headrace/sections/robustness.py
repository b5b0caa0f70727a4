"""What is left of the main metric when inputs are worse than in training."""

from __future__ import annotations

import math

from headrace.figures.comparisons import HIGHER_IS_BETTER, Comparison
from headrace.figures.numbers import format_mean
from headrace.figures.robustness import (
    MAX_DRAWN,
    draw_robustness,
    find_judged,
    find_kept,
    find_left_out,
    find_level,
    find_strengths,
)
from headrace.findings.results import CorruptionKind
from headrace.judging.statistics import Summary
from headrace.sections.base import Context, Page

TITLE = "Robustness"


def describe(page: Page) -> Context | None:
    """Return a chart and a table for every kind of corruption in every comparison; None where there is none."""
    comparisons: list[Context] = []
    for each in page.comparisons:
        kinds = [
            _describe_kind(page, each, corruption, about)
            for corruption, about in page.results.corruptions.items()
            if find_strengths(each, corruption) or find_left_out(each, corruption)
        ]
        if kinds:
            own = {"dataset": each.dataset, "task": each.task, "metric": each.metric}
            comparisons.append({**own, "is_ratio": each.metric in HIGHER_IS_BETTER, "kinds": kinds})
    figures = [
        ((each["dataset"], each["task"], kind["name"]), kind["chart"])
        for each in comparisons
        for kind in each["kinds"]
        if kind["chart"]
    ]
    return {"comparisons": comparisons, "figures": figures} if comparisons else None


def _describe_kind(page: Page, comparison: Comparison, corruption: str, about: CorruptionKind) -> Context:
    strengths = find_strengths(comparison, corruption)
    judged = find_judged(comparison, corruption)
    reads: dict[str, list[str]] = {}
    for model, what in find_left_out(comparison, corruption).items():
        reads.setdefault(what, []).append(model)
    return {
        "name": corruption,
        "about": about.about,
        "unit": about.unit,
        "needs": about.needs,
        "strengths": strengths,
        "rows": _make_rows(comparison, corruption, strengths) if strengths else [],
        "num_drawn": min(MAX_DRAWN, len(judged)),
        "chart": draw_robustness(comparison, corruption, about.unit, page.colours) if strengths else None,
        "left_out": [{"models": models, "reads": what} for what, models in reads.items()],
    }


def _make_rows(comparison: Comparison, corruption: str, strengths: list[float]) -> list[Context]:
    rows = []
    for candidate in find_judged(comparison, corruption):
        cells = []
        for strength in strengths:
            level = find_level(comparison, candidate, corruption, strength)
            seeds = [value for _, value in level.values]
            cells.append({**_format(level.summary), "seeds": seeds})
        kept = find_kept(comparison, candidate, corruption, strengths)
        is_known = math.isfinite(kept.mean)
        found = {**_format(kept), "is_known": is_known}
        if not is_known:
            found["mean"] = "–"
        elif kept.mean > 0 and comparison.metric not in HIGHER_IS_BETTER:
            found["mean"] = f"+{found['mean']}"
        rows.append({"name": candidate.name, "cells": cells, "kept": found})
    return rows


def _format(summary: Summary) -> Context:
    mean, deviation = format_mean(summary.mean, summary.standard_deviation)
    return {"mean": mean, "deviation": deviation}
