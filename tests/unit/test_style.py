"""The house rules that tools can hold."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


@pytest.mark.parametrize(
    "command",
    [
        ["ruff", "check", "--no-cache", "."],
        ["ruff", "format", "--no-cache", "--check", "."],
        ["mypy"],
        ["lint-imports", "--no-cache"],
        ["snakefmt", "--check", "Snakefile", "workflow"],
    ],
    ids=["ruff check", "ruff format", "mypy", "lint-imports", "snakefmt"],
)
def test_tool_finds_nothing(command: list[str]) -> None:
    done = subprocess.run(
        [BIN / command[0], *command[1:]],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": "workflow", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_room_is_too_full() -> None:
    sizes = {path: len(path.read_text().splitlines()) for path in (ROOT / "workflow").rglob("*.py")}
    assert sizes
    assert {str(path.relative_to(ROOT)): size for path, size in sizes.items() if size > 400} == {}
