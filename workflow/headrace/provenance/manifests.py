"""Digests, manifests and the atomic sealing of artifacts."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from headrace.errors import InputError

MANIFEST = "manifest.json"
FORMAT = 1
"""Of manifests; one more for a change that whoever reads the older ones would take for something else."""
RESULT_FORMAT = 1
"""The same of provenance.json, for all files of a result. One that says none was written before there were formats."""
REQUIRED = {"identity", "status"}


def canonical_json(value: Any) -> bytes:
    """JSON with sorted keys and no spaces: equal values give equal bytes. NaN is refused."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def digest_json(value: Any) -> str:
    """SHA-256 of the canonical JSON."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def digest_file(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_atomically(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Replace a file so that a reader, or a crash, sees the old content or the new, and never a mixture.

    Without `durable` a power cut may leave it empty; that is for files which the next call writes again.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any, *, durable: bool = True) -> None:
    """Write readable JSON atomically."""
    text = json.dumps(value, indent=1, ensure_ascii=False) + "\n"
    write_atomically(path, text.encode(), durable=durable)


def write_json_if_new(path: Path, value: Any) -> None:
    """Write JSON unless the file says just that already; for files that the next call would write again."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False) + "\n"
    try:
        if path.read_text(encoding="utf-8") == text:
            return
    except (OSError, UnicodeDecodeError):
        pass
    write_atomically(path, text.encode(), durable=False)


def read_json(path: Path) -> Any:
    """Parse a JSON file."""
    return json.loads(path.read_bytes())


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest that seals an artifact, or None where nothing is sealed: a damaged manifest seals nothing.

    Raises InputError for one of a newer version, which must neither be misread nor replaced.
    """
    try:
        manifest = read_json(folder / MANIFEST)
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError, UnicodeDecodeError):
        return None
    refuse_newer(folder / MANIFEST, manifest, FORMAT)
    return manifest if isinstance(manifest, dict) and manifest.keys() >= REQUIRED else None


def refuse_newer(path: Path, content: Any, known: int) -> None:
    """Raise InputError where what was read from a file says that it has a format which came after the known one."""
    found = content.get("format") if isinstance(content, dict) else None
    if isinstance(found, int) and found > known:
        raise InputError(
            f"{path}: was written by a newer version of Headrace, in format {found}; this one knows formats up to "
            f"{known}: read it with the version that wrote it"
        )


def is_sealed(folder: Path, identity: str) -> bool:
    """Whether this very artifact lies there, finished. A failed run is not: it is tried again."""
    manifest = read_manifest(folder)
    return manifest is not None and manifest["identity"] == identity and manifest["status"] == "done"


@contextmanager
def attempt(folder: Path) -> Iterator[Path]:
    """A private folder to make an artifact in; `publish` moves it into place. What is left over is removed."""
    attempts = folder.parents[1] / ".attempts"
    private = attempts / f"{folder.name}.{socket.gethostname()}.{os.getpid()}.{uuid.uuid4().hex[:8]}"
    private.mkdir(parents=True)
    try:
        yield private
    finally:
        shutil.rmtree(private, ignore_errors=True)


def publish(private: Path, folder: Path, manifest: Mapping[str, Any]) -> None:
    """Seal what `private` holds and move it to `folder` in one rename.

    When another process has published the same artifact first, its copy stays and this one is dropped. A failed or
    foreign artifact in the way is moved aside.
    """
    write_json(private / MANIFEST, {"format": FORMAT, **manifest})
    _sync_tree(private)
    folder.parent.mkdir(parents=True, exist_ok=True)
    for _ in range(3):
        if is_sealed(folder, manifest["identity"]):
            return
        if folder.exists():
            aside = private.with_name(f"{private.name}.replaced.{uuid.uuid4().hex[:8]}")
            try:
                os.rename(folder, aside)
            except FileNotFoundError:
                continue
            shutil.rmtree(aside, ignore_errors=True)
        try:
            os.rename(private, folder)
        except OSError:
            continue
        _sync(folder.parent)
        return
    raise OSError(f"{folder}: could not be published; something else keeps writing there")


def iso_time(seconds: float | None = None) -> str:
    """UTC in ISO 8601, to the second."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _sync_tree(folder: Path) -> None:
    """Bring every file of a folder to the disk: a manifest must never outlive what it vouches for."""
    for parent, _, files in os.walk(folder):
        for file in files:
            _sync(Path(parent) / file)
        _sync(Path(parent))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
