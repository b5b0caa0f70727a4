"""Precision, recall and F1 of every class, of the chosen candidates."""

from __future__ import annotations

from headrace.figures.classes import MAX_CLASSES, SCORES, tabulate_classes
from headrace.sections.base import Context, Page

TITLE = "Classes"

MAX_TABLES = 24
"""Models with a table; the best ones."""


def describe(page: Page) -> Context | None:
    """Return one table a model for every comparison of classifiers; None where there is none."""
    comparisons = []
    for each in page.comparisons:
        dataset = page.datasets.get(each.dataset)
        names = dataset.class_names if dataset else ()
        tables = [
            {"name": candidate.name, "rows": rows, "num_classes": num_classes}
            for candidate in list(each.best.values())[:MAX_TABLES]
            if (rows := tabulate_classes(candidate, names))
            for num_classes in [max(len(run.confusion) for run in candidate.counted if run.confusion is not None)]
        ]
        if tables:
            comparisons.append({"dataset": each.dataset, "task": each.task, "tables": tables})
    return {"comparisons": comparisons, "scores": SCORES, "max_classes": MAX_CLASSES} if comparisons else None
