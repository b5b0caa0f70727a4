"""Every metric of every candidate and of every run."""

from __future__ import annotations

import math
from collections.abc import Sequence

from headrace.figures.charts import draw_seeds, select_shown
from headrace.figures.comparisons import (
    HIGHER_IS_BETTER,
    LOWER_IS_BETTER,
    Candidate,
    Comparison,
    find_metric,
)
from headrace.figures.numbers import format_count, format_mean, format_number
from headrace.figures.references import find_value, name_reference
from headrace.reporting.results import ReferenceResult
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
                "num_candidates": len(each.candidates),
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
        is_chosen = comparison.is_swept(candidate.model) and comparison.best.get(candidate.model) is candidate
        counts = [run.num_parameters for run in candidate.runs if run.num_parameters is not None]
        numbers: Context = {"difference": _format_difference(difference), "parameters": _format_parameters(counts)}
        seconds = [run.seconds for run in candidate.finished if run.seconds is not None]
        row = {"candidate": candidate, "cells": cells, "is_chosen": is_chosen, "is_reference": candidate is reference}
        numbers["fewest_parameters"] = min(counts, default=None)
        rows.append({**row, **numbers, "seconds": sum(seconds) / len(seconds) if seconds else None})
    untrained = [_make_untrained_row(each, comparison) for each in comparison.references]
    shown = reference if len(comparison.models) > 1 else None
    standardized = [metric for metric in comparison.metrics if metric.endswith("_standardized")]
    said = {"standardized": standardized, "has_skill": "skill" in comparison.metrics}
    return {"columns": columns, "rows": rows, "untrained": untrained, "reference": shown, **said}


def _make_untrained_row(reference: ReferenceResult, comparison: Comparison) -> Context:
    """Return what a predictor without training reaches in every column; None where that means nothing."""
    reads = f"; features {reference.features}" if reference.name == "nearest_neighbour" else ""
    cells = [find_value(reference, metric, comparison.split) for metric in comparison.metrics]
    return {"name": name_reference(reference), "about": f"{reference.about}{reads}", "cells": cells}


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
    seeds = [{"seed": run.seed, "metric": value} for run, value in candidate.values(metric, split)]
    return {
        "mean": mean,
        "value": summary.mean,
        "deviation": deviation,
        "seeds": seeds,
        "is_best": summary.mean == best,
    }


def _format_difference(difference: float) -> str:
    if not math.isfinite(difference):
        return "–"
    return ("+" if difference > 0 else "") + format_number(difference, 3)


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
    return {"columns": list(columns), "rows": rows}
