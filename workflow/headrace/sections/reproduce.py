"""The command that reruns the experiment, its settings, and what its artifacts were made with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headrace.figures.environments import describe_software, find_machines
from headrace.sections.base import Context, Page

TITLE = "Reproduce"


def describe(page: Page) -> Context | None:
    """Return what the results came from."""
    changes = _describe_changes(page.results.repository or {})
    results = page.results
    software = describe_software(results.environments, results.steps)
    return {
        "results": results,
        "changes": changes,
        "software": [
            (name, software.get(name, "not recorded"), results.versions.get(name, "–"))
            for name in dict.fromkeys([*software, *results.versions])
        ],
        "machines": find_machines(results),
    }


def _describe_changes(repository: Mapping[str, Any]) -> str:
    """Say what a commit does not hold of the folder that was at it; "" where it holds all."""
    changed, unknown = repository.get("num_changed", 0), repository.get("num_unknown", 0)
    said = [f"{changed} file{' differs' if changed == 1 else 's differ'} from it"] if changed else []
    if unknown:
        said.append("1 file or folder is not in it" if unknown == 1 else f"{unknown} files or folders are not in it")
    return " and ".join(said)
