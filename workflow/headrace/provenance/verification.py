"""Digest and verify a result from what lies on the disk, not from what its manifests claim."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from headrace.errors import InputError, StageError
from headrace.provenance.digests import content_digests, without_pictures
from headrace.provenance.manifests import (
    MANIFEST,
    RESULT_FORMAT,
    digest_file,
    digest_json,
    read_json,
    read_manifest,
    refuse_newer,
)
from headrace.stores.groups import small_digests
from headrace.stores.layout import STORE
from headrace.stores.reading import ChunkedArray, Store
from headrace.stores.writing import digest_shard

PROVENANCE = "provenance.json"
"""The file of a result that names the artifacts behind it."""


def result_digest(result: Path) -> str:
    """One SHA-256 over the decoded content of all artifacts that a result stands on."""
    parts = []
    for entry in artifacts_of(result):
        digests = content_digests(Path(entry["artifact"])) if entry["status"] == "done" else {}
        parts.append([entry["label"], entry["status"], without_pictures(digests)])
    return digest_json(sorted(parts, key=lambda part: digest_json(part[0])))


def verify(folder: Path) -> list[str]:
    """Verify an artifact, or a result with all the artifacts behind it. Raises InputError for anything else."""
    if (folder / MANIFEST).exists():
        return list(verify_artifact(folder))
    if not (folder / PROVENANCE).exists():
        raise InputError(f"{folder}: give a folder of results, as results/NAME, or an artifact, as artifacts/shard/ID")
    return verify_result(folder)


def verify_result(result: Path) -> list[str]:
    """One line for every part of an artifact that is not what its manifest says, or not what the result stands on."""
    problems = []
    for entry in artifacts_of(result):
        folder = Path(entry["artifact"])
        found = list(verify_artifact(folder))
        manifest = read_manifest(folder)
        if not found and manifest and manifest.get("digest", "") != entry["digest"]:
            found = [f"{folder}: is not the artifact that the result was made from"]
        problems += found
    return [*problems, *(f"{result / name}: is not what was written" for name in find_changed_files(result))]


def find_changed_files(result: Path) -> list[str]:
    """The files of a result that are not what its provenance says; a provenance of old says nothing of them.

    Raises InputError for a provenance that cannot be read.
    """
    artifacts_of(result)
    said = read_json(result / PROVENANCE).get("files")
    files = said if isinstance(said, dict) else {}
    return [name for name, digest in files.items() if not _is_file(result / name, digest)]


def _is_file(path: Path, digest: str) -> bool:
    try:
        return digest_file(path) == digest
    except OSError:
        return False


def verify_artifact(folder: Path) -> Iterator[str]:
    """Compare an artifact with its manifest, part by part; chunks in parallel."""
    manifest = read_manifest(folder)
    if manifest is None:
        yield f"{folder}: is missing, or its manifest is"
        return
    try:
        found, damaged = _store_digests(folder, manifest)
        yield from damaged
        found |= content_digests(folder, found)
    except StageError as error:
        yield str(error)
        return
    told = {line.removeprefix(f"{folder}: ").split(": ")[0] for line in damaged}
    for part in sorted(found.keys() | manifest["outputs"].keys()):
        if part not in manifest["outputs"]:
            yield f"{folder}: {part} is not in the manifest"
        elif part not in found:
            yield f"{folder}: {part} is missing"
        elif found[part] != manifest["outputs"][part] and part not in told:
            yield f"{folder}: {part} is not what was written"


def _store_digests(folder: Path, manifest: Mapping[str, Any]) -> tuple[dict[str, str], list[str]]:
    """The digest of every shard as it is now, and a line for every chunk that is not what the manifest says."""
    if not (folder / STORE).exists():
        return {}, []
    chunks = manifest.get("chunks", {})
    store = Store(folder / STORE)
    shards = list(store.shards())
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        looked_at = list(pool.map(partial(_look_at, folder, chunks), shards))
    digests = {key: digest for (key, _, _), (digest, _) in zip(shards, looked_at, strict=True)}
    digests |= small_digests(folder / STORE)
    return digests, [line for _, lines in looked_at for line in lines]


def _look_at(folder: Path, chunks: Mapping[str, Any], part: tuple[str, int, ChunkedArray]) -> tuple[str, list[str]]:
    """One shard: its digest, and what is wrong with which of its chunks."""
    key, shard, array = part
    expected = chunks.get(key, {}).get("sha256", ())
    lines, digests = [], []
    for chunk in range(array.num_chunks(shard)):
        try:
            digests.append(array.digest(shard, chunk))
        except StageError as error:
            lines.append(f"{folder}: {key}: chunk {chunk}: {error}")
            continue
        if chunk >= len(expected) or digests[-1] != expected[chunk]:
            lines.append(f"{folder}: {key}: chunk {chunk} is not what was written")
    return digest_shard(digests), lines


def refuse_newer_result(result: Path) -> None:
    """Raise InputError where a newer version wrote a result; of one that is missing or damaged nothing is said."""
    try:
        content = read_json(result / PROVENANCE)
    except (OSError, ValueError):
        return
    refuse_newer(result / PROVENANCE, content, RESULT_FORMAT)


def artifacts_of(result: Path) -> list[dict[str, Any]]:
    """The artifacts behind a result. Raises InputError, also for a result of a newer version."""
    path = result / PROVENANCE
    refuse_newer_result(result)
    try:
        entries = read_json(path)["artifacts"]
        wanted = {"label": list, "status": str, "artifact": str, "digest": str}
        whole = all(isinstance(entry[key], kind) for entry in entries for key, kind in wanted.items())
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{path}: no such file; give a folder of results, as results/NAME") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, TypeError, LookupError):
        whole = False
    if not whole:
        raise InputError(f"{path}: is damaged; run the experiment's command again to write it anew")
    return list(entries)
