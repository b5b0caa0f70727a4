"""Which commit a folder is at, and whether it holds anything else."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

TIMEOUT_S = 2.0
"""Git is asked once, before the first job; a report without a commit is better than a start that hangs."""


def describe_repository(folder: Path, made: Sequence[Path] = ()) -> dict[str, Any] | None:
    """The commit, how many files differ from it, and how many files or folders it does not know.

    None where git cannot tell in time. What a workflow writes itself, into `made` and .snakemake, does not count.
    """
    command = ["git", "-C", str(folder), "status", "--porcelain=v2", "--branch", "--untracked-files=normal", "-z"]
    # A folder of files that are all unknown is one entry: to look into it could take longer than anybody waits.
    command += ["--", ":(top)"]
    command += [f":(exclude){path}" for path in (".snakemake", *map(str, made)) if not os.path.isabs(path)]
    # Asking must change nothing: without this git writes its index anew.
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    try:
        done = subprocess.run(command, capture_output=True, timeout=TIMEOUT_S, env=environment, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return read_status(done.stdout)


def keep_commit(said: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """What the report is told, with the commit that was written down when this very plan was first started."""
    try:
        before = json.loads(path.read_bytes()).get("repository")
    except (OSError, ValueError, AttributeError):
        before = None
    return {**said, "repository": before} if before else dict(said)


def read_status(output: bytes) -> dict[str, Any] | None:
    """What `git status --porcelain=v2 --branch -z` says; None where there is no commit yet."""
    entries = iter(output.decode("utf-8", "replace").split("\0"))
    commit, num_changed, num_unknown = "", 0, 0
    for entry in entries:
        if entry.startswith("# branch.oid "):
            commit = entry.removeprefix("# branch.oid ")
        num_changed += entry[:2] in ("1 ", "2 ", "u ")
        num_unknown += entry[:2] == "? "
        if entry[:2] == "2 ":
            # A renamed file: its former name is an entry of its own.
            next(entries, None)
    if not commit or commit == "(initial)":
        return None
    return {"commit": commit, "num_changed": num_changed, "num_unknown": num_unknown}
