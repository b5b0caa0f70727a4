"""How the values of every candidate lie over its seeds."""

from __future__ import annotations

import math

from headrace.figures.aggregates import MAX_DRAWN, Aggregate, draw_profile
from headrace.figures.comparisons import Comparison
from headrace.figures.numbers import format_mean, format_number
from headrace.figures.references import find_value, name_reference
from headrace.figures.spreads import Spread
from headrace.figures.theme import assign_colours
from headrace.findings.results import ReferenceResult
from headrace.judging.resampling import FEW_SEEDS, NUM_RESAMPLES, Estimate
from headrace.judging.statistics import Summary
from headrace.sections.base import Context, Page

TITLE = "Statistics"

AGGREGATED = ("rank", "iqm", "mean")
"""What is told of a model over several datasets."""


def describe(page: Page) -> Context | None:
    """Return one table of the main metric for every comparison; None where nothing was compared."""
    comparisons = [
        {
            "dataset": each.dataset,
            "task": each.task,
            "metric": each.metric,
            "split": each.split,
            "rows": [_make_row(each, spread) for spread in _describe_spreads(each, page)],
            "untrained": [row for one in each.references if (row := _make_untrained_row(each, one))],
        }
        for each in page.comparisons
    ]
    if not comparisons:
        return None
    aggregates = [_describe_aggregate(found, page) for found in page.aggregates]
    return {
        "figures": [((each["found"].task,), each["profile"]) for each in aggregates if each["profile"]],
        "comparisons": comparisons,
        "aggregates": aggregates,
        "few_seeds": FEW_SEEDS,
        "num_resamples": NUM_RESAMPLES,
    }


def _describe_spreads(comparison: Comparison, page: Page) -> list[Spread]:
    return page.describe_spreads([(one, comparison.metric, comparison.split) for one in comparison.candidates])


def _describe_aggregate(found: Aggregate, page: Page) -> Context:
    """Return the table and the profile of a task over its datasets."""
    models = [standing.model for standing in found.standings]
    names = {one.model: one.name for each in page.comparisons for one in each.best.values()}
    colours = {model: page.colours[names[model]] for model in models}
    if len(set(colours.values())) < len(models):
        colours = assign_colours(models)
    rows = [
        {
            "standing": standing,
            "num_runs": sum(map(len, standing.scores)),
            "intervals": {name: _format_interval(getattr(standing, name), 3) for name in AGGREGATED},
        }
        for standing in found.standings
    ]
    return {"found": found, "rows": rows, "profile": draw_profile(found, colours), "max_drawn": MAX_DRAWN}


def _make_row(comparison: Comparison, spread: Spread) -> Context:
    mean, deviation = format_mean(spread.summary.mean, spread.summary.standard_deviation)
    # An interval without width would say that no other seed could differ.
    agrees = spread.count > 1 and spread.summary.standard_deviation == 0
    names = ("mean", "median", "iqm")
    intervals = {name: "" if agrees else _format_interval(getattr(spread, name)) for name in names}
    is_chosen = comparison.best.get(spread.candidate.model) is spread.candidate
    return {
        "spread": spread,
        "is_chosen": is_chosen and comparison.is_swept(spread.candidate.model),
        "mean": mean,
        "deviation": deviation or "–",
        "agrees": agrees,
        "t_interval": "" if agrees else _format_interval(spread.summary),
        "intervals": intervals,
        "sample_half_width": format_number(spread.sample_half_width, 2)
        if math.isfinite(spread.sample_half_width)
        else "–",
    }


def _make_untrained_row(comparison: Comparison, reference: ReferenceResult) -> Context | None:
    """Return what a predictor without training reaches; None without a number."""
    found = find_value(reference, comparison.metric, comparison.split)
    if found is None or not math.isfinite(found.value):
        return None
    half_width = found.high / 2 - found.low / 2
    told = format_number(half_width, 2) if math.isfinite(half_width) else "–"
    return {"name": name_reference(reference), "value": found, "sample_half_width": told}


def _format_interval(found: Estimate | Summary, digits: int = 4) -> str:
    """Return both ends in brackets, "" where there are none."""
    if not math.isfinite(found.low) or not math.isfinite(found.high):
        return ""
    return f"[{format_number(found.low, digits)}, {format_number(found.high, digits)}]"
