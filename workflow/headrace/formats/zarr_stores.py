"""Arrays of Zarr stores as xarray's variables, also those without names for their dimensions."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.datasets.base import SourceFile
from headrace.errors import InputError
from headrace.formats.grid_formats import Grid, lazy_variable, refuse_unknown

if TYPE_CHECKING:
    import xarray as xr
    import zarr

MARKS = ("zarr.json", ".zgroup", ".zarray")
LARGEST_METADATA = 16 * 2**20


def find_stores(files: Sequence[SourceFile]) -> dict[Path, int]:
    """The folders of the stores that files make up, and the bytes of each. Raises InputError where there is none."""
    marked = {file.path.parent for file in files if file.path.name in MARKS}
    tops = [folder for folder in marked if not any(above in marked for above in folder.parents)]
    sizes: dict[Path, int] = {}
    for file in files:
        top = next((place for place in file.path.parents if place in tops), None)
        if top is None:
            raise InputError(f"{file.path}: is in no Zarr store: no folder above it holds {', '.join(MARKS)}")
        sizes[top] = sizes.get(top, 0) + file.num_bytes
    return sizes


def refuse_pickles(files: Sequence[SourceFile]) -> None:
    """Pickled objects run any code when they are read. Raises InputError naming the file that tells of them."""
    for file in files:
        if file.path.name in (*MARKS, ".zmetadata"):
            if file.num_bytes > LARGEST_METADATA:
                raise InputError(f"{file.path}: has {file.num_bytes} bytes; allowed: {LARGEST_METADATA}")
            try:
                metadata = json.loads(file.path.read_bytes())
            except (OSError, ValueError, RecursionError) as error:
                raise InputError(f"{file.path}: is no JSON: {' '.join(str(error).split())}") from None
            if _names_pickle(metadata):
                raise InputError(f"{file.path}: holds pickled Python objects, which could run any code")


def _names_pickle(value: Any) -> bool:
    if isinstance(value, list):
        return any(map(_names_pickle, value))
    if not isinstance(value, dict):
        return False
    names = [value.get("id"), value.get("name")]
    inner = (part for key, part in value.items() if key not in ("attributes", "attrs"))
    return any(isinstance(name, str) and "pickle" in name.lower() for name in names) or any(map(_names_pickle, inner))


@contextmanager
def open_zarr(grid: Grid, names: Sequence[str]) -> Iterator[dict[str, xr.Variable]]:
    """Some arrays of a group of a store. Raises InputError for one that is not there.

    A store that is a single array has it under the folder's name, without `.zarr`.
    """
    import xarray as xr
    import zarr

    alone = _is_array(grid.path / (grid.group or ""))
    if alone:
        arrays = {grid.path.stem: zarr.open_array(grid.path, mode="r", path=grid.group or "")}
    else:
        arrays = dict(zarr.open_group(grid.path, mode="r", path=grid.group or "", use_consolidated=False).arrays())
    refuse_unknown(grid.path, names, arrays)
    if alone or not all(_has_dims(arrays[name]) for name in names):
        yield {name: _wrap(arrays[name]) for name in names}
        return
    with xr.open_dataset(
        grid.path,
        engine="zarr",
        group=grid.group,
        decode_cf=False,
        cache=False,
        create_default_indexes=False,
        drop_variables=[name for name in arrays if name not in names],
        backend_kwargs={"consolidated": False},
    ) as raw:
        yield {name: raw.variables[name] for name in names}


def _is_array(folder: Path) -> bool:
    mark = folder / "zarr.json"
    return (
        bool(json.loads(mark.read_bytes())["node_type"] == "array") if mark.exists() else (folder / ".zarray").exists()
    )


def _has_dims(array: zarr.Array[Any]) -> bool:
    names = getattr(array.metadata, "dimension_names", None)
    return "_ARRAY_DIMENSIONS" in array.attrs or array.ndim == 0 or (names is not None and None not in names)


def _wrap(array: zarr.Array[Any]) -> xr.Variable:
    dims = [f"dim_{axis}" for axis in range(array.ndim)]
    return lazy_variable(dims, array, dict(array.attrs), array.chunks)
