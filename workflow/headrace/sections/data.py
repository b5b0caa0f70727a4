"""The data, how it was divided, and where it lies."""

from __future__ import annotations

from headrace.findings.results import DatasetResult
from headrace.sections.base import Context, Page

TITLE = "Data and splits"

MAX_WORKERS = 8
"""Dask workers that are named one by one."""

MAX_SHARDS = 40
"""Digests in the table of a dataset; the rest are in a file."""


def describe(page: Page) -> Context | None:
    """Return the datasets."""
    return {"datasets": [_describe(dataset) for dataset in page.results.datasets], "max_shards": MAX_SHARDS}


def _describe(dataset: DatasetResult) -> Context:
    shards = [(*name.rpartition("/")[::2], digest) for name, digest in dataset.shard_digests.items()]
    return {"found": dataset, "workers": _say_workers(dataset), "shards": shards}


def _say_workers(dataset: DatasetResult) -> str:
    """Say who wrote the shards; "" where nobody has."""
    tasks = dataset.tasks_by_worker
    if not tasks:
        return ""
    if len(tasks) == 1:
        return f"written by worker {next(iter(tasks))}"
    fewest, most = min(tasks.values()), max(tasks.values())
    if len(tasks) > MAX_WORKERS:
        each = f"{fewest}" if fewest == most else f"{fewest} to {most}"
        return f"written by {len(tasks)} workers, {each} by each"
    named = [f"{count} by worker {worker}" for worker, count in tasks.items()]
    return f"written by {len(tasks)} workers: {', '.join(named)}"
