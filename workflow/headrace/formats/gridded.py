"""Rows of variables in netCDF and HDF5 files and Zarr stores, through xarray: who reads them opens the files anew."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from headrace.errors import InputError
from headrace.formats.compressed import MOST_RATIO
from headrace.formats.grid_formats import UNNAMED, Grid, named, open_classic, open_hdf5
from headrace.formats.rows import Rows
from headrace.formats.zarr_stores import open_zarr
from headrace.sources.xarrays import PART_BYTES, part_borders
from headrace.stores.layout import SAMPLE

if TYPE_CHECKING:
    import xarray as xr

MOST_ALIGNED = 4 * PART_BYTES
"""Rows whose chunks are larger than this are not read by whole chunks: a part would not fit into a worker."""
MOST_CHUNK = 2**30
SMALL_BYTES = 64 * 2**20
"""Below this no claim is looked at."""
TIMES = re.compile(r"\s*\w+\s+since\s", re.IGNORECASE)


@contextmanager
def open_variables(grid: Grid, names: Sequence[str]) -> Iterator[dict[str, xr.Variable]]:
    """Some variables, decoded as the CF conventions say but for times, nothing loaded. Raises InputError."""
    from xarray.conventions import decode_cf_variable

    openers = {"netcdf3": open_classic, "netcdf4": open_hdf5, "hdf5": open_hdf5, "zarr": open_zarr}
    # xarray joins characters to text, which only netCDF means, and loads text of other kinds to know its length.
    coded = {"hdf5": "iuf", "netcdf4": "iufS"}.get(grid.format, "biufcmMSUOT")
    with named(str(grid.path)), openers[grid.format](grid, names) as found:
        yield {
            name: decode_cf_variable(name, data, decode_times=False, decode_timedelta=False)
            if data.dtype.kind in coded
            else data
            for name, data in found.items()
        }


@dataclass(frozen=True)
class Form:
    """What a variable, or several that are stacked, look like in one file."""

    sample: str
    """Name of the dimension that rows run along."""
    num_rows: int
    dims: tuple[str, ...]
    """Of a row."""
    shape: tuple[int, ...]
    dtype: np.dtype
    units: tuple[str, ...]
    chunk_rows: int


class GridRows(Rows):
    """A variable of some files, or several stacked along a last dimension, joined along the samples."""

    def __init__(
        self,
        grids: Sequence[Grid],
        names: str | Sequence[str],
        sample: str | None = None,
        *,
        strict: bool = True,
        times: bool = False,
    ) -> None:
        """`sample` is the dimension of the rows, by default the first; with `strict` a variable must have it.

        `times` says that dates are welcome; they are numbers then. Raises InputError naming file and variable.
        """
        self._stacked = not isinstance(names, str)
        self._names = (names,) if isinstance(names, str) else tuple(names)
        self._grids, self._strict, self._times = tuple(grids), strict, times
        self._forms = [self._look(grid, sample) for grid in grids]
        first = self._forms[0]
        for grid, form in zip(grids, self._forms, strict=True):
            for what in ("dims", "shape", "units"):
                if getattr(form, what) != getattr(first, what) and not (what == "dims" and _unnamed(form.dims)):
                    raise InputError(
                        f"{grid.path}: {self._what}: {what} are {getattr(form, what)}, but those in {grids[0].path} "
                        f"are {getattr(first, what)}; joined files must agree"
                    )
        self.sample = first.sample
        self.shape = (*first.shape, len(self._names)) if self._stacked else first.shape
        self.dims = _usable((*first.dims, "channel") if self._stacked else first.dims)
        self._first = np.cumsum([0, *(form.num_rows for form in self._forms)])
        self.num_rows = int(self._first[-1])
        self.dtype = _common([form.dtype for form in self._forms], str(grids[0].path), self._what)

    def read(self, start: int, stop: int) -> np.ndarray:
        """Only these rows, from files that are opened and closed again."""
        pieces = []
        for number, grid in enumerate(self._grids):
            first, last = int(self._first[number]), int(self._first[number + 1])
            low, high = max(start, first) - first, min(stop, last) - first
            if low < high:
                pieces.append(self._read(grid, self._forms[number].sample, slice(low, high)))
        whole = pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
        return whole if self.dtype.kind == "U" else whole.astype(self.dtype, copy=False)

    def place(self, row: int) -> str:
        """Counted within the file."""
        number = min(int(np.searchsorted(self._first, row, side="right")) - 1, len(self._grids) - 1)
        return f"{self._grids[number].path}: {self._what}: row {row - int(self._first[number])}"

    def borders(self) -> np.ndarray:
        """Parts end where files do, and where chunks do unless these are large."""
        row_bytes = math.prod(self.shape) * max(4, self.dtype.itemsize)
        edges = [np.zeros(1, np.int64)]
        for first, form in zip(self._first, self._forms, strict=False):
            aligned = form.chunk_rows * row_bytes <= MOST_ALIGNED
            inner = part_borders(form.num_rows, row_bytes, multiple=form.chunk_rows if aligned else 1)
            edges.append(first + inner[1:])
        return np.concatenate(edges)

    @property
    def _what(self) -> str:
        return ", ".join(self._names)

    def _read(self, grid: Grid, sample: str, rows: slice) -> np.ndarray:
        with open_variables(grid, self._names) as data:
            found = [data[name].isel({sample: rows}).transpose(sample, ...).to_numpy() for name in self._names]
            wanted = (rows.stop - rows.start, *self.shape[: len(self.shape) - self._stacked])
            if any(values.shape != wanted for values in found):
                raise InputError(f"{grid.path}: {self._what}: has another shape than when it was surveyed")
            if self.dtype.kind == "U":
                found = [_as_text(values, f"{grid.path}: {self._what}") for values in found]
            elif self._times and found[0].dtype.kind in "mM":
                found = [values.astype(np.int64) for values in found]
            return np.stack(found, axis=-1) if self._stacked else found[0]

    def _look(self, grid: Grid, sample: str | None) -> Form:
        """Hold the variables of one file to each other, and to the file's size."""
        with open_variables(grid, self._names) as data:
            forms = [self._form(grid, name, data[name], sample) for name in self._names]
        for name, form in zip(self._names, forms, strict=True):
            if (form.dims, form.shape, form.num_rows) != (forms[0].dims, forms[0].shape, forms[0].num_rows):
                raise InputError(
                    f"{grid.path}: {name}: is {form.num_rows} rows of {form.dims} {form.shape}, but {self._names[0]} "
                    f"{forms[0].num_rows} of {forms[0].dims} {forms[0].shape}; several inputs must agree"
                )
        units = tuple(unit for form in forms for unit in form.units)
        dtype = _common([form.dtype for form in forms], str(grid.path), self._what)
        chunk_rows = max(form.chunk_rows for form in forms)
        return Form(forms[0].sample, forms[0].num_rows, forms[0].dims, forms[0].shape, dtype, units, chunk_rows)

    def _form(self, grid: Grid, variable: str, data: xr.Variable, sample: str | None) -> Form:
        name, dims = f"{grid.path}: {variable}", tuple(map(str, data.dims))
        if not dims:
            raise InputError(f"{name}: holds a single value, and no rows")
        if self._strict and sample is not None and sample not in dims:
            raise InputError(f"{name}: has no dimension {sample!r}; allowed: {', '.join(dims)}")
        along = sample if sample in dims else dims[0]
        sizes, chunks = dict(zip(dims, data.shape, strict=True)), data.encoding.get("preferred_chunks") or {}
        held = [int(chunks.get(dim, sizes[dim])) for dim in dims]
        if data.nbytes > max(SMALL_BYTES, MOST_RATIO * grid.num_bytes):
            raise InputError(f"{name}: claims {data.nbytes} bytes in {grid.num_bytes}, which no data do")
        if math.prod(held) * max(1, data.dtype.itemsize) > MOST_CHUNK and chunks:
            raise InputError(f"{name}: is stored in chunks above {MOST_CHUNK // 2**20} MiB; store it in smaller ones")
        units = str(data.attrs.get("units", ""))
        if not self._times and (TIMES.match(units) or data.dtype.kind in "mM"):
            raise InputError(f"{name}: holds times ({units or data.dtype}); allowed: numbers")
        dtype = np.dtype(np.int64) if self._times and data.dtype.kind in "mM" else data.dtype
        dtype = np.dtype("U") if dtype.kind in "OTUS" else dtype
        rest = tuple(dim for dim in dims if dim != along)
        chunk_rows = max(1, min(int(chunks.get(along, 1)), sizes[along]))
        return Form(along, sizes[along], rest, tuple(sizes[dim] for dim in rest), dtype, (units,), chunk_rows)


