"""The table that `headrace plan` prints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from headrace.plan import Artifact, Plan, artifact_path
from headrace.provenance import read_manifest

COLUMNS = ("dataset", "model", "features", "point", "seed", "run", "trained", "evaluated")


def overview(plan: Plan) -> str:
    """One line a run, then one line a stage."""
    rows: list[Sequence[str]] = [COLUMNS]
    for run in plan.runs:
        point = " ".join(f"{name}={value}" for name, value in run.point.items()) or "-"
        states = (state_of(plan, run.train), state_of(plan, run.evaluate))
        rows.append((run.dataset, run.model, run.features, point, str(run.seed), run.train.id, *states))
    widths = [max(len(row[i]) for row in rows) for i in range(len(COLUMNS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([*lines, "", *stage_lines(plan)])


def stage_lines(plan: Plan) -> list[str]:
    """How many artifacts and jobs each stage has, and how many artifacts are sealed."""
    jobs = Counter(job.stage for job in plan.jobs)
    lines = []
    for stage in ("shard", "preprocess", "train", "evaluate"):
        states = Counter(state_of(plan, artifact) for artifact in plan.artifacts if artifact.stage == stage)
        failed = f", {states['failed']} failed" if states["failed"] else ""
        total = sum(states.values())
        lines.append(f"{stage}: {total} artifacts in {jobs[stage]} jobs, {states['done']} done{failed}")
    return [
        *lines,
        f"{len(plan.runs)} runs; the report goes to {plan.site.results / plan.experiment.name / 'report.html'}",
    ]


def state_of(plan: Plan, artifact: Artifact) -> str:
    """`done`, `failed` or `-`."""
    manifest = read_manifest(artifact_path(plan.site.artifacts, artifact.stage, artifact.id))
    return str(manifest["status"]) if manifest and manifest["identity"] == artifact.identity else "-"
