"""One shard of an array as bytes: chunks that are compressed and checksummed one by one, and an index behind them.

The format is that of the Zarr v3 `sharding_indexed` codec (https://zarr-specs.readthedocs.io, version 1.0) with whole
rows in a chunk; zarr-python, zarrs and tensorstore read and write the same. It is spelt out here because a chunk can
then be decoded straight to where it is wanted, and because every chunk's digest is taken on the way.
"""

from __future__ import annotations

import math
import os
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import google_crc32c
import numpy as np
from numcodecs import blosc

from headrace.errors import StageError
from headrace.stores.arrays import digest_array
from headrace.stores.layout import Layout

# Blosc's own threads deadlock in pools of threads, and gain nothing where every core has work.
blosc.use_threads = False

Compression = Literal["lz4", "zstd", "none"]
MISSING = np.uint64(2**64 - 1)
CRC_BYTES = 4
CRC_RESIDUE = 0x48674BC7
"""The CRC-32C of any bytes followed by their own CRC-32C (RFC 3720, appendix B.4, after the final complement)."""
_local = threading.local()
SHUFFLE_GAIN = 0.9
"""Shuffled bytes take several times as long to decode: they must save a tenth to be worth it."""


@dataclass(frozen=True)
class ChunkDigests:
    """What the chunks of one shard hold, in their order."""

    sha256: tuple[str, ...]
    """Of each chunk's decoded rows."""
    crc32c: tuple[int, ...]
    """Of each chunk as it is stored: cheap enough to be looked at whenever it is read."""

    def describe(self) -> dict[str, list[Any]]:
        """For a manifest."""
        return {"sha256": list(self.sha256), "crc32c": list(self.crc32c)}


def array_metadata(
    layout: Layout,
    shape: tuple[int, ...],
    dtype: str,
    dimension_names: tuple[str, ...],
    attributes: dict[str, Any],
    compression: Compression = "lz4",
) -> dict[str, Any]:
    """The content of an array's zarr.json; `shape` is that of a row."""
    little = {"name": "bytes", "configuration": {"endian": "little"}}
    inner: list[dict[str, Any]] = [little if np.dtype(dtype).itemsize > 1 else {"name": "bytes"}]
    if compression != "none":
        level = {"cname": compression, "clevel": 5 if compression == "lz4" else 1, "blocksize": 0}
        inner.append(
            {
                "name": "blosc",
                "configuration": {**level, "typesize": np.dtype(dtype).itemsize, "shuffle": "shuffle"},
            }
        )
    # The checksum covers each compressed chunk: without it most flipped bits decode to wrong numbers.
    inner.append({"name": "crc32c"})
    sharding = {
        "chunk_shape": [layout.rows_per_chunk, *shape],
        "codecs": inner,
        "index_codecs": [little, {"name": "crc32c"}],
        "index_location": "end",
    }
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": [layout.num_rows, *shape],
        "data_type": np.dtype(dtype).name,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [layout.rows_per_shard, *shape]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": False if np.dtype(dtype) == bool else 0,
        "codecs": [{"name": "sharding_indexed", "configuration": sharding}],
        "dimension_names": list(dimension_names),
        "attributes": attributes,
        "storage_transformers": [],
    }


def encode_shard(block: np.ndarray, layout: Layout, compression: Compression) -> tuple[list[bytes], ChunkDigests]:
    """The pieces of a shard's file, and what is in it. `block` (rows, ...) are all the rows of one shard."""
    rows, pieces, places, digests, checksums, position = layout.rows_per_chunk, [], [], [], [], 0
    block = np.ascontiguousarray(block.astype(block.dtype.newbyteorder("<"), copy=False))
    shuffle = _choose_shuffle(block[:rows], compression)
    for start in range(0, len(block), rows):
        chunk = block[start : start + rows]
        digests.append(digest_array(chunk))
        if len(chunk) < rows:
            chunk = np.concatenate([chunk, np.zeros((rows - len(chunk), *chunk.shape[1:]), chunk.dtype)])
        data = _compress(chunk, compression, shuffle)
        checksum = google_crc32c.value(data)
        pieces += [data, checksum.to_bytes(CRC_BYTES, "little")]
        places.append((position, len(data) + CRC_BYTES))
        checksums.append(checksum)
        position += len(data) + CRC_BYTES
    index = np.full((layout.chunks_per_shard, 2), MISSING, np.dtype("<u8"))
    index[: len(places)] = places
    end = index.tobytes()
    pieces += [end, google_crc32c.value(end).to_bytes(CRC_BYTES, "little")]
    return pieces, ChunkDigests(tuple(digests), tuple(checksums))


