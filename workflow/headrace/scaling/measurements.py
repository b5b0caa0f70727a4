"""Stages run anew with one number of workers after another, and the seconds that they took."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from headrace.errors import StageError
from headrace.planning.artifacts import Job, artifact_path, receipt_path
from headrace.planning.plan import Plan
from headrace.provenance.manifests import read_manifest

STAGES = ("shard", "preprocess")
"""Those whose work Dask workers share."""
Say = Callable[[str], None]
Seconds = dict[str, dict[str, list[float]]]
"""Stage -> number of workers -> what all its artifacts took together, for every round."""


def measure(plan: Plan, workers: Sequence[int], rounds: int, options: Sequence[str], say: Say) -> dict[str, Any]:
    """Make what the stages on Dask make, `rounds` times with every number of workers in turn.

    `plan` has a folder of artifacts of its own, from which they are taken away before each time. What is made must be
    the same each time. Raises StageError for a stage that fails, or for other digests.
    """
    jobs = [job for job in plan.jobs if job.stage in STAGES]
    seconds: Seconds = {job.stage: {str(count): [] for count in workers} for job in jobs}
    first: list[str] = []
    plan.write_specs()
    for number in range(1, rounds + 1):
        for count in workers:
            for stage in (*STAGES, ".receipts"):
                shutil.rmtree(plan.site.artifacts / stage, ignore_errors=True)
            totals, digests = dict.fromkeys(seconds, 0.0), []
            for job, manifest in _make(plan.site.artifacts, jobs, [*options, "--workers", str(count)]):
                totals[job.stage] += manifest["seconds"]
                digests.append(manifest["digest"])
            first = first or digests
            if digests != first:
                raise StageError(
                    f"round {number} with --workers {count} made something else than the first round: never rely on it"
                )
            for stage, value in totals.items():
                seconds[stage][str(count)].append(round(value, 3))
            took = ", ".join(f"{stage} {value:.2f} s" for stage, value in totals.items())
            say(f"round {number} of {rounds}, {count} worker{'' if count == 1 else 's'}: {took}")
    return {"rounds": rounds, "seconds": seconds}


def _make(root: Path, jobs: Sequence[Job], options: Sequence[str]) -> Iterator[tuple[Job, dict[str, Any]]]:
    """Call every job, and give its artifact's manifest."""
    for job in jobs:
        receipt = receipt_path(root, job.stage, job.id)
        command = [sys.executable, "-m", "headrace", job.stage, str(receipt), *options]
        done = subprocess.run(command, capture_output=True, text=True)
        manifest = read_manifest(artifact_path(root, job.stage, job.id))
        if done.returncode or manifest is None:
            said = (done.stderr or done.stdout).strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
            raise StageError(f"{job.stage} {job.id}: {said[0]}")
        yield job, manifest
