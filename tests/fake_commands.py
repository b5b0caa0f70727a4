"""Commands of a scheduler, as small scripts on a PATH of their own."""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path

import pytest

TOOLS = ("sh", "cat", "sleep", "env", "which")
"""What the scripts themselves need, and Snakemake's plugins."""


class FakeCommands:
    """A folder of scripts that is all of PATH; every call is written down."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder / "fake commands"
        self.folder.mkdir()
        self._log = folder / "calls"
        for tool in TOOLS:
            found = shutil.which(tool)
            assert found
            (self.folder / tool).symlink_to(found)
        for variable in list(os.environ):
            if variable.startswith(("SLURM", "PBS", "SBATCH", "SQUEUE")):
                monkeypatch.delenv(variable)
        monkeypatch.setenv("PATH", str(self.folder))

    def add(self, name: str, script: str) -> None:
        """A command, by the body of its shell script."""
        path = self.folder / name
        path.write_text(f'#!/bin/sh\necho {name} "$@" >> {shlex.quote(str(self._log))}\n{script}\n')
        path.chmod(0o755)

    def say(self, name: str, answers: dict[str, str], otherwise: str = "exit 64") -> None:
        """A command that prints an answer by the words its arguments hold, the first that fit."""
        lines = []
        for number, (words, answer) in enumerate(answers.items()):
            text = self.folder.parent / f"{name}-{number}.txt"
            text.write_text(answer)
            pattern = "*" + "*".join(shlex.quote(word) for word in words.split()) + "*"
            lines.append(f"{pattern}) cat {shlex.quote(str(text))} ;;")
        self.add(name, 'case "$*" in\n' + "\n".join(lines) + f"\n*) {otherwise} ;;\nesac")

    def calls(self, name: str = "") -> list[str]:
        """The calls so far."""
        lines = self._log.read_text().splitlines() if self._log.exists() else []
        return [line for line in lines if line.startswith(name)]