def write_file(path: Path, pieces: list[bytes]) -> None:
    """Write a shard whole: two that write the same shard leave one of the two, never a mixture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}")
    try:
        with temporary.open("wb", buffering=0) as file:
            file.write(b"".join(pieces))
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _choose_shuffle(chunk: np.ndarray, compression: Compression) -> int:
    """Whether to shuffle bytes, tried on the first chunk; every chunk says for itself how it was packed."""
    if compression == "none" or chunk.dtype.itemsize == 1:
        return int(blosc.NOSHUFFLE)
    sizes = [len(_compress(chunk, compression, shuffle)) for shuffle in (blosc.SHUFFLE, blosc.NOSHUFFLE)]
    return int(blosc.SHUFFLE if sizes[0] < SHUFFLE_GAIN * sizes[1] else blosc.NOSHUFFLE)


def _compress(chunk: np.ndarray, compression: Compression, shuffle: int) -> bytes:
    if compression == "none" or chunk.nbytes == 0:
        return chunk.tobytes()
    return bytes(blosc.compress(chunk, compression.encode(), 5 if compression == "lz4" else 1, shuffle))


class ShardFile:
    """A shard to read chunks from. Safe to use from several threads at once."""

    def __init__(self, path: Path, layout: Layout, shape: tuple[int, ...], dtype: np.dtype, compressed: bool) -> None:
        self._path, self._dtype, self._compressed = path, dtype, compressed
        self._chunk_shape = (layout.rows_per_chunk, *shape)
        self._chunk_bytes = math.prod(self._chunk_shape) * dtype.itemsize
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise StageError(f"{path}: is missing") from None
        self._size = os.fstat(self._descriptor).st_size
        length = layout.chunks_per_shard * 16 + CRC_BYTES
        end = os.pread(self._descriptor, length, max(0, self._size - length))
        whole = len(end) == length and google_crc32c.value(end) == CRC_RESIDUE
        self._index = np.frombuffer(end[:-CRC_BYTES] if whole else b"", np.dtype("<u8")).reshape(-1, 2)
        # In a file that was cut short, a chunk may lie where the index should, with a checksum that is right.
        there = self._index[self._index[:, 0] != MISSING]
        if not whole or (there.sum(axis=1, dtype=np.float64) > self._size - length).any():
            os.close(self._descriptor)
            self._descriptor = -1
            raise StageError(f"{path}: is damaged (its index of chunks)")

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        # As an argument: when the interpreter ends, the module may be gone before this.
        if getattr(self, "_descriptor", -1) >= 0:
            close(self._descriptor)

    def read(self, chunk: int, out: np.ndarray, expected: int | None = None) -> None:
        """Decode a chunk into `out`, a contiguous array of a whole chunk's shape and dtype.

        Raises StageError naming file and chunk when it is missing or damaged, or its checksum is not `expected`.
        """
        offset, length = (int(value) for value in self._index[chunk])
        if offset == int(MISSING):
            raise StageError(f"{self._path}: chunk {chunk} is missing")
        if not self._compressed and length != self._chunk_bytes + CRC_BYTES:
            raise StageError(f"{self._path}: chunk {chunk} is damaged (it holds {length - CRC_BYTES} bytes)")
        # What is not compressed goes where it is wanted at once.
        data = _scratch(length if self._compressed else CRC_BYTES)
        parts: list[Any] = [data] if self._compressed else [out.reshape(-1).view(np.uint8), data]
        whole = offset + length <= self._size and os.preadv(self._descriptor, parts, offset) == length
        if not whole or self._checksum(parts) != CRC_RESIDUE:
            raise StageError(f"{self._path}: chunk {chunk} is damaged (its checksum does not match)")
        if expected is not None and _little(data[-CRC_BYTES:].tobytes()) != expected:
            raise StageError(f"{self._path}: chunk {chunk} is not what was written (replaced)")
        if self._compressed:
            self._decode(chunk, data[:-CRC_BYTES], out)

    @staticmethod
    def _checksum(parts: list[Any]) -> int:
        checksum = 0
        for part in parts:
            checksum = google_crc32c.extend(checksum, part)
        return checksum

    def _decode(self, chunk: int, body: np.ndarray, out: np.ndarray) -> None:
        # The size is compared first: a header that claims more must not be decoded over what lies behind `out`.
        holds = _little(body[4:8].tobytes())
        if holds != self._chunk_bytes:
            raise StageError(f"{self._path}: chunk {chunk} is damaged (it holds {holds} bytes)")
        try:
            blosc.decompress(body, out)
        except (RuntimeError, ValueError) as error:
            raise StageError(f"{self._path}: chunk {chunk} cannot be decoded: {error}") from error


def _scratch(length: int) -> np.ndarray:
    """The running thread's buffer for what is read: fresh memory for every chunk would cost as much as decoding it."""
    buffer: np.ndarray | None = getattr(_local, "buffer", None)
    if buffer is None or len(buffer) < length:
        buffer = _local.buffer = np.empty(length + length // 4, np.uint8)
    return buffer[:length]


def _little(data: bytes) -> int:
    return int.from_bytes(data, "little")
