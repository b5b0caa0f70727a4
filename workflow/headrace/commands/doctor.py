"""doctor: whether Headrace can work here, and what to change where it cannot."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.commands.base import Add

if TYPE_CHECKING:
    from headrace.doctor.findings import Finding
    from headrace.schedulers.base import Scheduler, Survey


def register(add: Add) -> None:
    """Its options."""
    command = add("doctor", doctor, "say whether Headrace can work here, and what to change where it cannot")
    for name in ("artifacts", "results"):
        command.add_argument(f"--{name}", metavar="FOLDER", help=f"folder of the {name}")
    command.add_argument(
        "--gpu", action="store_true", help="compute on the GPU of this machine; none is a problem then"
    )
    command.add_argument("--submit", action="store_true", help="submit a tiny job and see what it sees")
    command.add_argument("--scheduler", metavar="NAME", help="where to submit to; the first one found if not given")
    command.add_argument(
        "--partition", "--queue", metavar="NAME", help="where the tiny job goes; the profile decides if not given"
    )
    command.add_argument("--account", metavar="NAME", help="who pays for the tiny job")
    command.add_argument("--deadline", type=float, default=60.0, metavar="SECONDS", help="how long to wait for it")


def doctor(options: argparse.Namespace) -> int:
    """Print every finding as it is made; exit code 1 when one is a problem."""
    from headrace.doctor.findings import render

    levels = []
    for finding in examine(options):
        levels.append(finding.level)
        print(render(finding), flush=True)
    counted = [(levels.count(level), level) for level in ("problem", "warning")]
    summary = ", ".join(f"{number} {level}{'s' if number > 1 else ''}" for number, level in counted if number)
    print(f"\n{summary or 'all is well'}")
    return 1 if "problem" in levels else 0


def examine(options: argparse.Namespace) -> Iterator[Finding]:
    """All checks, in the order in which they are needed."""
    from headrace.doctor import folders, scheduling, software
    from headrace.doctor.findings import guard, ok
    from headrace.planning.plan import Site
    from headrace.schedulers.base import list_schedulers, load_scheduler

    site = Site.of({"artifacts": options.artifacts, "results": options.results})
    # SLURM first: where it is, the commands of PBS may be its wrappers.
    names = sorted(list_schedulers(), key=lambda name: name != "slurm")
    schedulers = [load_scheduler(name) for name in names]
    yield from guard("python", software.check_python)
    yield from guard("packages", software.check_packages)
    yield from guard("snakemake", software.check_plugins)

    surveys: dict[str, Survey] = {}
    for scheduler in schedulers:
        yield from guard(scheduler.name, partial(scheduling.check_scheduler, scheduler, surveys))
    yield from guard("scheduler", lambda: scheduling.check_none(schedulers))
    yield from guard("job", scheduling.check_own_job)
    if answering := [scheduler for scheduler in schedulers if scheduler.name in surveys]:
        yield from guard("network", lambda: scheduling.check_network(answering[0].node_address()))

    gpus = any(queue.gpus_per_node for survey in surveys.values() for queue in survey.queues)
    yield from guard("torch", lambda: software.check_torch(wanted=options.gpu, cluster_has_gpus=gpus))

    places = {"artifacts": site.artifacts, "results": site.results, "project": Path()}
    yield from guard("folders", lambda: folders.check_folders(places, has_scheduler=bool(surveys)))
    yield from guard("umask", folders.check_umask)
    if options.submit:
        yield from submit(options, schedulers, surveys, site.artifacts)
    elif surveys:
        yield ok("submit", "nothing was submitted: `headrace doctor --submit` tries one tiny job, for a minute at most")


def submit(
    options: argparse.Namespace, schedulers: list[Scheduler], surveys: dict[str, Survey], folder: Path
) -> Iterator[Finding]:
    """The trial of `--submit`."""
    from headrace.doctor.findings import guard, problem
    from headrace.doctor.scheduling import destination
    from headrace.doctor.trial import Trial

    name = options.scheduler or next(iter(surveys), "")
    chosen = [scheduler for scheduler in schedulers if scheduler.name == name and name in surveys]
    if not chosen:
        yield problem("submit", f"no scheduler {name} answers here".replace("  ", " "), "see above")
        return
    print(f"... submitting to {name}", file=sys.stderr)
    partition, account = destination(name)
    trial = Trial(
        chosen[0], folder, options.partition or partition, options.account or account, deadline_s=options.deadline
    )
    yield from guard("submit", trial.run)
