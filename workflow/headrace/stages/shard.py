"""Shard: a dataset becomes one Zarr store, written shard by shard by Dask workers that read the source themselves."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from headrace.blocks import offsets_of
from headrace.clusters.base import ClusterSpec
from headrace.datasets.base import INPUTS, SPLIT_KEY, TARGET, DataInfo, DatasetSpec, Source
from headrace.errors import InputError
from headrace.experiments.splits import Division, divide, resolve_split
from headrace.logs import logger
from headrace.registry import restore
from headrace.running.jobs import Job, Making, Task, making
from headrace.running.workers import run_on_workers
from headrace.sources.gathering import write_rows, write_steps
from headrace.sources.library import Library, refuse_missing_classes
from headrace.stores import groups
from headrace.stores.layout import STORE, Layout, choose_layout
from headrace.stores.writing import Written, read_value_layout

COMPUTES = (
    "blocks",
    "datasets.base",
    "experiments.splits",
    "sources.files",
    "sources.gathering",
    "sources.library",
    "sources.xarrays",
    "stores.arrays",
    "stores.groups",
    "stores.layout",
    "stores.reading",
    "stores.shards",
    "stores.writing",
)


def run(job: Job, cluster: ClusterSpec) -> None:
    """Make the shards of a job."""
    for task in job.pending():
        spec = restore("datasets", {key: value for key, value in task.spec.items() if key != "content"}, DatasetSpec)
        library = Library(job.root)
        with making(task) as work:
            make_shards(job, task, work, spec, library, cluster)
        library.remember(spec, task.folder, task.identity)


def make_shards(job: Job, task: Task, work: Making, spec: DatasetSpec, library: Library, cluster: ClusterSpec) -> None:
    """Open the dataset, divide it, and have it written."""
    scratch = (work.folder / ".scratch").absolute()
    scratch.mkdir()
    try:
        source, survey = library.open(spec, scratch, task.spec.get("content"))
        _check(source, survey.info, spec.kind)
        division = _divide(source, spec, survey.info, survey.index)
        path = (work.folder / STORE).absolute()
        _create(path, source, survey.info, division, spec.rows_per_shard)
        with cluster.open(job.place) as workers:
            for written in run_on_workers(workers, _calls(path, source, division, scratch), progress="shard"):
                work.add(written)
        groups.finish(path)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    work.digests |= groups.small_digests(path)
    work.sources = library.files_of(spec)
    work.execution["workers"] = workers.describe()
    job.workers_used.update(work.execution["workers"])
    work.execution["shards"] = groups.read_layout(path).num_shards
    logger.info(
        "shard %s: %d samples in %d shards by %d workers",
        task.id,
        survey.info.num_samples,
        work.execution["shards"],
        workers.num_used,
    )


def _calls(path: Path, source: Source, division: Division, scratch: Path) -> Iterator[Callable[[], Written]]:
    """One call for every shard of rows, and one for every shard of a ragged variable's values."""
    order, places = scratch / "order.npy", scratch / "places.npy"
    np.save(order, division.order)
    if source.square:
        where = np.empty_like(division.order)
        where[division.order] = np.arange(len(where))
        np.save(places, where)
    layout = groups.read_layout(path)
    for shard in range(layout.num_shards):
        yield partial(write_rows, path, shard, source, division.order[layout.rows(shard)], places)
    for name, variable in source.variables.items():
        if variable.layout == "ragged":
            for shard in range(read_value_layout(path, name, variable).num_shards):
                yield partial(write_steps, path, name, shard, source, order)


def _check(source: Source, info: DataInfo, kind: str) -> None:
    """Hold what was opened to what was promised. Raises InputError."""
    found = source.variables.get(INPUTS)
    if found is None or source.num_rows != info.num_samples:
        raise InputError(f"dataset {kind}: {source.num_rows} rows of {INPUTS}, not {info.num_samples}")
    promised = (info.layout, info.dims, info.shape, info.dtype)
    opened = (found.layout, found.dims, found.shape, found.dtype)
    if opened != promised:
        raise InputError(f"dataset {kind}: inputs are {opened}, not {promised}")


def _divide(source: Source, spec: DatasetSpec, info: DataInfo, index: Any) -> Division:
    split = resolve_split(spec.split, info)
    labels = None
    if info.class_names:
        labels = index[TARGET] if TARGET in index else source.column(TARGET)
        _check_codes(labels, info)
    division = divide(info.num_samples, labels, split, index.get(SPLIT_KEY))
    try:
        refuse_missing_classes(labels, division.order, division.sizes, info)
    except ValueError as error:
        raise InputError(str(error)) from None
    return division


def _check_codes(codes: np.ndarray, info: DataInfo) -> None:
    most = len(info.class_names) - 1
    wrong = (codes < 0) | (codes > most)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise InputError(f"target of row {row} is {codes[row]}; allowed: 0 to {most}")


def _create(path: Path, source: Source, info: DataInfo, division: Division, rows_per_shard: int | None) -> None:
    lengths = {name: source.lengths(name) for name, v in source.variables.items() if v.layout == "ragged"}
    layout = _layout(source, info, rows_per_shard)
    offsets = {name: offsets_of(found[division.order]) for name, found in lengths.items()}
    attributes: dict[str, Any] = {**source.attributes, "tasks": info.tasks, "class_names": info.class_names}
    if info.num_codes:
        attributes["num_codes"] = info.num_codes
    groups.create(path, source.variables, layout, division.sizes, attributes, offsets)
    groups.add_array(path, "source_row", division.order.astype(np.int64), ("sample",))


def _layout(source: Source, info: DataInfo, rows_per_shard: int | None) -> Layout:
    """Rows in shards of 32 MiB, of what is stored in rows."""
    row_bytes = 0.0
    for name, variable in source.variables.items():
        if variable.layout == "dense":
            row_bytes += variable.row_bytes
        elif variable.layout == "sparse":
            stored = info.num_values / max(1, info.num_samples) if name == INPUTS else 16
            row_bytes += 8 + stored * (np.dtype(variable.dtype).itemsize + 4)
    return choose_layout(info.num_samples, row_bytes, rows_per_shard)
