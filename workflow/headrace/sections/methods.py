"""What was done, ready for a paper."""

from __future__ import annotations

from headrace.figures.methods import describe_methods
from headrace.sections.base import Context, Page

TITLE = "Methods"


def describe(page: Page) -> Context | None:
    """Return paragraphs and BibTeX entries; None where no run has finished."""
    methods = describe_methods(page.results, page.comparisons, page.pairs, page.aggregates)
    return {"methods": methods} if methods else None
