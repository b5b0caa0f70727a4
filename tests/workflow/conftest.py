"""A project of its own for every test, and a browser."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from browsing import ARGUMENTS, Visit
from headrace.findings.results import Results
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


@pytest.fixture(scope="module")
def browser() -> Iterator:
    """Yield Debian's chromium; on CI it has to be there."""
    executable = shutil.which("chromium")
    if executable is None and os.environ.get("CI"):
        pytest.fail("chromium is missing: apt-get install chromium")
    if executable is None:
        pytest.skip("chromium is missing: apt-get install chromium")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=executable, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser, tmp_path) -> Iterator:
    """Yield a function that opens the report of a sample."""
    visits: list[Visit] = []

    def open_report(make: Callable[[], Results], **options: object) -> Visit:
        visits.append(Visit(browser, tmp_path / f"report-{len(visits)}.html", make, **options))
        return visits[-1]

    yield open_report
    for opened in visits:
        opened.page.close()
