"""The question's answer in words."""

from __future__ import annotations

from headrace.figures.answers import answer
from headrace.sections.base import Context, Page

TITLE = "Answer"


def describe(page: Page) -> Context | None:
    """Return an answer for every comparison."""
    return {
        "comparisons": [
            {"dataset": each.dataset, "task": each.task, "answer": answer(each)} for each in page.comparisons
        ]
    }
