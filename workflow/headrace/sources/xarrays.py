"""xarray Datasets as sources: lazy ones are read in place, those in memory are laid down for workers to map."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.blocks import Blocks
from headrace.datasets.base import INPUTS, SAMPLE, Source
from headrace.stores.layout import Variable

if TYPE_CHECKING:
    import xarray as xr

PART_BYTES = 16 * 2**20


def part_borders(num_rows: int, row_bytes: float, multiple: int = 1) -> np.ndarray:
    """(parts + 1,) borders of parts of about 16 MiB, each but the last a multiple of some rows."""
    rows = max(1, int(PART_BYTES // max(1.0, row_bytes)))
    rows = max(multiple, rows // multiple * multiple)
    return np.append(np.arange(0, num_rows, rows, dtype=np.int64), np.int64(num_rows))


class MappedArrays(Source):
    """Dense arrays in .npy files, which every process maps into its memory and reads a part of."""

    def __init__(
        self,
        folder: Path,
        arrays: dict[str, np.ndarray],
        dims: dict[str, tuple[str, ...]],
        attributes: dict[str, Any] | None = None,
    ) -> None:
        """Lay down `arrays` (rows, ...) in a folder; `dims` name the dimensions of a row."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder.absolute()
        for name, values in arrays.items():
            np.save(self._folder / f"{name}.npy", values, allow_pickle=False)
        self.variables = {
            name: Variable(dims[name], values.shape[1:], values.dtype.name) for name, values in arrays.items()
        }
        row_bytes = sum(variable.row_bytes for variable in self.variables.values())
        self.borders = part_borders(len(next(iter(arrays.values()))), row_bytes)
        self.attributes = attributes or {}

    def read(self, part: int, names: Sequence[str]) -> Blocks:
        """Copy a part out of the mapped files."""
        rows = slice(int(self.borders[part]), int(self.borders[part + 1]))
        return {name: np.array(np.load(self._folder / f"{name}.npy", mmap_mode="r")[rows]) for name in names}


class LazyDataset(Source):
    """A Dataset that was opened from files; its variables are (sample, ...)."""

    def __init__(self, dataset: xr.Dataset) -> None:
        self._dataset = dataset
        self.variables = {
            str(name): Variable(tuple(map(str, data.dims[1:])), data.shape[1:], data.dtype.name)
            for name, data in dataset.data_vars.items()
        }
        row_bytes = sum(variable.row_bytes for variable in self.variables.values())
        chunks = dataset[INPUTS].encoding.get("preferred_chunks", {}).get(SAMPLE, 1)
        self.borders = part_borders(dataset.sizes[SAMPLE], row_bytes, multiple=int(chunks))
        self.attributes = {str(key): value for key, value in dataset.attrs.items()}

    def read(self, part: int, names: Sequence[str]) -> Blocks:
        """Load a part."""
        rows = slice(int(self.borders[part]), int(self.borders[part + 1]))
        chosen = self._dataset[list(names)].isel({SAMPLE: rows})
        return {name: np.ascontiguousarray(chosen[name].to_numpy()) for name in names}


def as_source(data: Source | xr.Dataset, scratch: Path) -> Source:
    """What a kind gave, as rows to read in parts."""
    if isinstance(data, Source):
        return data
    if any(variable.chunks is not None or not variable._in_memory for variable in data.variables.values()):
        return LazyDataset(data)
    arrays = {str(name): variable.to_numpy() for name, variable in data.data_vars.items()}
    dims = {str(name): tuple(map(str, variable.dims[1:])) for name, variable in data.data_vars.items()}
    return MappedArrays(scratch, arrays, dims, {str(key): value for key, value in data.attrs.items()})
