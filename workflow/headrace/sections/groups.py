"""How good the chosen candidates are for each group of samples, and how far the groups lie apart."""

from __future__ import annotations

from headrace.figures.groups import MAX_TABLES, find_small_groups, tabulate_groups
from headrace.sections.base import Context, Page

TITLE = "Groups"

FEW = 30
"""Samples below which a share says little: its standard error may be 9 points."""


def describe(page: Page) -> Context | None:
    """Return two tables for every comparison whose dataset names groups; None where none does."""
    comparisons = []
    for each in page.comparisons:
        tables = [table for c in list(each.best.values())[:MAX_TABLES] if (table := tabulate_groups(c))]
        if tables:
            runs = [run for candidate in each.best.values() for run in candidate.counted]
            found = next(run.groups for run in runs if run.groups is not None)
            dataset = page.datasets.get(each.dataset)
            names = dataset.class_names if dataset else ()
            positive = names[1] if len(names) == 2 else None
            about = {"dataset": each.dataset, "task": each.task, "small": find_small_groups(found, FEW)}
            comparisons.append({**about, "tables": tables, "positive": positive})
    return {"comparisons": comparisons, "few": FEW} if comparisons else None
