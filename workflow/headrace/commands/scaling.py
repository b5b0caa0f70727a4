"""scaling: how much faster the stages on Dask get with more workers."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from headrace.commands.base import Add, add_config, site_of
from headrace.errors import InputError


def register(add: Add) -> None:
    """Its options."""
    text = "measure how much faster sharding and preprocessing get with more Dask workers, for the report to show"
    command = add("scaling", scaling, text)
    add_config(command)
    command.add_argument(
        "--workers", type=int, nargs="+", default=[1, 2], metavar="N", help="numbers of workers, one after the other"
    )
    command.add_argument("--rounds", type=int, default=3, metavar="N", help="times that each number is tried")
    command.add_argument("--cluster", default="local", metavar="KIND", help="where the Dask workers run")
    command.add_argument("--worker-memory-mib", type=int, default=1024, metavar="MIB", help="memory of a worker")
    command.add_argument("--cluster-options", default="", metavar="KEY=VALUE,...", help="more for this kind")


def scaling(options: argparse.Namespace) -> int:
    """Measure, print, and write results/NAME/scaling.json; exit code 2 for numbers that cannot be."""
    from dataclasses import replace

    from headrace.experiments.reading import load_experiment
    from headrace.findings.results import SCALING
    from headrace.planning.plan import Plan
    from headrace.provenance.manifests import write_json
    from headrace.registry import load_kind
    from headrace.scaling.measurements import STAGES, measure

    _refuse(options)
    load_kind("clusters", options.cluster)
    site = site_of(options)
    experiment = load_experiment(options.config, site.artifacts)
    folder: Path = site.results / experiment.name
    asked = ["--cluster", options.cluster, "--worker-memory-mib", str(options.worker_memory_mib)]
    asked += ["--cluster-options", options.cluster_options] if options.cluster_options else []
    counts = sorted(set(options.workers))
    own = site.artifacts / f".scaling-{os.getpid()}"
    own.mkdir(parents=True)
    try:
        # What was fetched is not fetched again, and what files hold is found once and for all before the clock runs.
        (own / ".downloads").symlink_to((site.artifacts / ".downloads").absolute())
        plan = Plan(load_experiment(options.config, own), replace(site, artifacts=own))
        found = measure(plan, counts, options.rounds, asked, lambda line: print(line, file=sys.stderr, flush=True))
    finally:
        shutil.rmtree(own, ignore_errors=True)
    made = sorted(artifact.identity for artifact in plan.artifacts if artifact.stage in STAGES)
    found |= {"made": made, "cluster": options.cluster, "num_cpus": os.cpu_count()}
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / SCALING, found)
    print("\n".join(_describe(found, stage) for stage in STAGES if stage in found["seconds"]))
    print(f"written: {folder / SCALING}; `headrace report {folder}` shows it")
    return 0


def _refuse(options: argparse.Namespace) -> None:
    if min(options.workers) < 1 or len(set(options.workers)) < 2:
        given = " ".join(map(str, options.workers))
        raise InputError(f"--workers {given}: give two different numbers at least, each above 0")
    if options.rounds < 1:
        raise InputError(f"--rounds {options.rounds}: must be above 0")


def _describe(found: dict[str, Any], stage: str) -> str:
    from headrace.scaling.laws import fit_law

    law = fit_law({int(count): values for count, values in found["seconds"][stage].items()})
    end = "no end in sight" if law.last_worthwhile == float("inf") else f"at most {law.last_worthwhile:g} workers"
    return f"{stage}: serial share {law.serial_share:.0%}; efficiency stays above 70 % with {end}"
