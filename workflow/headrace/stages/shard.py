"""Shard: a dataset becomes one Zarr store, written shard by shard by Dask workers."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace import stores
from headrace.clusters.base import ClusterSpec
from headrace.datasets.base import INPUTS, SAMPLE, TARGET, DataInfo, DatasetSpec
from headrace.errors import StageError
from headrace.jobs import Job, Making, Task, making
from headrace.logs import logger
from headrace.registry import restore
from headrace.splits import SPLITS, Division, divide, resolve_split
from headrace.workers import run_on_workers

if TYPE_CHECKING:
    import xarray as xr

COMPUTES = ("stores", "splits", "datasets.base")


def run(job: Job, cluster: ClusterSpec) -> None:
    """Make the shards of a job."""
    for task in job.pending():
        with making(task) as work:
            make_shards(job, task, work, cluster)


def make_shards(job: Job, task: Task, work: Making, cluster: ClusterSpec) -> None:
    """Open the dataset, check it, divide it and write it."""
    spec = restore("datasets", task.spec, DatasetSpec)
    info = spec.describe()
    dataset = spec.open()
    check(dataset, info, spec.kind)
    split = resolve_split(spec.split, info)
    labels = dataset[TARGET].to_numpy() if info.class_names else None
    division = divide(info.num_samples, labels, split)
    _refuse_missing_classes(labels, division, info)
    path = work.folder / stores.STORE
    layout = _create(path, dataset, info, division, spec.rows_per_shard)
    with cluster.open(job.place) as workers:
        shards = range(layout.num_shards)
        calls = (
            partial(stores.write_shard, path.absolute(), i, _rows(dataset, division.order[layout.rows(i)]))
            for i in shards
        )
        for digests in run_on_workers(workers, calls, progress="shard"):
            work.digests |= digests
    stores.finish(path)
    work.digests |= stores.small_digests(path)
    work.execution["workers"] = workers.describe()
    job.workers_used.update(work.execution["workers"])
    work.execution["shards"] = layout.num_shards
    logger.info(
        "shard %s: %d samples in %d shards by %d workers",
        task.id,
        info.num_samples,
        layout.num_shards,
        workers.num_used,
    )


def check(dataset: xr.Dataset, info: DataInfo, kind: str) -> None:
    """Hold what was loaded to what was promised. Raises StageError naming the variable and the row."""
    inputs = dataset[INPUTS]
    dims, shape = (SAMPLE, *info.dims), (info.num_samples, *info.shape)
    if inputs.dims != dims or inputs.shape != shape:
        raise StageError(f"dataset {kind}: inputs are {inputs.dims} {inputs.shape}, not {dims} {shape}")
    for name, variable in dataset.data_vars.items():
        if np.issubdtype(variable.dtype, np.floating):
            finite = np.isfinite(variable.to_numpy().reshape(info.num_samples, -1)).all(axis=1)
            if not finite.all():
                raise StageError(f"dataset {kind}: {name} of row {int(np.argmin(finite))} is not a finite number")
    if info.class_names:
        codes, most = dataset[TARGET].to_numpy(), len(info.class_names) - 1
        wrong = (codes < 0) | (codes > most)
        if wrong.any():
            row = int(np.argmax(wrong))
            raise StageError(f"dataset {kind}: target of row {row} is {codes[row]}; allowed: 0 to {most}")


def _create(
    path: Path, dataset: xr.Dataset, info: DataInfo, division: Division, rows_per_shard: int | None
) -> stores.Layout:
    variables = {
        str(name): stores.Variable(tuple(map(str, data.dims[1:])), data.shape[1:], str(data.dtype))
        for name, data in dataset.data_vars.items()
    }
    layout = stores.choose_layout(info.num_samples, sum(v.row_bytes for v in variables.values()), rows_per_shard)
    attributes: dict[str, Any] = {**dataset.attrs, "tasks": info.tasks, "class_names": info.class_names}
    stores.create(path, variables, layout, division.sizes, attributes)
    stores.add_coordinate(path, "source_row", division.order.astype(np.int64))
    return layout


def _rows(dataset: xr.Dataset, rows: np.ndarray) -> dict[str, np.ndarray]:
    chosen = dataset.isel({SAMPLE: rows})
    return {str(name): np.ascontiguousarray(data.to_numpy()) for name, data in chosen.data_vars.items()}


def _refuse_missing_classes(labels: np.ndarray | None, division: Division, info: DataInfo) -> None:
    if labels is None:
        return
    start = 0
    for name in SPLITS:
        rows = division.order[start : start + division.sizes[name]]
        missing = set(range(len(info.class_names))) - set(labels[rows].tolist())
        if missing:
            raise StageError(f"split {name} leaves class {info.class_names[min(missing)]!r} out; use by: stratified")
        start += division.sizes[name]
