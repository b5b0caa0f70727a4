"""A folder for keys that nobody else can read, removed at the end, and swept when its owner was killed."""

from __future__ import annotations

import json
import os
import shutil
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.running.processes import Process

if TYPE_CHECKING:
    from distributed import Security

NOTE = "owner.json"
KEEP_S = 14 * 86400.0
"""Folders of other hosts are swept after this time, when no job of theirs can be running any more."""


@contextmanager
def private_folder(parent: Path) -> Iterator[Path]:
    """A new folder of mode 0700 below `parent`; what killed processes left there is removed first."""
    parent.mkdir(parents=True, exist_ok=True)
    parent.chmod(0o700)
    sweep(parent)
    folder = parent / f"{socket.gethostname()}.{os.getpid()}.{uuid.uuid4().hex[:8]}"
    folder.mkdir(mode=0o700)
    try:
        write_private(folder / NOTE, json.dumps(asdict(Process.current())))
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep(parent: Path) -> None:
    """Remove the folders of processes that are proved dead, and of other hosts those that are old."""
    for folder in parent.iterdir():
        with suppress(OSError):
            try:
                owner = Process(**json.loads((folder / NOTE).read_text()))
            except (OSError, ValueError, TypeError):
                # Another process is making it just now, or its note was cut short.
                owner = None
            is_old = time.time() - folder.stat().st_mtime > KEEP_S
            if is_old or (owner is not None and owner.is_gone()):
                shutil.rmtree(folder, ignore_errors=True)


def write_private(path: Path, text: str) -> None:
    """Write a new file that was never readable by others, not even while it was written."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)


def make_security(folder: Path) -> Security:
    """Certificates made for one cluster alone, as files in a private folder that its workers can reach.

    Whoever has no certificate signed by this authority, which exists in this folder only, is refused.
    """
    from distributed import Security

    fresh = Security.temporary()
    client = fresh.get_tls_config_for_role("client")
    paths = {}
    for part in ("ca_file", "cert", "key"):
        paths[part] = str((folder / f"{part}.pem").absolute())
        write_private(Path(paths[part]), client[part])
    roles = {
        f"tls_{role}_{part}": paths[part] for role in ("client", "scheduler", "worker") for part in ("cert", "key")
    }
    return Security(require_encryption=True, tls_ca_file=paths["ca_file"], **roles)
