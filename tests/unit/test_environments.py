"""The pins, the conda environment and pyproject.toml say the same."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def requirements() -> dict[str, list[Requirement]]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = {"": project["dependencies"], **project["optional-dependencies"]}
    return {group: [Requirement(line) for line in lines] for group, lines in groups.items()}


def pins() -> dict[str, str]:
    lines = (ROOT / "envs/constraints.txt").read_text().splitlines()
    return {normal(name): version for name, _, version in (line.partition("==") for line in lines if "==" in line)}


def test_every_requirement_is_pinned_within_its_range() -> None:
    versions = pins()
    for group in requirements().values():
        for requirement in group:
            assert requirement.specifier.contains(versions[normal(requirement.name)]), requirement


def test_torch_is_pinned_to_the_build_that_was_tested() -> None:
    assert pins()["torch"] == "2.13.0"


def test_conda_follows_the_pins() -> None:
    conda = yaml.safe_load((ROOT / "envs/headrace.yaml").read_text())
    (packages,) = (entry["pip"] for entry in conda["dependencies"] if isinstance(entry, dict))
    listed = {name: version for name, _, version in (line.partition("==") for line in packages)}
    direct = {normal(requirement.name) for group in ("", "demo") for requirement in requirements()[group]}
    assert listed == {name: pins()[name] for name in direct}
