"""What failed or is not there yet, and why."""

from __future__ import annotations

from headrace.figures.answers import find_broken_steps
from headrace.sections.base import Context, Page

TITLE = "Failures"


def describe(page: Page) -> Context | None:
    """Return runs without a result and steps without an artifact."""
    return {
        "num_runs": len(page.results.runs),
        "unfinished": [run for run in page.results.runs if run.status != "done"],
        "broken_steps": find_broken_steps(page.results),
    }
