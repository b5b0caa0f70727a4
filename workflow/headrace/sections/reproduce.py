"""The command that reruns the experiment, its settings, and what was used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from headrace.sections.base import Context, Page

TITLE = "Reproduce"


def describe(page: Page) -> Context | None:
    """Return what the results came from, and what the stages took."""
    changes = _describe_changes(page.results.repository or {})
    return {"results": page.results, "stages": _add_up_stages(page.results.steps), "changes": changes}


def _describe_changes(repository: Mapping[str, Any]) -> str:
    """Say what a commit does not hold of the folder that was at it; "" where it holds all."""
    counts = {"differ from it": repository.get("num_changed", 0), "are not in it": repository.get("num_unknown", 0)}
    verbs = {"differ from it": "differs from it", "are not in it": "is not in it"}
    return " and ".join(
        f"{count} files {what}" if count != 1 else f"1 file {verbs[what]}" for what, count in counts.items() if count
    )


def _add_up_stages(steps: Sequence[Mapping[str, Any]]) -> list[Context]:
    """Return how many artifacts each stage made, how many failed, and their seconds in all."""
    totals: dict[str, Context] = {}
    for step in steps:
        total = totals.setdefault(str(step["stage"]), {"name": step["stage"], "done": 0, "failed": 0, "seconds": 0.0})
        total["failed" if step["status"] != "done" else "done"] += 1
        total["seconds"] += step["seconds"] or 0.0
    return list(totals.values())
