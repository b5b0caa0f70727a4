"""The command that reruns the experiment, and its settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headrace.sections.base import Context, Page

TITLE = "Reproduce"


def describe(page: Page) -> Context | None:
    """Return what the results came from."""
    changes = _describe_changes(page.results.repository or {})
    return {"results": page.results, "changes": changes}


def _describe_changes(repository: Mapping[str, Any]) -> str:
    """Say what a commit does not hold of the folder that was at it; "" where it holds all."""
    changed, unknown = repository.get("num_changed", 0), repository.get("num_unknown", 0)
    said = [f"{changed} file{' differs' if changed == 1 else 's differ'} from it"] if changed else []
    if unknown:
        said.append("1 file or folder is not in it" if unknown == 1 else f"{unknown} files or folders are not in it")
    return " and ".join(said)
