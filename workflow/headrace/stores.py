"""The only module that opens, chunks, writes and checks Zarr, and the small files of arrays beside it.

A store is one Zarr v3 group whose arrays share the dimension `sample`, cut into shards of whole rows. The rows of the
training split come first, then validation, then test; the coordinate `split` says which, and `source_row` where a row
stood in the source. `xarray.open_zarr` opens it.
"""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from safetensors.numpy import load_file, save_file
from zarr.codecs import BloscCodec, Crc32cCodec

from headrace.errors import StageError
from headrace.provenance import digest_json

MIB = 2**20
MAX_SHARD_BYTES = 32 * MIB
TARGET_CHUNK_BYTES = MIB
MIN_SHARDS = 8
STORE = "data.zarr"


@dataclass(frozen=True)
class Layout:
    """How the rows are cut. One task writes whole shards: two writers in one shard lose rows silently."""

    num_rows: int
    rows_per_shard: int
    rows_per_chunk: int

    @property
    def num_shards(self) -> int:
        """Shards in every array."""
        return -(-self.num_rows // self.rows_per_shard)

    def rows(self, shard: int) -> slice:
        """The rows of one shard."""
        return slice(shard * self.rows_per_shard, min(self.num_rows, (shard + 1) * self.rows_per_shard))


@dataclass(frozen=True)
class Variable:
    """One array of a store: (sample, *dims) of shape (rows, *shape)."""

    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


def choose_layout(num_rows: int, row_bytes: int, rows_per_shard: int | None = None) -> Layout:
    """Shards of at most 32 MiB (or one row) and at least 8 of them (or one a row), in even chunks of about 1 MiB."""
    row_bytes = max(1, row_bytes)
    wanted = rows_per_shard or max(1, min(MAX_SHARD_BYTES // row_bytes, num_rows // MIN_SHARDS))
    chunks = min(wanted, -(-wanted * row_bytes // TARGET_CHUNK_BYTES))
    if rows_per_shard is None:
        return Layout(num_rows, wanted // chunks * chunks, wanted // chunks)
    while wanted % chunks:
        chunks += 1
    return Layout(num_rows, wanted, wanted // chunks)


def create(
    path: Path,
    variables: Mapping[str, Variable],
    layout: Layout,
    split_sizes: Mapping[str, int],
    attributes: Mapping[str, Any],
) -> None:
    """Make an empty store; its shards are then written by `write_shard`."""
    group = zarr.open_group(path, mode="w-", zarr_format=3)
    group.attrs.update({**attributes, "layout": asdict(layout), "split_sizes": dict(split_sizes)})
    for name, variable in variables.items():
        group.create_array(
            name,
            shape=(layout.num_rows, *variable.shape),
            dtype=variable.dtype,
            shards=(layout.rows_per_shard, *variable.shape),
            chunks=(layout.rows_per_chunk, *variable.shape),
            # The checksum covers each compressed chunk: without it most flipped bits decode to wrong numbers.
            compressors=[BloscCodec(cname="lz4", clevel=5, shuffle="shuffle"), Crc32cCodec()],
            fill_value=0,
            dimension_names=("sample", *variable.dims),
            # The attribute by which xarray knows coordinates from data (CF conventions, section 5).
            attributes={"coordinates": "split source_row"},
        )
    codes = np.repeat(np.arange(len(split_sizes), dtype=np.int8), list(split_sizes.values()))
    flags = {"flag_values": list(range(len(split_sizes))), "flag_meanings": " ".join(split_sizes)}
    add_coordinate(path, "split", codes, flags)


def add_coordinate(path: Path, name: str, values: np.ndarray, attributes: Mapping[str, Any] | None = None) -> None:
    """Add a small array along `sample` that is written whole."""
    array = zarr.open_group(path, mode="r+").create_array(
        name,
        shape=values.shape,
        dtype=values.dtype,
        chunks=values.shape,
        dimension_names=("sample",),
        attributes=dict(attributes or {}),
    )
    array[...] = values


def finish(path: Path) -> None:
    """Gather all metadata in the group's, once every shard is written, so that a reader opens one file."""
    with warnings.catch_warnings():
        # Zarr v3 has no word on consolidated metadata yet; xarray looks for them, and readers without them still work.
        warnings.filterwarnings("ignore", message="Consolidated metadata is currently not part")
        zarr.consolidate_metadata(path, zarr_format=3)


def write_shard(path: Path, shard: int, blocks: Mapping[str, np.ndarray]) -> dict[str, str]:
    """Write one shard of each array and return the digests of what was written, by `shard_key`. Runs in a worker."""
    group = zarr.open_group(path, mode="r+")
    layout = read_layout(group)
    digests = {}
    for name, block in blocks.items():
        array = _array(group, name)
        rows = layout.rows(shard)
        if block.shape != (rows.stop - rows.start, *array.shape[1:]) or block.dtype != array.dtype:
            raise StageError(
                f"{path}: shard {shard} of {name} must be {(rows.stop - rows.start, *array.shape[1:])} {array.dtype}, "
                f"not {block.shape} {block.dtype}"
            )
        array[rows] = block
        digests[shard_key(name, shard)] = digest_array(block)
    return digests


def read_shard(path: Path, shard: int, name: str, expected: str | None = None) -> np.ndarray:
    """The rows of one shard. With `expected`, a digest, anything but what was written raises StageError."""
    group = zarr.open_group(path, mode="r")
    layout = read_layout(group)
    try:
        block = np.asarray(_array(group, name)[layout.rows(shard)])
    except (ValueError, RuntimeError, OSError) as error:
        raise StageError(f"{path}: shard {shard} of {name} cannot be decoded: {error}") from error
    if expected is not None and digest_array(block) != expected:
        raise StageError(f"{path}: shard {shard} of {name} is not what was written (damaged or missing)")
    return block


def read_rows(path: Path, name: str, rows: slice, digests: Mapping[str, str]) -> Iterator[np.ndarray]:
    """The rows of a range, shard by shard, each checked against its digest."""
    layout = read_layout(zarr.open_group(path, mode="r"))
    for shard in range(rows.start // layout.rows_per_shard, -(-rows.stop // layout.rows_per_shard)):
        start = layout.rows(shard).start
        block = read_shard(path, shard, name, digests[shard_key(name, shard)])
        yield block[max(0, rows.start - start) : rows.stop - start]


def split_rows(path: Path, split: str) -> slice:
    """Where a split lies."""
    sizes: Mapping[str, int] = zarr.open_group(path, mode="r").attrs["split_sizes"]  # type: ignore[assignment]
    start = 0
    for name, size in sizes.items():
        if name == split:
            return slice(start, start + size)
        start += size
    raise KeyError(split)


def read_attributes(path: Path) -> dict[str, Any]:
    """The attributes of the store."""
    return dict(zarr.open_group(path, mode="r").attrs)


def read_layout(group: zarr.Group) -> Layout:
    """How a store was cut."""
    return Layout(**group.attrs["layout"])  # type: ignore[arg-type]


def read_variables(path: Path) -> dict[str, Variable]:
    """The sharded arrays of a store."""
    group = zarr.open_group(path, mode="r")
    return {
        name: Variable(tuple(array.metadata.dimension_names[1:]), array.shape[1:], str(array.dtype))  # type: ignore
        for name, array in sorted(group.arrays())
        if array.shards is not None
    }


def save_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write a few arrays to one safetensors file: no pickle, and any tool of the field reads it."""
    save_file({name: np.asarray(values, order="C") for name, values in arrays.items()}, path)


def load_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read a safetensors file."""
    return load_file(path)


def digest_array(values: np.ndarray) -> str:
    """SHA-256 of dtype, shape and bytes in C order: what is decoded, however it was compressed."""
    header = f"{values.dtype.newbyteorder('<').str}{list(values.shape)}".encode()
    little = np.ascontiguousarray(values.astype(values.dtype.newbyteorder("<"), copy=False))
    return hashlib.sha256(header + b"\n" + little.tobytes()).hexdigest()


def _array(group: zarr.Group, name: str) -> zarr.Array[Any]:
    array = group[name]
    if not isinstance(array, zarr.Array):
        raise StageError(f"{group.store_path}: {name} is not an array")
    return array


def shard_digests(path: Path) -> dict[str, str]:
    """The digest of every shard of every array, read from the disk."""
    layout = read_layout(zarr.open_group(path, mode="r"))
    shards = ((name, shard) for name in read_variables(path) for shard in range(layout.num_shards))
    return {shard_key(name, shard): digest_array(read_shard(path, shard, name)) for name, shard in shards}


def small_digests(path: Path) -> dict[str, str]:
    """The digests of the attributes and of the arrays without shards."""
    group = zarr.open_group(path, mode="r")
    whole = {name: array for name, array in sorted(group.arrays()) if array.shards is None}
    digests = {f"{STORE}/{name}": digest_array(np.asarray(array[...])) for name, array in whole.items()}
    return {f"{STORE}/attributes": digest_json(dict(group.attrs)), **digests}


def check_small(path: Path, expected: Mapping[str, str]) -> None:
    """Raise StageError unless attributes and coordinates are what was written: they say which rows are whose."""
    for part, digest in small_digests(path).items():
        if expected.get(part) != digest:
            raise StageError(f"{path.parent}: {part} is not what was written (damaged or replaced)")


def shard_key(name: str, shard: int) -> str:
    """What a shard is called in a manifest."""
    return f"{STORE}/{name}/{shard}"


def read_coordinate(path: Path, name: str) -> np.ndarray:
    """A small array, whole."""
    return np.asarray(_array(zarr.open_group(path, mode="r"), name)[...])
