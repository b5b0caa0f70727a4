"""Writing the shards of a store, each whole and by one task."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.blocks import Blocks, Ragged
from headrace.errors import StageError
from headrace.provenance.manifests import write_json
from headrace.stores.groups import OFFSETS, read_array, read_attributes, read_layout, read_variables, value_layout
from headrace.stores.layout import MAX_SHARD_BYTES, TARGET_CHUNK_BYTES, Layout, Variable, shard_key
from headrace.stores.shards import ChunkDigests, Compression, array_metadata, encode_shard, write_file

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Written = dict[str, ChunkDigests]
"""What was written, by `shard_key`."""
ANNDATA_CSR = {"encoding-type": "csr_matrix", "encoding-version": "0.1.0"}
ANNDATA_ARRAY = {"encoding-type": "array", "encoding-version": "0.2.0"}


def digest_shard(chunks: Iterable[str]) -> str:
    """One digest for a shard, of its chunks'."""
    return hashlib.sha256("\n".join(chunks).encode()).hexdigest()


def write_shard(path: Path, shard: int, blocks: Blocks) -> Written:
    """Write one shard of dense and sparse variables; `blocks` hold all its rows. Runs in a worker.

    Raises StageError for anything but the whole of a shard.
    """
    layout, variables, compression = read_layout(path), read_variables(path), _compression(path)
    rows = layout.rows(shard)
    written: Written = {}
    for name, block in blocks.items():
        variable = variables[name]
        wanted = (rows.stop - rows.start, *variable.shape)
        if isinstance(block, Ragged):
            raise StageError(f"{path}: {name} is ragged; its values have shards of their own")
        if block.shape != wanted or block.dtype != np.dtype(variable.dtype):
            raise StageError(
                f"{path}: shard {shard} of {name} must be {wanted} {variable.dtype}, not {block.shape} {block.dtype}"
            )
        if isinstance(block, np.ndarray):
            written[shard_key(name, shard)] = _write(path / name, shard, block, layout, variable.shape, compression)
        else:
            written |= _write_sparse(path, name, shard, block, compression)
    return written


def write_values(path: Path, name: str, shard: int, values: np.ndarray) -> Written:
    """Write one shard of the values of a ragged variable: all its steps, (steps, ...). Runs in a worker."""
    variable = read_variables(path)[name]
    layout = read_value_layout(path, name, variable)
    steps = layout.rows(shard)
    wanted = (steps.stop - steps.start, *variable.shape)
    if values.shape != wanted or values.dtype != np.dtype(variable.dtype):
        raise StageError(
            f"{path}: shard {shard} of {name} must be {wanted} {variable.dtype}, not {values.shape} {values.dtype}"
        )
    chunks = _write(path / name, shard, values, layout, variable.shape, _compression(path))
    return {shard_key(name, shard): chunks}


def read_value_layout(path: Path, name: str, variable: Variable) -> Layout:
    """How the values of a ragged variable were cut."""
    return value_layout(int(read_array(path, f"{name}{OFFSETS}")[-1]), variable)


def _compression(path: Path) -> Compression:
    compression: Compression = read_attributes(path)["compression"]
    return compression


def _write(
    folder: Path, shard: int, block: np.ndarray, layout: Layout, shape: tuple[int, ...], compression: Compression
) -> ChunkDigests:
    pieces, chunks = encode_shard(block, layout, compression)
    write_file(folder.joinpath("c", str(shard), *("0" for _ in shape)), pieces)
    return chunks


def _write_sparse(path: Path, name: str, shard: int, block: csr_array, compression: Compression) -> Written:
    """One CSR matrix as a group, in the layout that anndata reads (its on-disk format, "Sparse arrays")."""
    # Canonical form first: the same matrix must leave the same bytes.
    block = block.sorted_indices()
    folder = path / name / str(shard)
    folder.mkdir(parents=True, exist_ok=True)
    shape: dict[str, Any] = {"shape": [int(size) for size in block.shape]}
    group = {"zarr_format": 3, "node_type": "group", "attributes": {**ANNDATA_CSR, **shape}}
    write_json(folder / "zarr.json", group, durable=False)
    written: Written = {}
    for part, values in sparse_parts(block).items():
        layout = part_layout(len(values), values.dtype)
        metadata = array_metadata(layout, (), values.dtype.name, (part,), dict(ANNDATA_ARRAY), compression)
        write_json(folder / part / "zarr.json", metadata, durable=False)
        for i in range(layout.num_shards):
            chunks = _write(folder / part, i, values[layout.rows(i)], layout, (), compression)
            written[shard_key(f"{name}/{shard}/{part}", i)] = chunks
    return written


def sparse_parts(block: csr_array) -> Mapping[str, np.ndarray]:
    """The three arrays of a CSR matrix: int64 row borders, int32 columns where they suffice."""
    columns = np.int32 if block.shape[1] < 2**31 else np.int64
    return {"data": block.data, "indices": block.indices.astype(columns), "indptr": block.indptr.astype(np.int64)}


def part_layout(length: int, dtype: np.dtype) -> Layout:
    """How an array of a CSR matrix is cut: chunks of 1 MiB, shards of 32."""
    per_chunk = TARGET_CHUNK_BYTES // dtype.itemsize
    chunks = max(1, min(MAX_SHARD_BYTES // TARGET_CHUNK_BYTES, -(-length // per_chunk)))
    per_chunk = per_chunk if length > per_chunk else max(1, length)
    return Layout(length, per_chunk * chunks, per_chunk)
