"""Why a model has no place among those that are compared."""

from __future__ import annotations

import math

from headrace.figures.comparisons import Comparison
from headrace.figures.spreads import find_doubt


def explain_absence(comparison: Comparison, model: str) -> str:
    """Return why a model of a comparison is not among the best ones, as what could stand in parentheses."""
    candidates = comparison.of_model(model)
    if not any(candidate.finished for candidate in candidates):
        return "no run finished"
    doubts = [find_doubt(candidate, comparison.metric, comparison.split) for candidate in candidates]
    if not any(candidate.counted for candidate in candidates):
        return next(filter(None, doubts))
    for split in dict.fromkeys([comparison.split, comparison.selection_split]):
        values = [value.value for each in candidates for _, value in each.values(comparison.metric, split)]
        if not values:
            return f"no run finished with {comparison.metric} on {split}"
        if broken := sum(not math.isfinite(value) for value in values):
            verb = "is no finite number" if broken == 1 else "are no finite numbers"
            return f"{broken} of {len(values)} values of {comparison.metric} on {split} {verb}"
    return next(filter(None, doubts), f"its mean {comparison.metric} is no finite number")


def say_missing_baseline(comparison: Comparison, baseline: str | None) -> str:
    """Return why nothing is compared with the baseline, as a sentence; "" where something is."""
    if baseline is None or baseline not in comparison.models or len(comparison.models) < 2 or not comparison.best:
        return ""
    where = f"On {comparison.dataset} ({comparison.task})"
    if baseline not in comparison.best:
        return f"{where} no model is compared with the baseline {baseline} ({explain_absence(comparison, baseline)})."
    if len(comparison.best) > 1:
        return ""
    return f"{where} no other model has a result to compare with the baseline {baseline}."
