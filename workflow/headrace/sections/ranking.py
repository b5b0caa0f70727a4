"""How well the probabilities of the chosen candidates rank: ROC and precision-recall curves."""

from __future__ import annotations

from headrace.figures.comparisons import Comparison
from headrace.figures.ranking import MAX_DRAWN, draw_tradeoffs, select_traced
from headrace.judging.ranking import MAX_TRACED_CLASSES
from headrace.sections.base import Context, Page

TITLE = "ROC and precision-recall"


def describe(page: Page) -> Context | None:
    """Return both charts for every comparison of classifiers, or why it has none; None where there is none."""
    comparisons: list[Context] = []
    figures = []
    for each in page.comparisons:
        roc = draw_tradeoffs(each, page.colours, "roc")
        recall = draw_tradeoffs(each, page.colours, "precision_recall")
        about: Context = {"dataset": each.dataset, "task": each.task}
        if roc is not None and recall is not None:
            num_traced = len(select_traced(each, "roc"))
            drawn = {"num_traced": num_traced, "num_drawn": min(num_traced, MAX_DRAWN), "roc": roc, "recall": recall}
            comparisons.append({**about, **drawn, "reason": ""})
            figures += [((each.dataset, "roc"), roc), ((each.dataset, "precision_recall"), recall)]
        elif reason := _find_reason(each):
            comparisons.append({**about, "reason": reason})
    return {"comparisons": comparisons, "figures": figures} if comparisons else None


def _find_reason(comparison: Comparison) -> str:
    """Say why classifiers have no curves, "" where no classifier was judged."""
    runs = [run for candidate in comparison.best.values() for run in candidate.finished]
    counts = next((run.confusion for run in runs if run.confusion is not None), None)
    if counts is None:
        return ""
    if len(counts) > MAX_TRACED_CLASSES:
        return f"{len(counts)} classes are too many: curves are averaged over at most {MAX_TRACED_CLASSES}."
    num_absent = int((counts.sum(axis=1) == 0).sum())
    if not num_absent:
        return ""
    of_them = "a class has" if num_absent == 1 else f"{num_absent} classes have"
    return f"Not defined: {of_them} no sample on {comparison.split}."
