"""What an artifact holds, as digests of decoded content: independent of compression, time, host and path."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from headrace.errors import StageError
from headrace.provenance.manifests import MANIFEST, digest_json, read_json
from headrace.stores.arrays import digest_array, load_arrays
from headrace.stores.groups import small_digests
from headrace.stores.layout import STORE
from headrace.stores.reading import Store
from headrace.stores.writing import digest_shard

NOT_CONTENT = frozenset(
    {
        "seconds",
        "bytes_moved",
        "samples_per_second",
        "input_wait_share",
        "start",
        "end",
        "host",
        "versions",
        "peak_memory_mib",
    }
)
"""Keys, at any depth of a JSON file, that may differ between two runs of the same work."""
PICTURES = "pictures.safetensors"
"""What a report shows and no number follows from. Its parts are verified like all others, but count in no digest of a
whole: the digest of a result says what was found, not how that is illustrated."""
ATTRIBUTIONS = "attributions.json"
"""What is said of the pictures of attributions; these numbers do count."""


def content_digests(folder: Path, known: Mapping[str, str] | None = None) -> dict[str, str]:
    """The digest of every part of an artifact: `part -> SHA-256`. Parts in `known` are not read again."""
    known = known or {}
    digests = dict(known)
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder).as_posix()
        if path.is_dir() or relative == MANIFEST or STORE in path.relative_to(folder).parts:
            continue
        with _named(folder, relative):
            digests |= dict(_file_digests(path, relative))
    if (folder / STORE).exists() and not any(part.startswith(STORE) for part in known):
        store = folder / STORE
        with _named(folder, STORE):
            for key, i, array in Store(store).shards():
                digests[key] = digest_shard(array.digest(i, chunk) for chunk in range(array.num_chunks(i)))
            digests |= small_digests(store)
    return digests


@contextmanager
def _named(folder: Path, part: str) -> Iterator[None]:
    """Whatever a reader stumbles over becomes one line that names artifact and part."""
    try:
        yield
    except StageError:
        raise
    except (ValueError, LookupError, OSError, TypeError, RuntimeError, SafetensorError) as error:
        why = " ".join(str(error).split())[:200]
        raise StageError(f"{folder}: {part} cannot be read: {type(error).__name__}: {why}") from error


def _file_digests(path: Path, name: str) -> Iterator[tuple[str, str]]:
    if path.suffix == ".json":
        yield name, digest_json(content_of(read_json(path)))
    elif path.suffix == ".safetensors":
        for key, values in sorted(load_arrays(path).items()):
            yield f"{name}/{key}", digest_array(values)
    else:
        raise StageError(f"{path}: an artifact may hold JSON, safetensors and Zarr only")


def content_of(value: Any) -> Any:
    """A JSON value without the keys that are not content."""
    if isinstance(value, Mapping):
        return {key: content_of(item) for key, item in value.items() if key not in NOT_CONTENT}
    if isinstance(value, list):
        return [content_of(item) for item in value]
    return value


def without_pictures(parts: Mapping[str, str]) -> dict[str, str]:
    """The parts of an artifact that count in the digest of a whole."""
    return {part: digest for part, digest in parts.items() if not part.startswith(f"{PICTURES}/")}


def artifact_digest(parts: Mapping[str, str]) -> str:
    """One digest for a whole artifact."""
    return digest_json(without_pictures(parts))
