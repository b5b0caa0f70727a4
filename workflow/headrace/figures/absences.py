"""Why a model has no place among those that are compared."""

from __future__ import annotations

import math

from headrace.figures.comparisons import Comparison
from headrace.figures.spreads import find_doubt


def explain_absence(comparison: Comparison, model: str) -> str:
    """Return why a model of a comparison is not among the best ones, as what could stand in parentheses."""
    candidates = [candidate for candidate in comparison.candidates if candidate.model == model]
    if not any(candidate.finished for candidate in candidates):
        return "no run finished"
    for split in dict.fromkeys([comparison.split, comparison.selection_split]):
        values = [value.value for each in candidates for _, value in each.values(comparison.metric, split)]
        if not values:
            return f"no run finished with {comparison.metric} on {split}"
        if broken := sum(not math.isfinite(value) for value in values):
            verb = "is no finite number" if broken == 1 else "are no finite numbers"
            return f"{broken} of {len(values)} values of {comparison.metric} on {split} {verb}"
    doubts = [find_doubt(candidate, comparison.metric, comparison.split) for candidate in candidates]
    return next(filter(None, doubts), f"its mean {comparison.metric} is no finite number")


def say_missing_baseline(comparison: Comparison, baseline: str | None) -> str:
    """Return why nothing is compared with the baseline, or "" where something is, or nobody asked."""
    if baseline is None or baseline not in comparison.models or len(comparison.models) < 2 or not comparison.best:
        return ""
    where = f"On {comparison.dataset} ({comparison.task})"
    if baseline not in comparison.best:
        return f"{where} no model is compared with the baseline {baseline} ({explain_absence(comparison, baseline)})."
    if len(comparison.best) > 1:
        return ""
    return f"{where} no other model has a result to compare with the baseline {baseline}."
