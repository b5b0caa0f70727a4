"""Preprocess: fit a chain of steps on the training split, apply it to all rows, shard by shard on Dask workers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from headrace import stores
from headrace.clusters.base import ClusterSpec
from headrace.datasets.base import INPUTS
from headrace.jobs import Job, Making, Task, making
from headrace.linalg.blocks import RowBlocks
from headrace.logs import logger
from headrace.preprocessing.base import State, StepSpec
from headrace.provenance import read_manifest
from headrace.registry import restore
from headrace.workers import Workers, run_on_workers

COMPUTES = ("stores", "linalg.blocks", "linalg.svd", "preprocessing.base")
Chain = Sequence[tuple[StepSpec, State]]


def run(job: Job, cluster: ClusterSpec) -> None:
    """Make the features of a job."""
    for task in job.pending():
        with making(task) as work:
            make_features(job, task, work, cluster)


def make_features(job: Job, task: Task, work: Making, cluster: ClusterSpec) -> None:
    """Fit each step on what the steps before it leave of the training split, then apply all of them."""
    folder = task.input_folder("shards")
    manifest = read_manifest(folder)
    assert manifest is not None
    source, digests = (folder / stores.STORE).absolute(), manifest["outputs"]
    stores.check_small(source, digests)
    with cluster.open(job.place) as workers:
        chain = fit(task, source, digests, workers)
        for i, (step, state) in enumerate(chain):
            stores.save_arrays(work.folder / f"{i}-{step.kind}.safetensors", state)
        target = (work.folder / stores.STORE).absolute()
        layout = _create(source, target, digests, chain, task)
        calls = (partial(_apply_shard, source, target, layout, i, digests, chain) for i in range(layout.num_shards))
        for written in run_on_workers(workers, calls, progress="apply"):
            work.digests |= written
    stores.finish(target)
    work.digests |= stores.small_digests(target)
    work.execution["workers"] = workers.describe()
    job.workers_used.update(work.execution["workers"])


def fit(task: Task, source: Path, digests: dict[str, str], workers: Workers | None) -> Chain:
    """The steps with their states, in order."""
    rows = stores.split_rows(source, "train")
    chain: list[tuple[StepSpec, State]] = []
    for i, parameters in enumerate(task.spec["steps"]):
        step = restore("preprocessing", parameters, StepSpec)
        logger.info("fit %d of %d: %s", i + 1, len(task.spec["steps"]), step.kind)
        readers = [partial(read_block, source, part, digests, tuple(chain)) for part in blocks_of(source, rows)]
        chain.append((step, step.fit(RowBlocks(readers, workers))))
    return chain


def blocks_of(source: Path, rows: slice) -> list[slice]:
    """A range of rows cut at the borders of the shards."""
    size = stores.read_attributes(source)["layout"]["rows_per_shard"]
    starts = [rows.start, *range((rows.start // size + 1) * size, rows.stop, size)]
    return [slice(start, min(stop, rows.stop)) for start, stop in zip(starts, [*starts[1:], rows.stop], strict=True)]


def read_block(source: Path, rows: slice, digests: dict[str, str], chain: Chain) -> np.ndarray:
    """Rows of the inputs after the steps fitted so far. Runs in a worker."""
    block = np.concatenate(list(stores.read_rows(source, INPUTS, rows, digests)))
    for step, state in chain:
        block = step.apply(block, state)
    return block


def _create(source: Path, target: Path, digests: dict[str, str], chain: Chain, task: Task) -> stores.Layout:
    """An empty store for the features, with everything but the inputs as in the shards."""
    attributes = stores.read_attributes(source)
    first = read_block(source, slice(0, 1), digests, chain)
    variables = stores.read_variables(source)
    variables[INPUTS] = stores.Variable(tuple(task.spec["dims"]), first.shape[1:], str(first.dtype))
    row_bytes = sum(variable.row_bytes for variable in variables.values())
    layout = stores.choose_layout(attributes["layout"]["num_rows"], row_bytes)
    kept = {key: value for key, value in attributes.items() if key not in ("layout", "split_sizes")}
    stores.create(target, variables, layout, attributes["split_sizes"], kept)
    stores.add_coordinate(target, "source_row", stores.read_coordinate(source, "source_row"))
    return layout


def _apply_shard(
    source: Path, target: Path, layout: stores.Layout, shard: int, digests: dict[str, str], chain: Chain
) -> dict[str, str]:
    """Read, transform and write the rows of one shard. Runs in a worker."""
    rows = layout.rows(shard)
    blocks = {INPUTS: np.concatenate([read_block(source, part, digests, chain) for part in blocks_of(source, rows)])}
    for name in stores.read_variables(source).keys() - {INPUTS}:
        blocks[name] = np.concatenate(list(stores.read_rows(source, name, rows, digests)))
    return stores.write_shard(target, shard, blocks)
