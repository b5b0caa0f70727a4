"""How the rows of a store are cut, and what its parts are called."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

MIB = 2**20
MAX_SHARD_BYTES = 32 * MIB
TARGET_CHUNK_BYTES = MIB
MIN_SHARDS = 8
STORE = "data.zarr"
SAMPLE = "sample"


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

    @property
    def num_chunks(self) -> int:
        """Chunks in every array, over all shards."""
        return -(-self.num_rows // self.rows_per_chunk)

    @property
    def chunks_per_shard(self) -> int:
        """Chunks in a whole shard."""
        return self.rows_per_shard // self.rows_per_chunk

    def rows(self, shard: int) -> slice:
        """The rows of one shard."""
        return slice(shard * self.rows_per_shard, min(self.num_rows, (shard + 1) * self.rows_per_shard))

    def chunk_rows(self, chunk: int) -> slice:
        """The rows of one chunk, counted over all shards."""
        return slice(chunk * self.rows_per_chunk, min(self.num_rows, (chunk + 1) * self.rows_per_chunk))


@dataclass(frozen=True)
class Variable:
    """One variable of a store, (sample, *dims) of shape (rows, *shape).

    Of a ragged one, `dims` and `shape` are those of a step, and a row has any number of steps; of a sparse one, `shape`
    is the number of columns.
    """

    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str
    layout: Literal["dense", "ragged", "sparse"] = "dense"
    scale: float | None = None
    """What whole numbers are multiplied by when they are read (CF conventions, section 8.1)."""

    @property
    def row_bytes(self) -> int:
        """Bytes of one row, or of one step of a ragged one."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


def choose_layout(num_rows: int, row_bytes: float, rows_per_shard: int | None = None) -> Layout:
    """Shards of at most 32 MiB (or one row) and at least 8 of them (or one a row), in even chunks of about 1 MiB."""
    row_bytes = max(1.0, row_bytes)
    wanted = rows_per_shard or max(1, min(int(MAX_SHARD_BYTES // row_bytes), num_rows // MIN_SHARDS))
    chunks = min(wanted, math.ceil(wanted * row_bytes / TARGET_CHUNK_BYTES))
    if rows_per_shard is None:
        return Layout(num_rows, wanted // chunks * chunks, wanted // chunks)
    while wanted % chunks:
        chunks += 1
    return Layout(num_rows, wanted, wanted // chunks)


def shard_key(name: str, shard: int) -> str:
    """What a shard is called in a manifest."""
    return f"{STORE}/{name}/{shard}"
