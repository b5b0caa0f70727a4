"""What the workflow makes: artifacts and the jobs that make them, and where both lie."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from headrace.provenance.fingerprints import code_fingerprint
from headrace.provenance.manifests import digest_json

Kinds = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Artifact:
    """What one stage makes in one folder, named by what makes it."""

    stage: str
    slug: str
    spec: Mapping[str, Any]
    """Its slice of the experiment."""
    inputs: Mapping[str, Artifact]
    kinds: Kinds
    """The (group, kind) whose code takes part."""

    @cached_property
    def code(self) -> str:
        """Fingerprint of the code that makes it."""
        return code_fingerprint(self.stage, self.kinds)

    @cached_property
    def identity(self) -> str:
        """SHA-256 of everything that decides its content."""
        inputs = {name: artifact.identity for name, artifact in self.inputs.items()}
        return digest_json({"stage": self.stage, "spec": self.spec, "inputs": inputs, "code": self.code})

    @cached_property
    def id(self) -> str:
        """The name of its folder."""
        return f"{self.slug}-{self.identity[:8]}"

    def describe(self) -> dict[str, Any]:
        """What the stage is told."""
        return {
            "stage": self.stage,
            "id": self.id,
            "identity": self.identity,
            "spec": self.spec,
            "code": self.code,
            "kinds": self.kinds,
            "inputs": {
                name: {"stage": artifact.stage, "id": artifact.id, "identity": artifact.identity}
                for name, artifact in self.inputs.items()
            },
        }


@dataclass(frozen=True)
class Job:
    """One call of a stage: one receipt, one log, one or more artifacts."""

    stage: str
    id: str
    artifacts: tuple[Artifact, ...]
    needs: tuple[tuple[str, str], ...]
    """(stage, id) of the jobs whose receipts it waits for."""
    extra: Callable[[], Mapping[str, Any]] = dict
    """What else its spec says; made only when it is written."""

    def describe(self) -> dict[str, Any]:
        """The content of its spec file."""
        artifacts = [artifact.describe() for artifact in self.artifacts]
        return {"stage": self.stage, "id": self.id, "needs": self.needs, "artifacts": artifacts, **self.extra()}


def batch_id(family: str, batch: Sequence[Artifact]) -> str:
    """The name of a job that makes several artifacts."""
    return f"{family}-{digest_json([artifact.id for artifact in batch])[:8]}"


def receipt_path(artifacts: Path, stage: str, job: str) -> Path:
    """What Snakemake sees of a finished job."""
    return artifacts / ".receipts" / stage / f"{job}.ok"


def spec_path(artifacts: Path, stage: str, job: str) -> Path:
    """What a job is to do."""
    return artifacts / ".specs" / stage / f"{job}.json"


def log_path(artifacts: Path, stage: str, job: str) -> Path:
    """What a job said."""
    return artifacts / ".logs" / stage / f"{job}.log"


def figures_path(artifacts: Path, job: str) -> Path:
    """The charts of a job of the stage `report`, for Snakemake, which empties a folder before its job runs again."""
    return artifacts / ".figures" / job


def artifact_path(artifacts: Path, stage: str, artifact: str) -> Path:
    """Where an artifact lies."""
    return artifacts / stage / artifact
