"""Confusion matrices of the chosen candidates."""

from __future__ import annotations

from collections.abc import Sequence

from headrace.figures.comparisons import Candidate, Comparison
from headrace.figures.confusions import MAX_CLASSES, MAX_COUNTED_CLASSES, MAX_PANELS, draw_confusion, sum_confusions
from headrace.sections.base import Context, Page

TITLE = "Confusion matrices"


def describe(page: Page) -> Context | None:
    """Return one chart a model for every comparison of classifiers; None where there is none."""
    comparisons: list[Context] = []
    for each in page.comparisons:
        dataset = page.datasets.get(each.dataset)
        counted = [candidate for candidate in each.best.values() if sum_confusions(candidate) is not None]
        num_classes = len(counts) if counted and (counts := sum_confusions(counted[0])) is not None else 0
        drawn = counted[:MAX_PANELS] if num_classes <= MAX_CLASSES else []
        confusions = _draw_confusions(each, drawn, dataset.class_names if dataset else ())
        if counted:
            about = {"dataset": each.dataset, "task": each.task, "num_counted": len(counted)}
            comparisons.append({**about, "num_classes": num_classes, "confusions": confusions})
    panels = [(each["dataset"], panel) for each in comparisons for panel in each["confusions"]]
    figures = [((dataset, panel["model"]), panel["spec"]) for dataset, panel in panels]
    return {"comparisons": comparisons, "figures": figures} if comparisons else None


def _draw_confusions(
    comparison: Comparison, candidates: Sequence[Candidate], class_names: Sequence[str]
) -> list[Context]:
    panels = []
    for candidate in candidates:
        counts = sum_confusions(candidate)
        if counts is not None and counts.size:
            spec = draw_confusion(counts, class_names, candidate.name, comparison.dataset)
            num_seeds = sum(run.confusion is not None for run in candidate.counted)
            has_counts = len(counts) <= MAX_COUNTED_CLASSES
            said = {"name": candidate.name, "model": candidate.model, "num_seeds": num_seeds}
            panels.append({**said, "spec": spec, "has_counts": has_counts})
    return panels
