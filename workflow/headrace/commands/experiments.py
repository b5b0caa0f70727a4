"""check, plan, where: what a person asks about an experiment file."""

from __future__ import annotations

import argparse
from pathlib import Path

from headrace.commands.base import Add, add_config, site_of


def register(add: Add) -> None:
    """Their options."""
    for name, run, text in (
        ("check", check, "check an experiment file"),
        ("plan", plan, "list the runs and artifacts of an experiment, and what is already done"),
        ("where", where, "print the path of an experiment's report"),
    ):
        add_config(add(name, run, text))


def check(options: argparse.Namespace) -> int:
    """Say that a file is fine, or what is wrong with it."""
    from headrace.plan import Plan
    from headrace.reading import load_experiment

    planned = Plan(load_experiment(options.config), site_of(options))
    print(f"{options.config}: fine: {len(planned.runs)} runs, {len(planned.artifacts)} artifacts")
    return 0


def plan(options: argparse.Namespace) -> int:
    """Print the table of runs."""
    from headrace.overview import overview
    from headrace.plan import Plan
    from headrace.reading import load_experiment

    print(overview(Plan(load_experiment(options.config), site_of(options))))
    return 0


def where(options: argparse.Namespace) -> int:
    """Print where the report lies; exit code 1 when there is none yet."""
    from headrace.reading import load_experiment

    page: Path = site_of(options).results / load_experiment(options.config).name / "report.html"
    print(f"report: {page}" if page.exists() else f"no report yet; it will be {page}")
    return 0 if page.exists() else 1
