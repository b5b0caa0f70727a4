"""headrace COMMAND: what a person calls, and the stages that Snakemake calls."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from headrace.errors import InputError, StageError

if TYPE_CHECKING:
    from headrace.config import Kind
    from headrace.plan import Site

STAGES = ("shard", "preprocess", "train", "evaluate", "report", "gate")
ON_DASK = ("shard", "preprocess")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0 done, 2 the input is at fault, 1 anything else."""
    options = build_parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = options.run
    try:
        return command(options)
    except InputError as error:
        print("\n".join(error.problems), file=sys.stderr)
        return 2
    except StageError as error:
        print(f"headrace {options.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"headrace {options.command}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output has gone, as in `headrace plan | head`.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def build_parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    parser = argparse.ArgumentParser(prog="headrace", description="One YAML file in, one report out.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(run=run)
        return command

    for name, run, text in (
        ("check", check, "check an experiment file"),
        ("plan", plan, "list the runs and artifacts of an experiment, and what is already done"),
        ("where", where, "print the path of an experiment's report"),
    ):
        command = add(name, run, text)
        command.add_argument("config", type=Path, nargs="?", default=Path("configs/quickstart.yaml"), metavar="CONFIG")
        for option, what in (("--artifacts", "folder of the artifacts"), ("--results", "folder of the results")):
            command.add_argument(option, help=what)
        command.add_argument("--runs-per-job", help="runs in one training job", metavar="N")
        command.add_argument("--device", help="what `device: auto` means: cpu or cuda")
    for name, run, text in (
        ("digest", digest, "print one SHA-256 over the decoded artifacts and metrics of a result"),
        ("verify", verify, "check every artifact of a result against its manifest"),
    ):
        add(name, run, text).add_argument(
            "result", type=Path, metavar="RESULT", help="a folder of results, as results/NAME"
        )
    add("schema", schema, "print the JSON schema of an experiment file")
    for stage in STAGES:
        command = add(stage, run_stage, f"the stage {stage}, as the workflow calls it")
        command.add_argument("receipt", type=Path, metavar="RECEIPT", help=f"ARTIFACTS/.receipts/{stage}/JOB.ok")
        if stage in ON_DASK:
            command.add_argument("--cluster", default="local", metavar="KIND", help="where the Dask workers run")
            command.add_argument("--workers", type=int, default=2, metavar="N", help="number of Dask workers")
            command.add_argument(
                "--worker-memory-mib", type=int, default=1024, metavar="MIB", help="memory of a worker"
            )
    return parser


def check(options: argparse.Namespace) -> int:
    """Say that a file is fine, or what is wrong with it."""
    from headrace.plan import Plan
    from headrace.reading import load_experiment

    planned = Plan(load_experiment(options.config), _site(options))
    print(f"{options.config}: fine: {len(planned.runs)} runs, {len(planned.artifacts)} artifacts")
    return 0


def plan(options: argparse.Namespace) -> int:
    """Print the table of runs."""
    from headrace.overview import overview
    from headrace.plan import Plan
    from headrace.reading import load_experiment

    print(overview(Plan(load_experiment(options.config), _site(options))))
    return 0


def where(options: argparse.Namespace) -> int:
    """Print where the report lies; exit code 1 when there is none yet."""
    from headrace.reading import load_experiment

    page: Path = _site(options).results / load_experiment(options.config).name / "report.html"
    print(f"report: {page}" if page.exists() else f"no report yet; it will be {page}")
    return 0 if page.exists() else 1


def digest(options: argparse.Namespace) -> int:
    """Print the digest of a result."""
    from headrace.verification import result_digest

    print(result_digest(options.result))
    return 0


def verify(options: argparse.Namespace) -> int:
    """Check a result's artifacts; exit code 1 when something is damaged."""
    from headrace.verification import verify_result

    problems = verify_result(options.result)
    print("\n".join(problems) if problems else f"{options.result}: every artifact is what its manifest says")
    return 1 if problems else 0


def schema(options: argparse.Namespace) -> int:
    """Print the schema."""
    from headrace.schema import experiment_schema, render_schema

    print(render_schema(experiment_schema()), end="")
    return 0


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


def _site(options: argparse.Namespace) -> Site:
    from headrace.plan import SITE_KEYS, Site

    return Site.of({key: getattr(options, key) for key in SITE_KEYS})


if __name__ == "__main__":
    sys.exit(main())
