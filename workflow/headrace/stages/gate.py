"""Gate: the last word. It ends the workflow with an error when a run failed, after the report has shown it."""

from __future__ import annotations

from pathlib import Path

from headrace.errors import StageError
from headrace.planning.artifacts import artifact_path
from headrace.provenance.manifests import read_manifest
from headrace.running.jobs import Job

COMPUTES = ()


def run(job: Job) -> None:
    """Withdraw the receipts of failed runs and of what was built on them, so that the next call tries those again."""
    failed: dict[str, str] = {}
    withdrawn: list[Path] = []
    for batch in job.spec["jobs"]:
        reasons = {run: reason for run in batch["runs"] if (reason := _why_failed(job, run))}
        if reasons:
            failed |= reasons
            withdrawn += [job.receipt_of("train", batch["train"]), job.receipt_of("evaluate", batch["evaluate"])]
    if not failed:
        return
    for receipt in (*withdrawn, job.receipt_of("report", job.id)):
        receipt.unlink(missing_ok=True)
    total = sum(len(batch["runs"]) for batch in job.spec["jobs"])
    report = Path(job.spec["results"]) / job.spec["experiment"] / "report.html"
    lines = [f"  train {run}: {reason}" for run, reason in failed.items()]
    raise StageError("\n".join([f"{len(failed)} of {total} runs failed; {report} shows them:", *lines]))


def _why_failed(job: Job, run: str) -> str | None:
    manifest = read_manifest(artifact_path(job.root, "train", run))
    if manifest is None:
        return "missing"
    return str(manifest["reason"]) if manifest["status"] == "failed" else None
