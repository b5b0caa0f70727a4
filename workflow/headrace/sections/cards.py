"""Model cards."""

from __future__ import annotations

from headrace.figures.cards import make_cards
from headrace.sections.base import Context, Page

TITLE = "Model cards"


def describe(page: Page) -> Context | None:
    """Return the cards of every comparison."""
    comparisons = [
        {"dataset": each.dataset, "task": each.task, "split": each.split, "cards": make_cards(each, page.results)}
        for each in page.comparisons
    ]
    return {"comparisons": comparisons} if comparisons else None
