"""profile: ask the scheduler, and write the Snakemake profile that fits it."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.commands.base import Add
from headrace.schedulers.base import list_schedulers

if TYPE_CHECKING:
    from headrace.requests.profile_text import Choice


def register(add: Add) -> None:
    """Its options."""
    command = add("profile", profile, "ask the scheduler, and write workflow/profiles/SCHEDULER/config.yaml for it")
    command.add_argument("scheduler", choices=list_schedulers(), metavar="SCHEDULER", help=", ".join(list_schedulers()))
    command.add_argument("--partition", "--queue", default="", metavar="NAME", help="for jobs without a GPU")
    command.add_argument("--gpu-partition", "--gpu-queue", default="", metavar="NAME", help="for training, with GPUs")
    command.add_argument("--account", default="", metavar="NAME", help="who pays")
    command.add_argument("--output", type=Path, metavar="FILE", help="write there instead")
    command.add_argument("--print", action="store_true", help="print it and write nothing")


def profile(options: argparse.Namespace) -> int:
    """Write a profile, and say what was chosen and what to do next."""
    from headrace.requests.profile_text import PROFILES, choose, render_profile, write_profile
    from headrace.schedulers.base import load_scheduler

    survey = load_scheduler(options.scheduler).survey()
    choice = choose(survey, options.partition, options.gpu_partition, options.account)
    text = render_profile(survey, choice)
    if options.print:
        sys.stdout.write(text)
        return 0
    path = options.output or PROFILES / options.scheduler / "config.yaml"
    kept = write_profile(path, text)
    print(f"written: {_shown(path)}: {_describe(choice)}")
    if kept is not None:
        print(f"kept what stood there as {_shown(kept)}")
    for note in choice.notes:
        print(f"note: {note}")
    name = options.scheduler if options.output is None else path
    print(f"next: headrace plan CONFIG --profile {name}, then snakemake --profile {name} --configfile CONFIG")
    return 0


def _describe(choice: Choice) -> str:
    cpu = choice.cpu.name if choice.cpu else "the scheduler's default"
    training = f"training on GPUs in {choice.gpu.name}" if choice.gpu else "training on CPUs"
    return f"jobs go to {cpu}; {training}" + (f"; {choice.account} pays" if choice.account else "")


def _shown(path: Path) -> str:
    """Relative where that is shorter."""
    relative = os.path.relpath(path)
    return relative if not relative.startswith("..") else str(path)
