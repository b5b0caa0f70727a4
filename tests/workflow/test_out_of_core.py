"""Data that are far larger than the memory of all workers together are sharded, and what is written is right."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headrace.datasets.base import INPUTS, TARGET
from headrace.experiments.reading import check_experiment
from headrace.planning.artifacts import artifact_path, receipt_path
from headrace.planning.plan import Plan, Site
from headrace.provenance.manifests import read_manifest
from headrace.registry import load_kind
from headrace.sources.gathering import gather
from headrace.stores.groups import read_array
from headrace.stores.layout import STORE
from headrace.stores.reading import Store

NUM_BYTES = 2 * 10**9
WORKERS = 2
WORKER_MEMORY_MIB = 300
NUM_FEATURES = 256
DATASET: dict[str, Any] = {
    "kind": "synthetic_classification",
    "num_samples": NUM_BYTES // (4 * NUM_FEATURES),
    "num_features": NUM_FEATURES,
    "num_classes": 10,
}
TROUBLE = ("Pausing", "paused", "Restarting", "restarting", "exceeded", "Killed", "lost")
"""What Dask says of workers that need more than they have."""


@pytest.fixture
def roomy(tmp_path: Path) -> Iterator[Path]:
    """A folder that goes at once: pytest keeps those of three runs."""
    yield tmp_path
    shutil.rmtree(tmp_path)


def test_two_gigabytes_pass_through_workers_of_300_mib(roomy: Path) -> None:
    experiment = {"name": "large", "datasets": {"large": DATASET}, "models": [{"kind": "fnn"}]}
    plan = Plan(check_experiment(experiment), Site(artifacts=roomy / "artifacts", results=roomy / "results"))
    plan.write_specs()
    (job,) = (job for job in plan.jobs if job.stage == "shard")
    receipt = receipt_path(roomy / "artifacts", "shard", job.id)
    size = ["--workers", str(WORKERS), "--worker-memory-mib", str(WORKER_MEMORY_MIB)]
    done = subprocess.run(
        [sys.executable, "-m", "headrace", "shard", str(receipt), *size],
        env={**os.environ, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert not [line for line in done.stderr.splitlines() if any(word in line for word in TROUBLE)]

    (artifact,) = (artifact for artifact in plan.artifacts if artifact.stage == "shard")
    folder = artifact_path(roomy / "artifacts", "shard", artifact.id)
    manifest = read_manifest(folder)
    assert manifest is not None
    workers = manifest["execution"]["workers"]["where"]
    # The words above tell of a restart: a worker that takes another's place has its name here.
    assert [worker["worker"] for worker in workers] == ["0", "1"]
    assert sum(worker["tasks"] for worker in workers) == manifest["execution"]["shards"]
    assert all(worker["peak_memory_mib"] < WORKER_MEMORY_MIB for worker in workers), workers
    assert sum(path.stat().st_size for path in (folder / STORE / INPUTS).rglob("*")) > 0.9 * NUM_BYTES
    check_rows(folder)


def check_rows(folder: Path) -> None:
    """Some rows of every split are what the source has there."""
    manifest = read_manifest(folder)
    assert manifest is not None
    store = Store(folder / STORE, manifest["chunks"])
    spec: Any = load_kind("datasets", DATASET["kind"]).model_validate(DATASET)
    source = spec.open(folder)
    source_rows = read_array(folder / STORE, "source_row")
    assert np.array_equal(np.sort(source_rows), np.arange(source.num_rows))
    generator = np.random.default_rng(0)
    for name in ("train", "validation", "test"):
        split = store.split(name)
        start = int(generator.integers(split.start, split.stop - 2000))
        rows = slice(start, start + 2000)
        wanted = gather(source, source_rows[rows], [INPUTS, TARGET])
        assert np.array_equal(store.read(INPUTS, rows), wanted[INPUTS])
        assert np.array_equal(store.read(TARGET, rows), wanted[TARGET])
