"""What every stage does around its own work: read the spec, skip what is sealed, seal what is new, leave a receipt."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from headrace.clusters.base import Place
from headrace.errors import InputError, StageError
from headrace.logs import logger
from headrace.planning.artifacts import artifact_path, log_path, receipt_path, spec_path
from headrace.provenance.digests import artifact_digest, content_digests
from headrace.provenance.fingerprints import code_fingerprint
from headrace.provenance.manifests import (
    attempt,
    is_sealed,
    iso_time,
    publish,
    read_json,
    read_manifest,
    write_atomically,
)
from headrace.stores.writing import Written, digest_shard
from headrace.tries.stopping import NEVER, Stop

PACKAGES = ("dask", "distributed", "headrace", "numpy", "scikit-learn", "scipy", "snakemake", "torch", "xarray", "zarr")


@dataclass(frozen=True)
class Task:
    """One artifact that a job is to make."""

    root: Path
    stage: str
    id: str
    identity: str
    spec: Mapping[str, Any]
    code: str
    kinds: tuple[tuple[str, str], ...]
    inputs: Mapping[str, Mapping[str, str]]

    @property
    def folder(self) -> Path:
        """Where the artifact lies once it is sealed."""
        return artifact_path(self.root, self.stage, self.id)

    @property
    def checkpoints(self) -> Path:
        """Where unfinished work is kept for whoever continues it."""
        return self.root / ".checkpoints" / self.id

    def is_done(self) -> bool:
        """Whether it is sealed already."""
        return is_sealed(self.folder, self.identity)

    def input_folder(self, name: str) -> Path:
        """An input artifact. Raises StageError unless it is the sealed one that was planned."""
        wanted = self.inputs[name]
        folder = artifact_path(self.root, wanted["stage"], wanted["id"])
        manifest = read_manifest(folder)
        if manifest is None or manifest["identity"] != wanted["identity"]:
            raise StageError(f"{self.stage} {self.id}: its input {folder} is missing or is not the one planned")
        return folder

    def input_failed(self, name: str) -> str | None:
        """Why an input failed, or None when it did not."""
        manifest = read_manifest(self.input_folder(name))
        return manifest["reason"] if manifest and manifest["status"] == "failed" else None


@dataclass
class Making:
    """An artifact in the making: a private folder, and what its manifest will say beyond the spec."""

    folder: Path
    digests: dict[str, str] = field(default_factory=dict)
    """Digests of parts that were taken while writing, so that they need not be read again."""
    chunks: dict[str, Any] = field(default_factory=dict)
    """Digests of every chunk of every shard."""
    sources: list[dict[str, Any]] = field(default_factory=list)
    """The files that the data came from; never part of a digest."""
    execution: dict[str, Any] = field(default_factory=dict)
    """How it was made; never part of a digest."""
    failure: str | None = None

    def add(self, written: Written) -> None:
        """Note what was written to a store."""
        self.digests |= {key: digest_shard(chunks.sha256) for key, chunks in written.items()}
        self.chunks |= {key: chunks.describe() for key, chunks in written.items()}


class Job:
    """One call of a stage."""

    def __init__(self, receipt: Path, stop: Stop = NEVER, cores: int = 1, runs_per_gpu: int = 1) -> None:
        if receipt.suffix != ".ok" or receipt.parent.parent.name != ".receipts":
            raise InputError(f"{receipt}: not a receipt; it must be ARTIFACTS/.receipts/STAGE/JOB.ok")
        self.receipt = receipt
        self.stop = stop
        if runs_per_gpu < 1:
            raise InputError(f"--runs-per-gpu {runs_per_gpu}: allowed: whole numbers above 0")
        self.cores, self.runs_per_gpu = cores, runs_per_gpu
        self.workers_used: dict[str, Any] = {}
        self.root = receipt.parents[2]
        self.stage = receipt.parent.name
        self.id = receipt.stem
        path = spec_path(self.root, self.stage, self.id)
        try:
            self.spec: dict[str, Any] = read_json(path)
        except FileNotFoundError:
            raise InputError(f"{path}: no such spec; the workflow writes it when it starts") from None
        self.tasks = [
            Task(
                root=self.root,
                stage=artifact["stage"],
                id=artifact["id"],
                identity=artifact["identity"],
                spec=artifact["spec"],
                code=artifact["code"],
                kinds=tuple((group, kind) for group, kind in artifact["kinds"]),
                inputs=artifact["inputs"],
            )
            for artifact in self.spec["artifacts"]
        ]

    @property
    def place(self) -> Place:
        """What a Dask cluster may use here."""
        logs = log_path(self.root, self.stage, self.id).with_suffix(".workers")
        return Place(logs, self.root / ".secrets", f"headrace-{self.stage}", self.stop)

    def check_code(self) -> None:
        """Refuse to make an artifact with other code than its name says."""
        planned = [(task.id, task.kinds, task.code) for task in self.tasks]
        if "code" in self.spec:
            planned.append((self.id, (), self.spec["code"]))
        for name, kinds, code in planned:
            if code_fingerprint(self.stage, kinds) != code:
                raise StageError(f"{self.stage} {name}: code changed since planning; start the workflow again")

    def pending(self) -> Iterator[Task]:
        """The tasks that are not sealed yet."""
        for i, task in enumerate(self.tasks, 1):
            if task.is_done():
                logger.info("%s %d of %d: %s is sealed already", self.stage, i, len(self.tasks), task.id)
            else:
                logger.info("%s %d of %d: %s", self.stage, i, len(self.tasks), task.id)
                yield task

    def finish(self) -> None:
        """Leave the receipt."""
        write_atomically(self.receipt, f"{self.stage} {self.id}\n".encode())

    def receipt_of(self, stage: str, job: str) -> Path:
        """The receipt of another job."""
        return receipt_path(self.root, stage, job)


@contextmanager
def making(task: Task) -> Iterator[Making]:
    """Make an artifact in a private folder; it is sealed and published when the block ends without an error."""
    start = time.time()
    with attempt(task.folder) as private:
        work = Making(private)
        yield work
        parts = content_digests(private, work.digests)
        end = time.time()
        manifest = {
            "stage": task.stage,
            "id": task.id,
            "identity": task.identity,
            "status": "failed" if work.failure else "done",
            "reason": work.failure or "",
            "spec": task.spec,
            "code": task.code,
            "inputs": {name: {**wanted, "digest": _digest_of(task, name)} for name, wanted in task.inputs.items()},
            "outputs": parts,
            "chunks": work.chunks,
            "sources": work.sources,
            "digest": artifact_digest(parts),
            "execution": work.execution,
            "environment": environment(),
            "start": iso_time(start),
            "end": iso_time(end),
            "seconds": round(end - start, 3),
        }
        publish(private, task.folder, manifest)
    logger.info("%s %s: sealed in %.1f s", task.stage, task.id, end - start)


def environment() -> dict[str, Any]:
    """What the work ran on; never part of a digest."""
    return {
        "versions": versions(),
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "num_cpus": os.cpu_count(),
    }


@cache
def versions() -> dict[str, str]:
    """Of Python and of the packages that decide results; to find them takes 20 ms."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found


def _digest_of(task: Task, name: str) -> str:
    manifest = read_manifest(task.input_folder(name))
    return str(manifest["digest"]) if manifest else ""
