"""Rows that were never sharded for a run: arrays in a file, and inputs after a chain, made a chunk at a time."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from headrace import chains
from headrace.batching.epochs import Rows
from headrace.blocks import Block, Ragged, offsets_of
from headrace.chains import Chain
from headrace.datasets.base import INPUTS
from headrace.errors import InputError, StageError
from headrace.stores import groups
from headrace.stores.layout import MIB, Layout, Variable

CHUNK_BYTES = 4 * MIB
"""Of a file's rows, and of what a chain makes."""


class Inputs:
    """The inputs of such rows, as an array that is made when it is read; of ragged ones, how they are cut."""

    def __init__(self, store: Transformed | ArrayFile, layout: Layout) -> None:
        variable = store.variables[INPUTS]
        self._store, self.layout, self.shape = store, layout, variable.shape
        self.dtype: np.dtype = np.dtype(variable.dtype)

    def chunk(self, chunk: int, out: np.ndarray | None = None) -> np.ndarray:
        """The rows of one chunk; `out` is left alone."""
        return self.read(self.layout.chunk_rows(chunk))

    def read(self, rows: slice) -> np.ndarray:
        """A range of rows."""
        block = self._store.read(INPUTS, rows)
        assert isinstance(block, np.ndarray)
        return block


class Transformed:
    """The inputs of other rows, after a chain."""

    def __init__(self, source: Rows, chain: Chain, first: int) -> None:
        """`first` is where the rows begin in the store that the chain was fitted on; behind its end if they are new."""
        self._source, self._chain, self._first = source, chain, first
        info = chain[-1].info
        self.attributes: Mapping[str, Any] = {"num_codes": info.num_codes}
        self.variables = {INPUTS: chains.variable_of(self.read(INPUTS, slice(0, 1)), info.dims)}
        self._row_bytes = max(1.0, info.row_bytes)
        widest = max(self._row_bytes, *(fitted.info.row_bytes for fitted in chain))
        size = max(1, min(source.layout.rows_per_chunk, int(CHUNK_BYTES // widest)))
        self.layout = Layout(source.layout.num_rows, size, size)
        self._offsets: np.ndarray | None = None

    def read(self, name: str, rows: slice) -> Block:
        """A range of rows."""
        place = slice(self._first + rows.start, self._first + rows.stop)
        return chains.transform(self._source.read(name, rows), self._chain, place)

    def array(self, name: str) -> Inputs:
        """The inputs."""
        variable = self.variables[name]
        ragged = variable.layout == "ragged"
        return Inputs(self, groups.value_layout(int(self.offsets(name)[-1]), variable) if ragged else self.layout)

    def offsets(self, name: str) -> np.ndarray:
        """(rows + 1,) where ragged rows begin: to be measured, all are made once more."""
        if self._offsets is None:
            blocks = (self.read(name, self.layout.chunk_rows(chunk)) for chunk in range(self.layout.num_chunks))
            self._offsets = offsets_of(np.concatenate([block.lengths for block in blocks if isinstance(block, Ragged)]))
        return self._offsets

    def decoded_bytes(self, name: str, rows: slice) -> int:
        """About how much memory a range of rows takes."""
        return int(len(range(rows.start, rows.stop)) * self._row_bytes)


class ArrayFile:
    """Dense rows of a .npy or .npz file, held to what is wanted of them."""

    def __init__(self, path: Path, wanted: Variable, num_codes: int = 0, *, may_miss: bool = False) -> None:
        """`num_codes` are codes 0, 1, ...; measurements where it is 0, which `may_miss`, as NaN. Raises InputError."""
        self._path, self._num_codes, self._may_miss = path, num_codes, may_miss
        if wanted.layout != "dense":
            raise InputError(f"{path}: its rows are dense, and the run's {wanted.layout}; give an artifact of shard")
        self._values = values = load_rows(path)
        if values.shape[1:] != wanted.shape or not len(values):
            raise InputError(
                f"{path}: {len(values)} rows of shape {values.shape[1:]}; it must be one or more of {wanted.shape}"
            )
        self._dtype: np.dtype = np.dtype(wanted.dtype)
        if values.dtype.kind not in ("biu" if self._dtype.kind in "iu" else "biuf"):
            raise InputError(f"{path}: holds {values.dtype}; the data that the run was trained on are {wanted.dtype}")
        self.variables = {INPUTS: wanted}
        self.attributes: Mapping[str, Any] = {"num_codes": num_codes}
        size = max(1, CHUNK_BYTES // max(1, wanted.row_bytes, values[:1].nbytes))
        self.layout = Layout(len(values), size, size)

    def read(self, name: str, rows: slice) -> np.ndarray:
        """A range of rows. Raises InputError naming the first row that is not allowed."""
        found = self._values[rows]
        with np.errstate(over="ignore", invalid="ignore"):
            values = np.ascontiguousarray(found, self._dtype)
        if self._num_codes:
            wrong, allowed = (found < 0) | (found >= self._num_codes), f"0 to {self._num_codes - 1}"
        elif self._dtype.kind == "f":
            wrong, allowed = ~np.isfinite(values), "finite numbers"
            if self._may_miss:
                wrong &= ~np.isnan(found)
        else:
            wrong, allowed = values != found, f"numbers that {self._dtype} can hold"
        bad = wrong.reshape(len(values), -1).any(axis=1)
        if bad.any():
            raise InputError(f"{self._path}: row {rows.start + int(np.argmax(bad))}: allowed: {allowed}")
        return values

    def array(self, name: str) -> Inputs:
        """The inputs."""
        return Inputs(self, self.layout)

    def offsets(self, name: str) -> np.ndarray:
        """There are no ragged variables here."""
        raise StageError(f"{self._path}: {name} is not ragged")

    def decoded_bytes(self, name: str, rows: slice) -> int:
        """How much memory a range of rows takes."""
        return len(range(rows.start, rows.stop)) * self.variables[name].row_bytes


def load_rows(path: Path) -> np.ndarray:
    """The array of a file, (rows, ...): of .npy mapped, so that only what is looked at is read; of .npz whole.

    Raises InputError.
    """
    try:
        found = np.lib.format.open_memmap(path, mode="r") if path.suffix == ".npy" else _load_archived(path)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        why = getattr(error, "strerror", None) or " ".join(str(error).split())[:150]
        raise InputError(f"{path}: cannot be read: {why}") from None
    if not found.ndim:
        raise InputError(f"{path}: a single number is no rows")
    return found


def _load_archived(path: Path) -> np.ndarray:
    """The array called `inputs`, or the only one."""
    with path.open("rb") as file:
        archive = np.load(file, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise ValueError("is no archive of arrays")
        names = list(archive)
        name = INPUTS if INPUTS in names else names[0] if len(names) == 1 else ""
        if not name:
            raise InputError(f"{path}: holds {', '.join(names) or 'nothing'}; name one of them {INPUTS!r}")
        found: np.ndarray = archive[name]
        return found
