"""Reading a store: any rows of any variable, each chunk checked as it is read."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from headrace.blocks import Block, Ragged
from headrace.stores import groups
from headrace.stores.arrays import digest_array
from headrace.stores.layout import Layout, Variable, shard_key
from headrace.stores.shards import ShardFile
from headrace.stores.writing import part_layout, read_value_layout

MAX_OPEN_FILES = 64


class ChunkedArray:
    """An array of one dimension of rows, in shards of chunks."""

    def __init__(
        self,
        path: Path,
        name: str,
        layout: Layout,
        shape: tuple[int, ...],
        dtype: str,
        compressed: bool,
        expected: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        """`expected` is what a manifest says of the chunks; without it a chunk's own checksum has to do."""
        self.layout, self.shape, self.dtype = layout, shape, np.dtype(dtype).newbyteorder("<")
        self._path, self._name, self._compressed, self._expected = path, name, compressed, expected
        self._files: OrderedDict[int, ShardFile] = OrderedDict()
        self._lock = threading.Lock()

    def chunk(self, chunk: int, out: np.ndarray | None = None) -> np.ndarray:
        """The rows of one chunk, counted over all shards; a view of `out` (rows_per_chunk, ...) when that is given."""
        if out is None:
            out = np.empty((self.layout.rows_per_chunk, *self.shape), self.dtype)
        shard, within = divmod(chunk, self.layout.chunks_per_shard)
        self._file(shard).read(within, out, self._checksum(shard, within))
        rows = self.layout.chunk_rows(chunk)
        return out[: rows.stop - rows.start]

    def read(self, rows: slice) -> np.ndarray:
        """A range of rows."""
        out = np.empty((max(0, rows.stop - rows.start), *self.shape), self.dtype)
        per_chunk = self.layout.rows_per_chunk
        for chunk in range(rows.start // per_chunk, -(-rows.stop // per_chunk)) if len(out) else ():
            own = self.layout.chunk_rows(chunk)
            first, last = max(own.start, rows.start), min(own.stop, rows.stop)
            place = out[first - rows.start : last - rows.start]
            if last - first == per_chunk:
                self.chunk(chunk, place)
            else:
                place[...] = self.chunk(chunk)[first - own.start : last - own.start]
        return out

    def num_chunks(self, shard: int) -> int:
        """Chunks of a shard that hold rows."""
        rows = self.layout.rows(shard)
        count: int = -(-max(0, rows.stop - rows.start) // self.layout.rows_per_chunk)
        return count

    def digest(self, shard: int, chunk: int) -> str:
        """What a chunk of a shard holds now; raises StageError when it cannot be read."""
        return digest_array(self.chunk(shard * self.layout.chunks_per_shard + chunk))

    def _checksum(self, shard: int, chunk: int) -> int | None:
        if self._expected is None:
            return None
        known = self._expected.get(shard_key(self._name, shard))
        return None if known is None else int(known["crc32c"][chunk])

    def _file(self, shard: int) -> ShardFile:
        with self._lock:
            if shard not in self._files:
                path = (self._path / self._name).joinpath("c", str(shard), *("0" for _ in self.shape))
                self._files[shard] = ShardFile(path, self.layout, self.shape, self.dtype, self._compressed)
            self._files.move_to_end(shard)
            file = self._files[shard]
            if len(self._files) > MAX_OPEN_FILES:
                # Closed when the last reader lets go of it.
                self._files.popitem(last=False)
            return file


class Store:
    """A store that Headrace wrote. Safe to use from several threads at once."""

    def __init__(self, path: Path, expected: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        self.path = path
        self.attributes = groups.read_attributes(path)
        self.layout = Layout(**self.attributes["layout"])
        self.variables = groups.read_variables(path)
        self._expected = expected
        self._arrays: dict[str, ChunkedArray] = {}
        self._offsets: dict[str, np.ndarray] = {}

    def __reduce__(self) -> tuple[type[Store], tuple[Any, ...]]:
        """As what it was opened with: open files stay behind."""
        return Store, (self.path, self._expected)

    def split(self, name: str) -> slice:
        """Where a split lies."""
        return groups.split_rows(self.path, name)

    def array(self, name: str) -> ChunkedArray:
        """A dense variable, or the values of a ragged one."""
        variable = self.variables[name]
        layout = read_value_layout(self.path, name, variable) if variable.layout == "ragged" else self.layout
        return self._array(name, layout, variable.shape, variable.dtype)

    def offsets(self, name: str) -> np.ndarray:
        """(rows + 1,) where the rows of a ragged variable begin."""
        if name not in self._offsets:
            self._offsets[name] = groups.read_array(self.path, f"{name}{groups.OFFSETS}")
        return self._offsets[name]

    def read(self, name: str, rows: slice) -> Block:
        """A range of rows of a variable of any layout."""
        variable = self.variables[name]
        if variable.layout == "dense":
            return self.array(name).read(rows)
        if variable.layout == "ragged":
            edges = self.offsets(name)[rows.start : rows.stop + 1]
            return Ragged(self.array(name).read(slice(int(edges[0]), int(edges[-1]))), np.diff(edges))
        return self._read_sparse(name, variable, rows)

    def decoded_bytes(self, name: str, rows: slice) -> int:
        """How much memory a range of rows takes; of a sparse variable, as if its shards' rows were all alike."""
        variable, length = self.variables[name], len(range(rows.start, rows.stop))
        if variable.layout == "dense" or not length:
            return length * variable.row_bytes
        if variable.layout == "ragged":
            offsets = self.offsets(name)
            return int(offsets[rows.stop] - offsets[rows.start]) * variable.row_bytes
        stored = 0.0
        for shard in range(rows.start // self.layout.rows_per_shard, -(-rows.stop // self.layout.rows_per_shard)):
            own, array = self.layout.rows(shard), self.sparse_array(name, shard, "data")
            share = (min(own.stop, rows.stop) - max(own.start, rows.start)) / (own.stop - own.start)
            stored += share * array.layout.num_rows * (array.dtype.itemsize + 4)
        return int(stored) + 8 * length

    def sparse_array(self, name: str, shard: int, part: str) -> ChunkedArray:
        """One of the three arrays of a shard of a sparse variable."""
        variable = self.variables[name]
        folder = f"{name}/{shard}/{part}"
        columns = "int32" if variable.shape[0] < 2**31 else "int64"
        dtype = {"data": variable.dtype, "indices": columns, "indptr": "int64"}[part]
        if folder not in self._arrays:
            length = groups.read_length(self.path / folder)
            self._array(folder, part_layout(length, np.dtype(dtype)), (), dtype)
        return self._arrays[folder]

    def shards(self) -> Iterator[tuple[str, int, ChunkedArray]]:
        """Every shard of everything: its key, its number, and the array that it is a part of."""
        for name, variable in self.variables.items():
            if variable.layout != "sparse":
                array = self.array(name)
                yield from ((shard_key(name, i), i, array) for i in range(array.layout.num_shards))
                continue
            for shard in range(self.layout.num_shards):
                for part in ("data", "indices", "indptr"):
                    array = self.sparse_array(name, shard, part)
                    key = f"{name}/{shard}/{part}"
                    yield from ((shard_key(key, i), i, array) for i in range(array.layout.num_shards))

    def _read_sparse(self, name: str, variable: Variable, rows: slice) -> Block:
        from scipy.sparse import csr_array, vstack

        blocks = []
        for shard in range(rows.start // self.layout.rows_per_shard, -(-rows.stop // self.layout.rows_per_shard)):
            own = self.layout.rows(shard)
            first, last = max(own.start, rows.start) - own.start, min(own.stop, rows.stop) - own.start
            borders = self._read_row_borders(name, shard, slice(first, last + 1))
            stored = slice(int(borders[0]), int(borders[-1]))
            data, indices = (self.sparse_array(name, shard, part).read(stored) for part in ("data", "indices"))
            # scipy would make int64 of columns beside int64 borders: half as much memory again.
            borders = (borders - borders[0]).astype(indices.dtype if len(data) < 2**31 else np.int64)
            blocks.append(csr_array((data, indices, borders), shape=(last - first, variable.shape[0])))
        empty = csr_array((0, variable.shape[0]), dtype=variable.dtype)
        return vstack(blocks, format="csr") if len(blocks) > 1 else blocks[0] if blocks else empty

    def _read_row_borders(self, name: str, shard: int, rows: slice) -> np.ndarray:
        return self.sparse_array(name, shard, "indptr").read(rows)

    def _array(self, name: str, layout: Layout, shape: tuple[int, ...], dtype: str) -> ChunkedArray:
        if name not in self._arrays:
            compressed = self.attributes["compression"] != "none"
            array = ChunkedArray(self.path, name, layout, shape, dtype, compressed, self._expected)
            self._arrays.setdefault(name, array)
        return self._arrays[name]
