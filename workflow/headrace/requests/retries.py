"""What a job asks for when Snakemake tries it again: more of what was short, and of nothing else."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from headrace.requests.limits import QUEUE_KEYS
from headrace.running.ownership import OWNER_VARIABLE
from headrace.schedulers.base import Survey
from headrace.tries.history import history_path, num_silent, raised, settle

RETRIED = ("shard", "preprocess", "train", "evaluate")


def follow_failures(
    rule: Any, asked: Mapping[str, int | str], artifacts: Path, survey: Callable[[], Survey | None]
) -> None:
    """Put functions of the number of the try in the place of the memory and the time that a rule of Snakemake asks for.

    Numbers are followed, wherever they came from; whoever wrote an expression into a profile has a wish of his own,
    which is left alone.
    """
    from snakemake.resources import Resource

    stage, _, family = rule.name.partition("_")
    if stage not in RETRIED:
        return
    queue = next((str(asked[key]) for key in QUEUE_KEYS if key in asked), "")
    for name in ("mem_mb", "runtime"):
        base = asked.get(name)
        if isinstance(base, int):
            follow = partial(_request, artifacts, stage, family, name, base, lambda: _limits(survey(), queue))
            rule.resources[name] = Resource(name, _with_attempt(follow), raw=rule.resources.get(name).raw)


def _with_attempt(follow: Callable[[Any, int], int]) -> Callable[[Any, int], int]:
    # Snakemake looks at the names of a function's parameters to know what to give it.
    def request(wildcards: Any, attempt: int) -> int:
        return follow(wildcards, attempt)

    return request


def _request(
    artifacts: Path,
    stage: str,
    family: str,
    name: str,
    base: int,
    limits: Callable[[], Mapping[str, int | None]],
    wildcards: Any,
    attempt: int,
) -> int:
    if attempt == 1:
        return base
    job = f"{family}-{wildcards.job}" if family else str(wildcards.job)
    tries = settle(history_path(artifacts, stage, job), os.environ.get(OWNER_VARIABLE, ""))
    silent = num_silent(attempt, tries)
    asked = raised(base, name, tries, stage, silent)
    # What a queue does not grant would wait for ever.
    if (most := limits().get(name)) is not None:
        asked = max(base, min(asked, most))
    if asked != base:
        why = f"; {silent} of those before ended without a word, as when memory is short" if silent else ""
        print(f"headrace: {stage} {job}: try {attempt} asks for {name}={asked} instead of {base}{why}", file=sys.stderr)
    return asked


def _limits(survey: Survey | None, queue: str) -> Mapping[str, int | None]:
    """What a queue grants at most, where it says."""
    found = (survey.queue(queue) or survey.default_queue) if survey else None
    return {"mem_mb": found.memory_mib_per_node, "runtime": found.max_runtime_min} if found else {}
