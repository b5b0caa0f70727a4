"""Snakemake itself takes the profiles that are written, and makes of them what `headrace plan` says."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from headrace.requests.profile_text import choose, render_profile
from headrace.requests.profiles import read_profile
from projects import TINY, Project, copy_project
from sample_surveys import CPU, EMPTY, GPU, PBS, SLURM

# Names that Snakemake would take for a function, a variable, a number or a subtraction.
ODD = replace(
    SLURM,
    queues=(replace(CPU, name="max"), replace(GPU, name="input", max_runtime_min=600)),
    accounts=("007", "phys-1"),
)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A clone with the links that lead to its profiles."""
    project = copy_project(tmp_path, TINY)
    for name in ("slurm", "pbs"):
        if not (tmp_path / name).is_symlink():
            (tmp_path / name).symlink_to(f"workflow/profiles/{name}")
    return project


def resources(output: str) -> dict[str, dict[str, str]]:
    """What a dry run says of each rule."""
    found: dict[str, dict[str, str]] = {}
    rule = ""
    for line in output.splitlines():
        if match := re.match(r"(?:local)?rule (\w+):", line):
            rule = match[1]
        elif match := re.match(r"\s+resources: (.*)", line):
            found[rule] = dict(pair.split("=", 1) for pair in match[1].split(", ") if "=" in pair)
    return found


@pytest.mark.parametrize(
    ("name", "survey", "wanted"),
    [
        ("slurm", EMPTY["slurm"], {}),
        ("slurm", SLURM, {}),
        ("slurm", ODD, {"account": "007"}),
        ("slurm", ODD, {"account": "phys-1"}),
        ("pbs", EMPTY["pbs"], {}),
        ("pbs", replace(PBS, queues=ODD.queues), {"account": "lambda"}),
    ],
    ids=["slurm", "slurm-gpu", "slurm-odd", "slurm-odd-account", "pbs", "pbs-odd"],
)
def test_a_dry_run_shows_the_resources_that_we_read(project, monkeypatch, name, survey, wanted):
    monkeypatch.chdir(project.folder)
    text = render_profile(survey, choose(survey, **wanted))
    Path(name, "config.yaml").write_text(text)
    done = project.snakemake("-n", "--profile", name, "--config", "device=cpu")
    assert done.returncode == 0, done.stdout
    found = resources(done.stdout)
    assert {"shard", "preprocess", "train_fnn", "evaluate"} <= set(found)
    profile = read_profile(name)
    for rule, own in profile.resources({rule: {} for rule in found}).items():
        assert {key: found[rule].get(key) for key in own} == {key: str(value) for key, value in own.items()}, rule


def test_the_profiles_beside_the_workflow_are_found_and_read(project):
    for name in ("slurm", "pbs"):
        done = project.headrace("plan", "configs/small.yaml", "--profile", name)
        assert done.returncode == 0, done.stderr
        assert re.search(r"^train_fnn +1 +0 +1 ", done.stdout, re.MULTILINE), done.stdout


@pytest.mark.parametrize(("stated", "mem_mb"), [("mem_mb: 1234", 1234), ("gpu: 0", 3584)])
def test_memory_of_several_runs_is_what_was_planned(project, stated, mem_mb):
    """By Snakemake as by `headrace plan`: that of four runs at a time, unless the profile says what they may have."""
    (project.folder / "own").mkdir()
    text = f"executor: slurm\njobs: 1\nset-threads: {{train_fnn: 4}}\nset-resources: {{train_fnn: {{{stated}}}}}\n"
    (project.folder / "own/config.yaml").write_text(text)
    planned = project.headrace("plan", "configs/small.yaml", "--profile", "own")
    shown = re.search(r"^train_fnn +1 +0 +4 +([0-9.]+) GiB", planned.stdout, re.MULTILINE)
    assert shown is not None, planned.stdout
    done = project.snakemake("-n", "--profile", "own", "--config", "device=cpu")
    assert done.returncode == 0, done.stdout
    assert resources(done.stdout)["train_fnn"]["mem_mb"] == str(mem_mb)
    assert shown[1] == f"{mem_mb / 1024:.1f}"
