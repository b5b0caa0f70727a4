"""Every model against the baseline."""

from __future__ import annotations

from headrace.figures.absences import say_missing_baseline
from headrace.figures.pairs import say_pairs
from headrace.judging.significance import MAX_EXACT_PAIRS
from headrace.sections.base import Context, Page

TITLE = "Against the baseline"


def describe(page: Page) -> Context | None:
    """Return the pairs of every comparison with the baseline, or why it has none; None where there is no baseline."""
    comparisons = [
        {
            "dataset": each.dataset,
            "task": each.task,
            "metric": each.metric,
            "split": each.split,
            "pairs": pairs,
            "sentences": say_pairs(each, pairs) if pairs else [say_missing_baseline(each, page.results.baseline)],
        }
        for each, pairs in zip(page.comparisons, page.pairs, strict=True)
        if pairs or say_missing_baseline(each, page.results.baseline)
    ]
    return {"comparisons": comparisons, "max_exact_pairs": MAX_EXACT_PAIRS} if comparisons else None
