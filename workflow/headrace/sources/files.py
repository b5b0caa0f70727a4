"""Finding the files that a dataset names, and knowing their content."""

from __future__ import annotations

import glob
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from headrace.errors import InputError
from headrace.logs import logger
from headrace.provenance.manifests import digest_file, digest_json, read_json, write_json_if_new

SAY_BYTES = 2**30
"""Hashing more than this takes seconds: worth a line."""


def find_files(key: str, patterns: str | Sequence[str], root: Path) -> list[Path]:
    """The files that a pattern or a list of them names, in the order of their names or of the list.

    A folder stands for all files below it; those that a pattern with `**` meets on its way stand for nothing.
    Raises InputError for a pattern that finds nothing, for what is no file, and for a file that is named twice.
    """
    found: list[Path] = []
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        path = root / Path(pattern).expanduser()
        matches = [path] if path.exists() else [Path(name) for name in sorted(glob.glob(str(path), recursive=True))]
        if "**" in pattern and not path.exists():
            matches = [match for match in matches if not match.is_dir()]
        matches = [file for match in matches for file in (_files_below(match) if match.is_dir() else [match])]
        if not matches:
            where = f" (looked in {root.absolute()})" if not path.is_absolute() else ""
            raise InputError(f"{key}: {pattern}: no such file{where}")
        found += matches
    twice = [path for i, path in enumerate(found) if path in found[:i]] if len(found) < 1000 else []
    if twice or len(set(found)) < len(found):
        raise InputError(f"{key}: {twice[0] if twice else patterns}: is named twice")
    return found


def hash_files(paths: Sequence[Path], cache: Path) -> list[dict[str, Any]]:
    """[{"path", "num_bytes", "sha256"}] of every file; one whose inode says that it is as before is not read again.

    The inode's change time decides, which no program can set back, unlike the time of modification.
    """
    known = _read_cache(cache)
    fresh: dict[str, Any] = {}
    unread = 0
    for path in paths:
        try:
            status = path.stat()
            mark = [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
            name = str(path.absolute())
            if known.get(name, {}).get("mark") != mark:
                if status.st_size > SAY_BYTES:
                    logger.info("reading %s (%.1f GiB) to know its content", path, status.st_size / 2**30)
                known[name] = fresh[name] = {"mark": mark, "sha256": digest_file(path)}
                unread += 1
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None
    if unread:
        write_json_if_new(cache, known)
    return [
        {"path": str(path), "num_bytes": known[str(path.absolute())]["mark"][0]}
        | {"sha256": known[str(path.absolute())]["sha256"]}
        for path in paths
    ]


def _files_below(folder: Path) -> list[Path]:
    """In the order of their names, hidden ones too; links to folders are not followed."""
    return sorted(Path(place, name) for place, _, names in os.walk(folder) for name in names)


def combined_sha256(files: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """One digest for everything that a dataset reads: a single file's own, else that of `sha256sum`'s lines."""
    listed = [file for group in files.values() for file in group]
    if len(listed) == 1:
        return str(listed[0]["sha256"])
    if len(files) == 1:
        lines = "".join(f"{file['sha256']}  {file['path']}\n" for file in listed)
        return hashlib.sha256(lines.encode()).hexdigest()
    return digest_json([[key, [[file["path"], file["sha256"]] for file in group]] for key, group in files.items()])


def _read_cache(cache: Path) -> dict[str, Any]:
    try:
        known = read_json(cache)
    except (OSError, json.JSONDecodeError, UnicodeDecodeError):
        return {}
    return known if isinstance(known, dict) else {}
