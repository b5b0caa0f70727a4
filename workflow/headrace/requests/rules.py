"""Which rule runs which jobs of a plan."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from headrace.planning.artifacts import Job
from headrace.planning.plan import Plan
from headrace.registry import list_kinds

PLAIN = ("shard", "preprocess", "evaluate")
"""Stages with one rule of their name; training has one for every family."""


def rule_of(job: Job) -> str | None:
    """The rule that runs a job; None for those that run beside the workflow and are never submitted."""
    if job.stage == "train":
        return f"train_{job.artifacts[0].spec['family']['kind']}"
    return job.stage if job.stage in PLAIN else None


def list_rules() -> tuple[str, ...]:
    """Every rule whose jobs may be submitted, in the order of the stages."""
    return ("shard", "preprocess", *(f"train_{family}" for family in list_kinds("models")), "evaluate")


def jobs_by_rule(plan: Plan) -> dict[str, list[Job]]:
    """The jobs of a plan that may be submitted."""
    found: dict[str, list[Job]] = {}
    for job in plan.jobs:
        if (rule := rule_of(job)) is not None:
            found.setdefault(rule, []).append(job)
    return {rule: found[rule] for rule in list_rules() if rule in found}


def devices_by_rule(jobs: Mapping[str, Iterable[Job]]) -> dict[str, frozenset[str]]:
    """On which devices the runs behind the jobs of a rule were planned: `cpu`, `cuda` or both."""

    def devices(job: Job) -> Iterable[str]:
        for artifact in job.artifacts:
            run: Any = artifact if job.stage == "train" else artifact.inputs.get("run")
            if run is not None:
                yield run.spec["training"]["device"]

    return {rule: frozenset(device for job in some for device in devices(job)) for rule, some in jobs.items()}
