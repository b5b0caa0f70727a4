"""The group of a store: what it holds, how it is cut, which rows are whose."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from headrace.errors import StageError
from headrace.provenance.manifests import digest_json, write_json
from headrace.stores.arrays import digest_array
from headrace.stores.layout import MIB, SAMPLE, STORE, TARGET_CHUNK_BYTES, Layout, Variable
from headrace.stores.shards import Compression, array_metadata

OFFSETS = "_offsets"
COORDINATES = ("split", "source_row")
OWN_ATTRIBUTES = ("layout", "split_sizes", "variables", "compression")
"""What a store says of itself; the rest is said of the data."""


def create(
    path: Path,
    variables: Mapping[str, Variable],
    layout: Layout,
    split_sizes: Mapping[str, int],
    attributes: Mapping[str, Any],
    offsets: Mapping[str, np.ndarray] | None = None,
    compression: Compression = "lz4",
) -> None:
    """Make an empty store; its shards are then written one by one. `offsets` (rows + 1,) of every ragged variable."""
    path.mkdir(parents=True)
    described = {
        name: {
            "layout": variable.layout,
            "dims": list(variable.dims),
            "shape": list(variable.shape),
            "dtype": np.dtype(variable.dtype).name,
            "scale": variable.scale,
        }
        for name, variable in variables.items()
    }
    own = {
        "layout": {
            "num_rows": layout.num_rows,
            "rows_per_shard": layout.rows_per_shard,
            "rows_per_chunk": layout.rows_per_chunk,
        },
        "split_sizes": dict(split_sizes),
        "variables": described,
        "compression": compression,
    }
    group = {"zarr_format": 3, "node_type": "group", "attributes": {**attributes, **own}}
    write_json(path / "zarr.json", group, durable=False)
    for name, variable in variables.items():
        if variable.layout == "sparse":
            _make_group(path / name)
        elif variable.layout == "ragged":
            edges = (offsets or {})[name]
            add_array(path, f"{name}{OFFSETS}", edges, (f"{SAMPLE}_edge",), {"ragged_values": name})
            _make_array(path, name, variable, value_layout(int(edges[-1]), variable), f"{name}_step", compression)
        else:
            _make_array(path, name, variable, layout, SAMPLE, compression)
    codes = np.repeat(np.arange(len(split_sizes), dtype=np.int8), list(split_sizes.values()))
    flags = {"flag_values": list(range(len(split_sizes))), "flag_meanings": " ".join(split_sizes)}
    add_array(path, "split", codes, (SAMPLE,), flags)


def value_layout(num_values: int, variable: Variable) -> Layout:
    """How the steps of a ragged variable are cut: 32 MiB to a shard, 1 MiB to a chunk, less where there are few."""
    per_chunk = max(1, min(TARGET_CHUNK_BYTES // max(1, variable.row_bytes), -(-max(1, num_values) // 8)))
    return Layout(num_values, per_chunk * max(1, min(32, -(-num_values // (8 * per_chunk)))), per_chunk)


def _make_array(
    path: Path, name: str, variable: Variable, layout: Layout, first: str, compression: Compression
) -> None:
    # The attribute by which xarray knows coordinates from data (CF conventions, section 5).
    attributes: dict[str, Any] = {"coordinates": " ".join(COORDINATES)} if first == SAMPLE else {}
    if variable.scale is not None:
        attributes["scale_factor"] = variable.scale
    dims = (first, *variable.dims)
    metadata = array_metadata(layout, variable.shape, variable.dtype, dims, attributes, compression)
    (path / name).mkdir(parents=True)
    write_json(path / name / "zarr.json", metadata, durable=False)


def _make_group(path: Path, attributes: Mapping[str, Any] | None = None) -> None:
    path.mkdir(parents=True, exist_ok=True)
    content = {"zarr_format": 3, "node_type": "group", "attributes": dict(attributes or {})}
    write_json(path / "zarr.json", content, durable=False)


def add_array(
    path: Path, name: str, values: np.ndarray, dims: tuple[str, ...], attributes: Mapping[str, Any] | None = None
) -> None:
    """Add a small array that is written whole, in chunks of about 16 MiB."""
    import zarr

    rows = max(1, min(len(values), 16 * MIB // max(1, values[:1].nbytes)))
    array = zarr.open_group(path, mode="r+").create_array(
        name,
        shape=values.shape,
        dtype=values.dtype,
        chunks=(rows, *values.shape[1:]),
        dimension_names=dims,
        attributes=dict(attributes or {}),
        fill_value=0,
    )
    array[...] = values


def finish(path: Path) -> None:
    """Gather all metadata in the group's, once every shard is written, so that a reader opens one file."""
    import zarr

    with warnings.catch_warnings():
        # Zarr v3 has no word on consolidated metadata yet; xarray looks for them, and readers without them still work.
        warnings.filterwarnings("ignore", message="Consolidated metadata is currently not part")
        zarr.consolidate_metadata(path, zarr_format=3)


