"""The table that `headrace plan` prints."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from headrace.planning.artifacts import Artifact, artifact_path
from headrace.planning.plan import Plan
from headrace.provenance.manifests import read_manifest

States = Mapping[tuple[str, str], str]
STAGES = ("shard", "preprocess", "train", "evaluate")
COLUMNS = ("dataset", "model", "features", "point", "seed", "run", "trained", "evaluated")


def overview(plan: Plan) -> str:
    """One line a run, then one line a stage."""
    states = find_states(plan)
    rows: list[Sequence[str]] = [COLUMNS]
    for run in plan.runs:
        point = " ".join(f"{name}={value}" for name, value in run.point.items()) or "-"
        done = (states["train", run.train.id], states["evaluate", run.evaluate.id])
        rows.append((run.dataset, run.model, run.features, point, str(run.seed), run.train.id, *done))
    widths = [max(len(row[i]) for row in rows) for i in range(len(COLUMNS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([*lines, "", *stage_lines(plan, states)])


def stage_lines(plan: Plan, states: States) -> list[str]:
    """How many artifacts and jobs each stage has, and how many artifacts are sealed."""
    jobs = Counter(job.stage for job in plan.jobs)
    lines = []
    for stage in STAGES:
        counts = Counter(state for (of, _), state in states.items() if of == stage)
        failed = f", {counts['failed']} failed" if counts["failed"] else ""
        lines.append(f"{stage}: {counts.total()} artifacts in {jobs[stage]} jobs, {counts['done']} done{failed}")
    page = plan.site.results / plan.experiment.name / "report.html"
    return [*lines, f"{len(plan.runs)} runs; the report goes to {page}"]


def find_states(plan: Plan) -> States:
    """`done`, `failed` or `-` for every artifact (stage, id)."""
    there = {stage: _names(plan.site.artifacts / stage) for stage in STAGES}
    states = {}
    for artifact in plan.artifacts:
        state = state_of(plan, artifact) if artifact.id in there[artifact.stage] else "-"
        states[artifact.stage, artifact.id] = state
    return states


def state_of(plan: Plan, artifact: Artifact) -> str:
    """`done`, `failed` or `-`."""
    manifest = read_manifest(artifact_path(plan.site.artifacts, artifact.stage, artifact.id))
    return str(manifest["status"]) if manifest and manifest["identity"] == artifact.identity else "-"


def _names(folder: Path) -> frozenset[str]:
    """What a folder holds: one look instead of one for each artifact."""
    try:
        return frozenset(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return frozenset()
