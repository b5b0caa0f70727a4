"""The command that reruns the experiment, its settings, and what was used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from headrace.sections.base import Context, Page

TITLE = "Reproduce"


def describe(page: Page) -> Context | None:
    """Return what the results came from, and what the stages took."""
    return {"results": page.results, "stages": _add_up_stages(page.results.steps)}


def _add_up_stages(steps: Sequence[Mapping[str, Any]]) -> list[Context]:
    """Return how many artifacts each stage made, how many failed, and their seconds in all."""
    totals: dict[str, Context] = {}
    for step in steps:
        total = totals.setdefault(str(step["stage"]), {"name": step["stage"], "done": 0, "failed": 0, "seconds": 0.0})
        total["failed" if step["status"] != "done" else "done"] += 1
        total["seconds"] += step["seconds"] or 0.0
    return list(totals.values())
