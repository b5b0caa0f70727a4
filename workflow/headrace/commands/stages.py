"""The stages, as the workflow calls them: one job each."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, cast

from headrace.commands.base import Add
from headrace.errors import InputError, StageError

if TYPE_CHECKING:
    from headrace.config import Kind

STAGES = ("shard", "preprocess", "train", "evaluate", "report", "gate")
ON_DASK = ("shard", "preprocess")


def register(add: Add) -> None:
    """A command for every stage."""
    for stage in STAGES:
        command = add(stage, run_stage, f"the stage {stage}, as the workflow calls it")
        command.add_argument("receipt", type=Path, metavar="RECEIPT", help=f"ARTIFACTS/.receipts/{stage}/JOB.ok")
        if stage in ON_DASK:
            command.add_argument("--cluster", default="local", metavar="KIND", help="where the Dask workers run")
            command.add_argument("--workers", type=int, default=2, metavar="N", help="number of Dask workers")
            command.add_argument(
                "--worker-memory-mib", type=int, default=1024, metavar="MIB", help="memory of a worker"
            )


def run_stage(options: argparse.Namespace) -> int:
    """Run one job of a stage, unless its receipt's spec says that the code has changed."""
    # One thread a process, before any numerical library starts: bits and speed both depend on it.
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = "1"
    import importlib
    import traceback

    from headrace.jobs import Job
    from headrace.logs import start_logging
    from headrace.ownership import running

    start_logging()
    cluster = _cluster(options) if options.command in ON_DASK else None
    job = Job(options.receipt)
    if job.stage != options.command:
        raise InputError(f"{options.receipt}: is the receipt of a {job.stage} job, not of {options.command}")
    job.check_code()
    stage = importlib.import_module(f"headrace.stages.{job.stage}")
    with running(job.root, job.stage, job.id):
        try:
            stage.run(job, *([cluster] if cluster else []))
        except (InputError, StageError):
            raise
        except Exception as error:
            # The log keeps where it happened; its last line says what, for whoever sees only that.
            traceback.print_exc()
            raise StageError(f"{job.id}: {type(error).__name__}: {' '.join(str(error).split())}") from error
        job.finish()
    return 0


def _cluster(options: argparse.Namespace) -> Kind:
    from headrace.registry import load_kind
    from headrace.validation import Problems, parse

    size = {"workers": options.workers, "worker_memory_mib": options.worker_memory_mib}
    problems = Problems()
    cluster = parse(load_kind("clusters", options.cluster), {"kind": options.cluster, **size}, (), problems)
    problems.raise_any()
    return cast("Kind", cluster)
