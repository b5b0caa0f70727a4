"""What every file of commands shares."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headrace.planning.plan import Site

Command = Callable[[argparse.Namespace], int]
"""Runs a command; returns its exit code: 0 done, 2 the input is at fault, 1 anything else."""
Add = Callable[[str, Command, str], argparse.ArgumentParser]
"""Adds a command: its name, what runs it, what it does in one line."""


def add_config(parser: argparse.ArgumentParser) -> None:
    """The experiment, and what belongs to the place."""
    parser.add_argument("config", type=Path, nargs="?", default=Path("configs/quickstart.yaml"), metavar="CONFIG")
    for option, what in (("--artifacts", "folder of the artifacts"), ("--results", "folder of the results")):
        parser.add_argument(option, help=what)
    parser.add_argument("--runs-per-job", help="runs in one training job", metavar="N")
    parser.add_argument("--device", help="what `device: auto` means: cpu or cuda")


def site_of(options: argparse.Namespace) -> Site:
    """The place that the options describe. Raises InputError."""
    from headrace.planning.plan import SITE_KEYS, Site

    return Site.of({key: getattr(options, key) for key in SITE_KEYS})
