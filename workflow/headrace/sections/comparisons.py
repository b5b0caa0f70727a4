"""Every model against the baseline."""

from __future__ import annotations

from headrace.judging.significance import MAX_EXACT_PAIRS
from headrace.sections.base import Context, Page

TITLE = "Against the baseline"


def describe(page: Page) -> Context | None:
    """Return the pairs of every comparison whose baseline has a result; None where there is none."""
    comparisons = [
        {"dataset": each.dataset, "task": each.task, "metric": each.metric, "split": each.split, "pairs": pairs}
        for each, pairs in zip(page.comparisons, page.pairs, strict=True)
        if pairs
    ]
    return {"comparisons": comparisons, "max_exact_pairs": MAX_EXACT_PAIRS} if comparisons else None