def _unnamed(dims: Sequence[str]) -> bool:
    return any(UNNAMED.fullmatch(dim) for dim in dims)


def _usable(dims: tuple[str, ...]) -> tuple[str, ...]:
    """The names of a row's dimensions, or nothing where they say nothing, or cannot be those of a store."""
    if _unnamed(dims) or SAMPLE in dims or len(set(dims)) < len(dims):
        return ()
    return dims if all(dim.isprintable() and dim.isascii() for dim in dims) else ()


def _common(types: Sequence[np.dtype], place: str, what: str) -> np.dtype:
    """A type that holds all of them, in the machine's byte order. Raises InputError for text among numbers."""
    if all(dtype.kind in "biuf" for dtype in types):
        common: np.dtype = np.result_type(*types)
        return common
    if len(set(types)) > 1:
        raise InputError(f"{place}: {what}: are of types {', '.join(sorted(map(str, set(types))))}; they must agree")
    return types[0]


def _as_text(values: np.ndarray, name: str) -> np.ndarray:
    """Text of any kind as `U`; what is missing is empty."""
    flat = []
    for value in values.astype(object).reshape(-1).tolist():
        text = value.decode() if isinstance(value, bytes) else value
        if text is None or (isinstance(text, float) and math.isnan(text)):
            text = ""
        if not isinstance(text, str):
            raise InputError(f"{name}: holds values of type {type(text).__name__}; allowed: numbers or text")
        flat.append(text)
    return np.array(flat, np.str_).reshape(values.shape)
