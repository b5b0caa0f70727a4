"""Snakemake's own opinion of the workflow."""

from __future__ import annotations

from projects import Project


def test_lint_finds_nothing(project: Project) -> None:
    done = project.snakemake("--lint")
    assert done.returncode == 0, done.stdout
    assert "Congratulations" in done.stdout