def read_attributes(path: Path) -> dict[str, Any]:
    """The attributes of the store."""
    try:
        attributes: dict[str, Any] = json.loads((path / "zarr.json").read_bytes())["attributes"]
    except (OSError, ValueError, LookupError) as error:
        raise StageError(f"{path}: cannot be read: {type(error).__name__}: {error}") from error
    return attributes


def read_layout(path: Path) -> Layout:
    """How the rows of a store were cut."""
    return Layout(**read_attributes(path)["layout"])


def read_variables(path: Path) -> dict[str, Variable]:
    """What a store holds, by name."""
    return {
        name: Variable(tuple(v["dims"]), tuple(v["shape"]), v["dtype"], v["layout"], v["scale"])
        for name, v in sorted(read_attributes(path)["variables"].items())
    }


def split_rows(path: Path, split: str) -> slice:
    """Where a split lies."""
    start = 0
    for name, size in read_attributes(path)["split_sizes"].items():
        if name == split:
            return slice(start, start + size)
        start += size
    raise KeyError(split)


def read_array(path: Path, name: str) -> np.ndarray:
    """A small array, whole."""
    import zarr

    array = zarr.open_group(path, mode="r")[name]
    if not isinstance(array, zarr.Array):
        raise StageError(f"{path}: {name} is not an array")
    return np.asarray(array[...])


def read_length(path: Path) -> int:
    """How many numbers an array of one dimension has, by its own metadata."""
    try:
        return int(json.loads((path / "zarr.json").read_bytes())["shape"][0])
    except (OSError, ValueError, LookupError) as error:
        raise StageError(f"{path}: cannot be read: {type(error).__name__}: {error}") from error


def small_arrays(path: Path) -> list[str]:
    """The names of the arrays that are written whole."""
    ragged = [f"{name}{OFFSETS}" for name, variable in read_variables(path).items() if variable.layout == "ragged"]
    return sorted([*(name for name in COORDINATES if (path / name).is_dir()), *ragged])


def small_digests(path: Path) -> dict[str, str]:
    """The digests of the attributes and of the arrays without shards."""
    digests = {f"{STORE}/{name}": digest_array(read_array(path, name)) for name in small_arrays(path)}
    return {f"{STORE}/attributes": digest_json(read_attributes(path)), **digests}


def check_small(path: Path, expected: Mapping[str, str]) -> None:
    """Raise StageError unless attributes and coordinates are what was written: they say which rows are whose."""
    try:
        found = small_digests(path)
    except (ValueError, LookupError, OSError, RuntimeError) as error:
        raise StageError(f"{path}: cannot be read: {' '.join(str(error).split())[:200]}") from error
    for part, digest in found.items():
        if expected.get(part) != digest:
            raise StageError(f"{path.parent}: {part} is not what was written (damaged or replaced)")
