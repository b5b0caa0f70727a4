"""Digest and verify a result from what lies on the disk, not from what its manifests claim."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from headrace.digests import content_digests
from headrace.errors import InputError, StageError
from headrace.provenance import digest_json, read_json, read_manifest


def result_digest(result: Path) -> str:
    """One SHA-256 over the decoded content of all artifacts that a result stands on."""
    parts = []
    for entry in artifacts_of(result):
        digests = content_digests(Path(entry["artifact"])) if entry["status"] == "done" else {}
        parts.append([entry["label"], entry["status"], digests])
    return digest_json(sorted(parts, key=lambda part: digest_json(part[0])))


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
    return problems


def verify_artifact(folder: Path) -> Iterator[str]:
    """Compare an artifact with its manifest, part by part."""
    manifest = read_manifest(folder)
    if manifest is None:
        yield f"{folder}: is missing, or its manifest is"
        return
    try:
        found = content_digests(folder)
    except StageError as error:
        yield str(error)
        return
    for part in sorted(found.keys() | manifest["outputs"].keys()):
        if part not in manifest["outputs"]:
            yield f"{folder}: {part} is not in the manifest"
        elif part not in found:
            yield f"{folder}: {part} is missing"
        elif found[part] != manifest["outputs"][part]:
            yield f"{folder}: {part} is not what was written"


def artifacts_of(result: Path) -> list[dict[str, Any]]:
    """The artifacts behind a result. Raises InputError."""
    path = result / "provenance.json"
    try:
        entries = read_json(path)["artifacts"]
        wanted = {"label": list, "status": str, "artifact": str, "digest": str}
        whole = all(isinstance(entry[key], kind) for entry in entries for key, kind in wanted.items())
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{path}: no such file; RESULT must be a folder of results, as results/NAME") from None
    except (ValueError, TypeError, LookupError):
        whole = False
    if not whole:
        raise InputError(f"{path}: is damaged; run the experiment's command again to write it anew")
    return list(entries)
