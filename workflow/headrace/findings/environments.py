"""With which software and on which machines artifacts were made, as their manifests say it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from headrace.findings.results import Environment

Manifest = Mapping[str, Any]


def intern_environments(manifests: Iterable[Manifest | None]) -> tuple[list[Environment], list[int | None]]:
    """Return every environment once, and for each manifest the place of its own; None where it tells of none.

    Of thousands of runs almost all share theirs: nothing is kept twice.
    """
    places: dict[tuple[Any, ...], int] = {}
    environments: list[Environment] = []
    found: list[int | None] = []
    for manifest in manifests:
        said = (manifest or {}).get("environment")
        if manifest is None or not said:
            found.append(None)
            continue
        execution = manifest.get("execution", {})
        rest = {name: said[name] for name in ("host", "platform", "num_cpus") if name in said}
        rest |= {name: execution[name] for name in ("device", "cuda") if execution.get(name)}
        key = (*sorted(said["versions"].items()), *sorted(rest.items()))
        if key not in places:
            places[key] = len(environments)
            environments.append(Environment(versions=said["versions"], **rest))
        found.append(places[key])
    return environments, found
