"""How far those artifacts have come that are not sealed: what is told from notes alone, and asks no scheduler."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headrace.planning.artifacts import spec_path
from headrace.provenance.manifests import read_json
from headrace.running.ownership import find_living_jobs
from headrace.tries.history import Try

RUNNING, NOT_BEGUN, NOT_FINISHED = "running", "not begun", "not finished"
Key = tuple[str, str]
"""Stage and id of an artifact, or of a job."""


@dataclass(frozen=True)
class Unfinished:
    """What is known of an artifact that is not there."""

    status: str
    reason: str = ""


def find_unfinished(
    root: Path, missing: Iterable[Key], histories: Mapping[Key, Sequence[Try]]
) -> dict[Key, Unfinished]:
    """Say of each missing artifact how far it has come; `histories` are the tries of all jobs.

    An artifact that is being made has a private folder, and its job a note of a process that is not proved dead. Only
    the specs of jobs that were tried and are not done are read: those of all others tell nothing more.
    """
    wanted = set(missing)
    if not wanted:
        return {}
    living, begun = find_living_jobs(root), {path.name.partition(".")[0] for path in (root / ".attempts").glob("*.*")}
    found: dict[Key, Unfinished] = {}
    for job, tries in histories.items():
        if tries and (tries[-1]["outcome"] != "done" or job in living):
            for identity in _made_by(root, job):
                if (job[0], identity) in wanted:
                    found[job[0], identity] = _judge(tries[-1], job in living, identity in begun)
    return {key: found.get(key, Unfinished(NOT_BEGUN)) for key in wanted}


def _made_by(root: Path, job: Key) -> list[str]:
    """The artifacts that a job is to make; none where its spec is gone."""
    try:
        return [artifact["id"] for artifact in read_json(spec_path(root, *job))["artifacts"]]
    except (OSError, ValueError):
        return []


def _judge(last: Mapping[str, Any], lives: bool, is_begun: bool) -> Unfinished:
    where = f"on {last['host']}, begun at {last['start']}"
    if lives:
        begun = Unfinished(RUNNING, f"in its job {where}")
        return begun if is_begun else Unfinished(NOT_BEGUN, f"its turn has not come in its job {where}")
    if last["outcome"] == "failed":
        cause = f" ({last['cause']})" if last["cause"] else ""
        return Unfinished(NOT_FINISHED, f"its job's last try ended early{cause}: {last['message']}")
    return Unfinished(NOT_FINISHED, f"its job {where}, left no word of how it ended")
