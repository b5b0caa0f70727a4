"""The data, how it was divided, and where it lies."""

from __future__ import annotations

from headrace.sections.base import Context, Page

TITLE = "Data and splits"


def describe(page: Page) -> Context | None:
    """Return the datasets."""
    return {"datasets": page.results.datasets}
