"""check, plan, where: what a person asks about an experiment file."""

from __future__ import annotations

import argparse
from pathlib import Path

from headrace.commands.base import Add, add_config, site_of
from headrace.errors import InputError


def register(add: Add) -> None:
    """Their options."""
    for name, run, text in (
        ("check", check, "check an experiment file"),
        ("plan", plan, "list the runs and artifacts of an experiment, and what is already done"),
        ("where", where, "print the path of an experiment's report"),
    ):
        command = add(name, run, text)
        add_config(command)
        if name == "plan":
            what = "show instead what its jobs will ask of that profile's scheduler, and what would be refused"
            command.add_argument("--profile", metavar="NAME", help=what)


def check(options: argparse.Namespace) -> int:
    """Say that a file is fine, or what is wrong with it."""
    from headrace.experiments.reading import load_experiment
    from headrace.planning.plan import Plan

    site = site_of(options)
    planned = Plan(load_experiment(options.config, site.artifacts), site)
    print(f"{options.config}: fine: {len(planned.runs)} runs, {len(planned.artifacts)} artifacts")
    return 0


def plan(options: argparse.Namespace) -> int:
    """Print the table of runs; with a profile what its jobs will ask for, and exit code 2 for what would be refused."""
    from headrace.experiments.reading import load_experiment
    from headrace.planning.overview import overview
    from headrace.planning.plan import Plan

    if options.profile:
        return _forecast(options)
    site = site_of(options)
    print(overview(Plan(load_experiment(options.config, site.artifacts), site)))
    return 0


def _forecast(options: argparse.Namespace) -> int:
    from headrace.experiments.reading import load_experiment
    from headrace.planning.plan import SITE_KEYS, Plan, Site
    from headrace.requests.forecast import forecast
    from headrace.requests.profiles import read_profile

    profile = read_profile(options.profile)
    given = {key: value for key in SITE_KEYS if (value := getattr(options, key)) is not None}
    site = Site.of({**profile.config, **given})
    expected = forecast(Plan(load_experiment(options.config, site.artifacts), site), profile)
    print("\n".join(expected.lines), flush=True)
    if expected.problems:
        raise InputError(*expected.problems)
    return 0


def where(options: argparse.Namespace) -> int:
    """Print where the report lies; exit code 1 when there is none yet."""
    from headrace.experiments.reading import load_experiment

    site = site_of(options)
    page: Path = site.results / load_experiment(options.config, site.artifacts).name / "report.html"
    print(f"report: {page}" if page.exists() else f"no report yet; it will be {page}")
    return 0 if page.exists() else 1
