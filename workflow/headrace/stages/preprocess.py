"""Preprocess: fit a chain of steps on the training split, apply it to all rows, shard by shard on Dask workers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from headrace import chains
from headrace.chains import Chain, Fitted
from headrace.clusters.base import ClusterSpec
from headrace.datasets.base import INPUTS, TARGET, DataInfo
from headrace.errors import StageError
from headrace.linalg.blocks import RowBlocks, Traffic
from headrace.linalg.progress import Progress
from headrace.logs import logger
from headrace.preprocessing.base import FitData, State, StepSpec
from headrace.provenance import checkpoints
from headrace.provenance.manifests import digest_file, read_json, read_manifest, write_json
from headrace.running.jobs import Job, Making, Task, making
from headrace.running.workers import Workers, run_on_workers
from headrace.stores import groups
from headrace.stores.arrays import save_arrays
from headrace.stores.groups import check_small
from headrace.stores.layout import STORE
from headrace.stores.reading import Store
from headrace.tries.stopping import NEVER, Stop

COMPUTES = (
    "blocks",
    "chains",
    "linalg.blocks",
    "linalg.centred",
    "linalg.compiled",
    "linalg.kernels",
    "linalg.matrix",
    "linalg.progress",
    "linalg.residence",
    "preprocessing.base",
    "provenance.checkpoints",
    "stores.arrays",
    "stores.groups",
    "stores.layout",
    "stores.reading",
    "stores.shards",
    "stores.writing",
)
ADJACENCY = "adjacency"
FITTED = "fitted"
LIBRARIES_MIB = 384
"""What a worker's libraries take, numba among them."""
KEPT_SHARE = 0.6
"""Of a worker's memory, for libraries and blocks that it keeps: Dask pauses a worker at 0.8."""


def run(job: Job, cluster: ClusterSpec) -> None:
    """Make the features of a job."""
    for task in job.pending():
        with making(task) as work:
            make_features(job, task, work, cluster)
        checkpoints.clear(task.checkpoints)


def make_features(job: Job, task: Task, work: Making, cluster: ClusterSpec) -> None:
    """Fit each step on what the steps before it leave of the training split, then apply all of them."""
    folder = task.input_folder("shards")
    manifest = read_manifest(folder)
    assert manifest is not None
    check_small(folder / STORE, manifest["outputs"])
    source = Store((folder / STORE).absolute(), manifest["chunks"])
    resident_mib = max(0, int(KEPT_SHARE * cluster.worker_memory_mib) - LIBRARIES_MIB)
    with cluster.open(job.place) as workers:
        chain = fit(task, source, work.folder, workers, job.stop, resident_mib)
        target = (work.folder / STORE).absolute()
        chains.create(source, target, chain, workers)
        for written in run_on_workers(workers, chains.calls(source, target, chain), progress="apply"):
            work.add(written)
    groups.finish(target)
    work.digests |= groups.small_digests(target)
    work.execution["convergence"] = _convergence(work.folder)
    work.execution["workers"] = workers.describe()
    job.workers_used.update(work.execution["workers"])


def fit(
    task: Task, source: Store, folder: Path, workers: Workers | None, stop: Stop = NEVER, resident_mib: int = 0
) -> Chain:
    """The steps in order, each with the file in `folder` that holds its state."""
    chain: list[Fitted] = []
    for i, (step, before, after) in enumerate(chains.describe(task.spec)):
        name = f"{i}-{step.kind}"
        logger.info("fit %d of %d: %s", i + 1, len(task.spec["steps"]), step.kind)
        kept = task.checkpoints / name
        state = checkpoints.load_arrays(kept / FITTED)
        if state is None or not (kept / "convergence.json").exists():
            refuse_changed(step, task.spec.get("contents", {}))
            progress = Progress(kept, stop, Traffic(), name=step.kind)
            blocks = partial(
                chains.open_blocks,
                source,
                chain=tuple(chain),
                workers=workers,
                resident_mib=resident_mib,
                step=f"{task.id}/{name}",
                traffic=progress.traffic,
            )
            state = dict(step.fit(fit_data(source, blocks, progress, before)))
            described = progress.convergence.describe() if progress.convergence else None
            write_json(kept / "convergence.json", described)
            checkpoints.save_arrays(kept / FITTED, state)
        else:
            logger.info("%s: was fitted by an earlier try", name)
        chain.append(Fitted(step, _write_state(folder, i, kept, step, state), after))
    return tuple(chain)


def refuse_changed(step: StepSpec, contents: Mapping[str, str]) -> None:
    """Raise StageError when a file that a step names holds something else than when the work was planned."""
    for file in step.files().values():
        if not file.path.is_file() or digest_file(file.path) != contents.get(file.name):
            raise StageError(f"{step.kind}: {file.name}: changed since planning; start the workflow again")


def fit_data(source: Store, blocks: Callable[..., RowBlocks], progress: Progress, info: DataInfo) -> FitData:
    """What a step may read: nothing but training rows, unless it works on a graph."""
    train, everything = source.split("train"), slice(0, source.layout.num_rows)
    return FitData(
        inputs=blocks((INPUTS,), train),
        progress=progress,
        labelled=blocks((INPUTS, TARGET), train) if TARGET in source.variables else None,
        all_inputs=blocks((INPUTS,), everything),
        adjacency=blocks((ADJACENCY,), everything) if ADJACENCY in source.variables else None,
        info=info,
    )


def _write_state(folder: Path, i: int, kept: Path, step: StepSpec, state: State) -> Path:
    """Into the artifact, where workers find it and where `chains.load_chain` finds it for other data."""
    path = chains.state_path(folder, i, step.kind)
    save_arrays(path, state)
    convergence = (kept / "convergence.json").read_bytes()
    if convergence.strip() != b"null":
        path.with_suffix(".convergence.json").write_bytes(convergence)
    return path


def _convergence(folder: Path) -> list[dict[str, Any]]:
    """What the manifest says of every iterative step."""
    said = []
    for path in sorted(folder.glob("*.convergence.json"), key=lambda path: int(path.name.partition("-")[0])):
        told = read_json(path)
        said.append({"step": path.name.removesuffix(".convergence.json"), **told, "trace": len(told["trace"])})
    return said
