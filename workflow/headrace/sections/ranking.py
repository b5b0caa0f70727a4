"""How well the probabilities of the chosen candidates rank: ROC and precision-recall curves."""

from __future__ import annotations

from headrace.figures.ranking import MAX_DRAWN, draw_tradeoffs, select_traced
from headrace.sections.base import Context, Page

TITLE = "ROC and precision-recall"


def describe(page: Page) -> Context | None:
    """Return both charts for every comparison of classifiers that has curves; None where there is none."""
    comparisons: list[Context] = []
    figures = []
    for each in page.comparisons:
        roc = draw_tradeoffs(each, page.colours, "roc")
        recall = draw_tradeoffs(each, page.colours, "precision_recall")
        if roc is not None and recall is not None:
            num_traced = len(select_traced(each, "roc"))
            about = {"dataset": each.dataset, "task": each.task, "num_traced": num_traced}
            comparisons.append({**about, "num_drawn": min(num_traced, MAX_DRAWN), "roc": roc, "recall": recall})
            figures += [((each.dataset, "roc"), roc), ((each.dataset, "precision_recall"), recall)]
    return {"comparisons": comparisons, "figures": figures} if comparisons else None
