"""Every metric of every candidate and of every run."""

from __future__ import annotations

import math
from collections.abc import Sequence

from headrace.figures.comparisons import (
    HIGHER_IS_BETTER,
    LOWER_IS_BETTER,
    Candidate,
    Comparison,
    find_metric,
)
from headrace.figures.numbers import format_alike, format_count, format_mean, format_number
from headrace.figures.references import find_value, name_reference
from headrace.figures.seeds import draw_seeds, select_shown
from headrace.findings.results import MetricValue, ReferenceResult
from headrace.sections.base import Context, Page

TITLE = "Results"


def describe(page: Page) -> Context | None:
    """Return tables and the chart of seeds for every comparison."""
    seeds = [draw_seeds(each, page.colours) for each in page.comparisons]
    return {
        "figures": [
            ((each.dataset, each.task), spec) for each, spec in zip(page.comparisons, seeds, strict=True) if spec
        ],
        "comparisons": [
            {
                "dataset": each.dataset,
                "task": each.task,
                "metric": each.metric,
                "split": each.split,
                "selection_split": each.selection_split,
                "table": _make_table(each, page.results.baseline),
                "runs": _make_run_table(each),
                "seeds": spec,
                "num_measured": sum(bool(c.values(each.metric, each.split)) for c in each.candidates),
                "drawn": {name for name, rows in spec["datasets"].items() if rows} if spec else set(),
                "has_spread": any(len(candidate.finished) > 1 for candidate in each.candidates),
                "num_shown": len(select_shown(each)),
            }
            for each, spec in zip(page.comparisons, seeds, strict=True)
        ],
    }


def _make_table(comparison: Comparison, baseline: str | None) -> Context:
    """Return one row per candidate, one column per metric."""
    split, reference = comparison.split, comparison.best.get(baseline or "")
    columns = [{"name": metric, **_describe_direction(metric)} for metric in comparison.metrics]
    best = {metric: _find_best(comparison, metric) for metric in comparison.metrics}
    rows = []
    for candidate in comparison.candidates:
        mean = candidate.summary(comparison.metric, split).mean
        difference = mean - reference.summary(comparison.metric, split).mean if reference else math.nan
        cells = [_make_cell(candidate, metric, split, best[metric]) for metric in comparison.metrics]
        alike = next((cell["mean"] for cell in cells if cell["seeds"]), "")
        is_chosen = comparison.is_swept(candidate.model) and comparison.best.get(candidate.model) is candidate
        counts = [run.num_parameters for run in candidate.runs if run.num_parameters is not None]
        numbers: Context = {"difference": _format_difference(difference, alike)}
        numbers["parameters"] = _format_parameters(counts)
        seconds = [run.seconds for run in candidate.counted if run.seconds is not None]
        row = {"candidate": candidate, "cells": cells, "is_chosen": is_chosen, "is_reference": candidate is reference}
        numbers["fewest_parameters"] = min(counts, default=None)
        rows.append({**row, **numbers, "seconds": sum(seconds) / len(seconds) if seconds else None})
    untrained = [_make_untrained_row(each, comparison) for each in comparison.references]
    shown = reference if len(comparison.models) > 1 else None
    standardized = [metric for metric in comparison.metrics if metric.endswith("_standardized")]
    reads_inputs = any(each.name == "last_value" for each in comparison.references)
    about: Context = {"untrained": untrained, "reads_inputs": reads_inputs, "reference": shown}
    about |= {"standardized": standardized, "has_skill": "skill" in comparison.metrics}
    return {"columns": columns, "rows": rows, **about, "has_best": any(map(math.isfinite, best.values()))}


def _make_untrained_row(reference: ReferenceResult, comparison: Comparison) -> Context:
    """Return what a predictor without training reaches in every column; None where that means nothing."""
    reads = f"; features {reference.features}" if reference.name == "nearest_neighbour" else ""
    values = [find_value(reference, metric, comparison.split) for metric in comparison.metrics]
    cells = [{"metric": value, "interval": _format_interval(value)} for value in values]
    return {"name": name_reference(reference), "about": f"{reference.about}{reads}", "cells": cells}


def _format_interval(value: MetricValue | None) -> str:
    """Write a bootstrap interval with the decimals of its value; "" where there is none, or none that is seen."""
    if value is None or not math.isfinite(value.high - value.low):
        return ""
    low, high = (format_alike(end, format_number(value.value)) for end in (value.low, value.high))
    return f"[{low}, {high}]" if low != high else ""


def _describe_direction(metric: str) -> Context:
    if metric in LOWER_IS_BETTER:
        return {"arrow": "↓", "direction": "lower is better"}
    return (
        {"arrow": "↑", "direction": "higher is better"}
        if metric in HIGHER_IS_BETTER
        else {"arrow": "", "direction": ""}
    )


def _find_best(comparison: Comparison, metric: str) -> float:
    """Return the best mean of a metric, nan where nobody knows which way it goes or nothing is compared."""
    means = [candidate.summary(metric, comparison.split).mean for candidate in comparison.candidates]
    finite = [mean for mean in means if math.isfinite(mean)]
    if len(finite) < 2 or metric not in LOWER_IS_BETTER | HIGHER_IS_BETTER:
        return math.nan
    return min(finite) if metric in LOWER_IS_BETTER else max(finite)


def _make_cell(candidate: Candidate, metric: str, split: str, best: float) -> Context:
    summary = candidate.summary(metric, split)
    mean, deviation = format_mean(summary.mean, summary.standard_deviation)
    shown = [
        {"metric": value, "shown": format_alike(value.value, mean if summary.count else format_number(value.value))}
        for run in candidate.finished
        if (value := find_metric(run, metric, split)) is not None
    ]
    return {
        "mean": mean if summary.count else "–",
        "value": summary.mean,
        "deviation": deviation,
        "seeds": shown,
        "is_best": summary.mean == best,
    }


def _format_difference(difference: float, mean: str) -> str:
    """Write a difference with the decimals of the mean that it is of."""
    if not math.isfinite(difference):
        return "–"
    return ("+" if difference > 0 else "") + format_alike(difference, mean)


def _format_parameters(counts: Sequence[int]) -> str:
    return " to ".join(map(format_count, dict.fromkeys([min(counts), max(counts)]))) if counts else "–"


def _make_run_table(comparison: Comparison) -> Context:
    """Return one row per run, one column per metric and split."""
    members = [(candidate, run) for candidate in comparison.candidates for run in candidate.runs]
    columns = dict.fromkeys((value.metric, value.split) for _, run in members for value in run.metrics)
    rows = [
        {"candidate": candidate, "run": run, "values": [find_metric(run, *column) for column in columns]}
        for candidate, run in members
    ]
    has_intervals = any(math.isfinite(value.low) for _, run in members for value in run.metrics)
    return {"columns": list(columns), "rows": rows, "has_intervals": has_intervals}
