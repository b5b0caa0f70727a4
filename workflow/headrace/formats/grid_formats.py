"""Variables of netCDF and HDF5 files as xarray's, nothing loaded, and only those that are asked for."""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from headrace.errors import InputError

if TYPE_CHECKING:
    import h5py
    import xarray as xr

UNNAMED = re.compile(r"dim_\d+")
"""What dimensions are called that have no name."""
CF_ATTRIBUTES = (
    "scale_factor",
    "add_offset",
    "_FillValue",
    "missing_value",
    "_Unsigned",
    "_Encoding",
    "dtype",
    "units",
)


@dataclass(frozen=True)
class Grid:
    """One file, or one store of Zarr."""

    path: Path
    num_bytes: int
    format: Literal["netcdf3", "netcdf4", "hdf5", "zarr"]
    group: str | None = None


@contextmanager
def named(name: str) -> Iterator[None]:
    """Turn what parsers of damaged bytes raise, and that is anything, into an InputError; warnings are left out."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except InputError:
        raise
    except Exception as error:
        why = " ".join(str(error).split())[:300] or type(error).__name__
        raise InputError(f"{name}: cannot be read: {why}") from None


def begins_with(path: Path, magic: bytes) -> bool:
    """Whether a file's first bytes are those of a format. Raises InputError when it cannot be read."""
    with named(str(path)), path.open("rb") as file:
        return file.read(len(magic)) == magic


def refuse_unknown(path: Path, names: Iterable[str], there: Collection[str]) -> None:
    """Raise InputError for a variable that is not there."""
    for name in names:
        if name not in there:
            listed = ", ".join(sorted(map(repr, there))[:30])
            raise InputError(f"{path}: has no variable {name!r}; allowed: {listed or 'none at all'}")


def lazy_variable(dims: Sequence[str], array: Any, attributes: Mapping[str, Any], chunks: Any) -> xr.Variable:
    """An array that is read by ranges, as those of h5py and of zarr are. `chunks` are its chunks' sizes, or None."""
    import xarray as xr
    from xarray.backends import BackendArray
    from xarray.core import indexing

    class Wrapped(BackendArray):
        shape, dtype = array.shape, array.dtype

        def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
            way = indexing.IndexingSupport.BASIC
            return indexing.explicit_indexing_adapter(key, self.shape, way, array.__getitem__)

    encoding = {"preferred_chunks": dict(zip(dims, chunks, strict=True))} if chunks else {}
    return xr.Variable(tuple(dims), indexing.LazilyIndexedArray(Wrapped()), dict(attributes), encoding)


@contextmanager
def open_classic(grid: Grid, names: Sequence[str]) -> Iterator[dict[str, xr.Variable]]:
    """Some variables of a netCDF 3 file. Raises InputError for one that is not there."""
    import xarray as xr

    plain: dict[str, Any] = {"decode_cf": False, "cache": False, "create_default_indexes": False}
    with xr.open_dataset(grid.path, engine="scipy", **plain) as raw:
        refuse_unknown(grid.path, names, list(map(str, raw.variables)))
        yield {name: raw.variables[name] for name in names}


@contextmanager
def open_hdf5(grid: Grid, names: Sequence[str]) -> Iterator[dict[str, xr.Variable]]:
    """Some datasets of an HDF5 or netCDF 4 file. Raises InputError for one that is not there, or no dataset.

    Nothing else in the file is touched: a type that xarray does not know, or a link to nowhere, does no harm.
    """
    import h5py

    with h5py.File(grid.path, "r") as file:
        group = file[grid.group or "/"]
        if not isinstance(group, h5py.Group):
            raise InputError(f"{grid.path}: {grid.group}: is no group")
        found = {}
        for name in names:
            data = group.get(name)
            if not isinstance(data, h5py.Dataset):
                refuse_unknown(grid.path, [name], _datasets(group))
                raise InputError(f"{grid.path}: {name}: is no dataset that can be opened")
            _refuse_elsewhere(grid, name, file, data)
            dims = [_dimension(data, axis) for axis in range(data.ndim)]
            known = {key: data.attrs[key] for key in CF_ATTRIBUTES if key in data.attrs}
            found[name] = lazy_variable(dims, data, known, data.chunks)
        yield found


def _datasets(group: h5py.Group) -> list[str]:
    """Names of the datasets that lie in a group."""
    import h5py

    # What a link leads to need not be there.
    linked = [name for name in group if isinstance(group.get(name, getlink=True), h5py.HardLink)]
    return [name for name in linked if group.get(name, getclass=True) is h5py.Dataset]


def _dimension(data: h5py.Dataset, axis: int) -> str:
    """By the scale that belongs to it, by its label, or its own name where it is a scale itself."""
    dimension = data.dims[axis]
    scale = dimension[0].name if len(dimension) else data.name if data.is_scale and data.ndim == 1 else None
    return str(scale).rpartition("/")[2] if scale else dimension.label or f"dim_{axis}"


def _refuse_elsewhere(grid: Grid, name: str, file: h5py.File, data: h5py.Dataset) -> None:
    """Numbers in other files are neither hashed nor held to anything. Raises InputError."""
    if data.file.filename != file.filename or data.external or data.is_virtual:
        raise InputError(f"{grid.path}: {name}: its numbers lie in another file; allowed: numbers in this one")
