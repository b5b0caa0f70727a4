"""The stages, as the workflow calls them: one job each."""

from __future__ import annotations

import argparse
import glob
import importlib
import os
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from headrace.commands.base import Add
from headrace.errors import InputError, StageError

if TYPE_CHECKING:
    from headrace.clusters.base import ClusterSpec
    from headrace.running.jobs import Job
    from headrace.tries.stopping import Stop

STAGES = ("shard", "preprocess", "train", "evaluate", "report", "gate")
ON_DASK = ("shard", "preprocess")
STOPPABLE = ("shard", "preprocess", "train")
"""Those that look whether they must stop; SIGTERM ends the others as it ends any process."""
REQUESTS = ("memory_mib", "runtime_min", "cores", "gpus")


def register(add: Add) -> None:
    """A command for every stage."""
    for stage in STAGES:
        command = add(stage, run_stage, f"the stage {stage}, as the workflow calls it")
        receipt = f"ARTIFACTS/.receipts/{stage}/JOB.ok"
        if stage == "report":
            command.description = (
                "write the report of results/NAME from what is there by now, or as the workflow calls it"
            )
            command.set_defaults(run=report)
            command.add_argument("receipt", type=Path, metavar="RESULT|RECEIPT", help=f"results/NAME, or {receipt}")
            command.add_argument("--artifacts", metavar="FOLDER", help="folder of the artifacts, beside RESULT")
        else:
            command.add_argument("receipt", type=Path, metavar="RECEIPT", help=receipt)
        for request in REQUESTS:
            option = f"--{request.replace('_', '-')}"
            used = (
                "runs trained at a time follow from it"
                if (stage, request) == ("train", "cores")
                else "only written down"
            )
            command.add_argument(option, type=int, metavar="N", help=f"what its job asked for; {used}")
        if stage == "train":
            what = "runs trained at a time on each GPU, which must have the memory for them"
            command.add_argument("--runs-per-gpu", type=int, default=1, metavar="N", help=what)
        if stage in ON_DASK:
            command.add_argument("--cluster", default="local", metavar="KIND", help="where the Dask workers run")
            command.add_argument("--workers", type=int, default=2, metavar="N", help="number of Dask workers")
            command.add_argument(
                "--worker-memory-mib", type=int, default=1024, metavar="MIB", help="memory of a worker"
            )
            command.add_argument("--cluster-options", default="", metavar="KEY=VALUE,...", help="more for this kind")


def report(options: argparse.Namespace) -> int:
    """Write the report from what is there by now; with a receipt, as a stage of the workflow."""
    if options.receipt.suffix == ".ok":
        return run_stage(options)
    from headrace.logs import start_logging
    from headrace.planning.artifacts import receipt_path, spec_path
    from headrace.planning.plan import Site
    from headrace.provenance.verification import refuse_newer_result
    from headrace.running.jobs import Job

    start_logging()
    name, artifacts = options.receipt.resolve().name, Site.of({"artifacts": options.artifacts}).artifacts
    specs = list(spec_path(artifacts, "report", name).parent.glob(f"{glob.escape(name)}-????????.json"))
    if not specs:
        raise InputError(
            f"{options.receipt}: no workflow of {name} has begun in {artifacts}: run it, or name --artifacts"
        )
    newest = max(specs, key=lambda path: path.stat().st_mtime_ns)
    job = Job(receipt_path(artifacts, "report", newest.stem))
    folder = Path(job.spec["results"]) / name
    if folder.resolve() != options.receipt.resolve():
        raise InputError(f"{options.receipt}: the workflow of {name} writes to {folder}; start there, or name that")
    refuse_newer_result(folder)
    _call(job, None, job.stop)
    print(f"report: {folder / 'report.html'}")
    return 0


def run_stage(options: argparse.Namespace) -> int:
    """Run one job of a stage, unless its receipt's spec says that the code has changed."""
    # One thread a process, before any numerical library starts: bits and speed both depend on it.
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = "1"
    from headrace.logs import start_logging
    from headrace.running.jobs import Job
    from headrace.running.ownership import OWNER_VARIABLE, refuse_orphan, running
    from headrace.schedulers.base import find_own_job
    from headrace.tries.history import history_path, one_try
    from headrace.tries.stopping import Stop

    start_logging()
    cluster = _cluster(options) if options.command in ON_DASK else None
    own = find_own_job()
    stop = Stop(own[1].ends_at if own else None)
    job = Job(options.receipt, stop, options.cores or 1, getattr(options, "runs_per_gpu", 1))
    if job.stage != options.command:
        raise InputError(f"{options.receipt}: is the receipt of a {job.stage} job, not of {options.command}")
    refuse_orphan()
    requested = {name: getattr(options, name) for name in REQUESTS if getattr(options, name) is not None}
    history = history_path(job.root, job.stage, job.id)
    with (
        running(job.root, job.stage, job.id, own),
        one_try(history, os.environ.get(OWNER_VARIABLE, ""), requested, own) as this,
    ):
        this["workers"] = job.workers_used
        job.check_code()
        if job.stage in STOPPABLE:
            stop.listen()
        stop.say()
        _call(job, cluster, stop)
        job.finish()
    return 0


def _call(job: Job, cluster: ClusterSpec | None, stop: Stop) -> None:
    """Run the stage; an error nobody expected keeps its traceback in the log and becomes one line."""
    stage = importlib.import_module(f"headrace.stages.{job.stage}")
    try:
        stage.run(job, *([cluster] if cluster else []))
    except (InputError, StageError):
        raise
    except Exception as error:
        if stop.cause is not None:
            # Whatever broke while everything was being ended is not its own fault.
            stop.check(f"then {type(error).__name__}: {error}")
        # The log keeps where it happened; its last line says what, for whoever sees only that.
        traceback.print_exc()
        raise StageError(f"{job.id}: {type(error).__name__}: {' '.join(str(error).split())}") from error


def _cluster(options: argparse.Namespace) -> ClusterSpec:
    from headrace.experiments.validation import Problems, parse
    from headrace.registry import load_kind

    spec = load_kind("clusters", options.cluster)
    size = {"workers": options.workers, "worker_memory_mib": options.worker_memory_mib}
    problems = Problems()
    more = _parse_options(options.cluster_options, spec.model_fields)
    cluster = parse(spec, {"kind": options.cluster, **size, **more}, (), problems)
    problems.raise_any()
    return cast("ClusterSpec", cluster)


def _parse_options(text: str, fields: Any) -> dict[str, Any]:
    """`key=value,key=value`; values are numbers or truths where the kind's parameter is one."""
    import yaml

    more: dict[str, Any] = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        key, equals, value = (part.strip() for part in entry.partition("="))
        if not equals or not key:
            raise InputError(f"dask_options: {entry!r} is not KEY=VALUE; several are separated by commas")
        is_text = key in fields and fields[key].annotation is str
        more[key] = value if is_text else yaml.safe_load(value)
    return more
