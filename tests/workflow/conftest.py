"""A project of its own for every test."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from projects import TINY, Project, copy_project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A fresh clone with a small experiment."""
    return copy_project(tmp_path)


@pytest.fixture(scope="session")
def finished_once(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A clone in which the small experiment has run; tests must not change it."""
    project = copy_project(tmp_path_factory.mktemp("finished"))
    done = project.snakemake()
    assert done.returncode == 0, done.stdout
    return project


@pytest.fixture
def finished(finished_once: Project, tmp_path: Path) -> Project:
    """A private copy of the clone in which the small experiment has run."""
    shutil.copytree(finished_once.folder, tmp_path / "clone", symlinks=True)
    return Project(tmp_path / "clone")


@pytest.fixture
def tiny(tmp_path: Path) -> Project:
    """A fresh clone with the tiny experiment."""
    return copy_project(tmp_path, TINY)


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The digest of the tiny experiment when nothing happens to it."""
    project = copy_project(tmp_path_factory.mktemp("undisturbed"), TINY)
    done = project.snakemake()
    assert done.returncode == 0, done.stdout
    return project.digest()
