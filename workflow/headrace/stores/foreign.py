"""Reading Zarr that other tools wrote: dense rows, in any chunks, shards and codecs that zarr-python knows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.errors import StageError
from headrace.stores.layout import Layout, Variable

if TYPE_CHECKING:
    from zarr import Array


class ForeignArray:
    """An array whose first dimension are rows. Safe to use from several threads at once."""

    def __init__(self, path: Path, name: str, array: Array[Any]) -> None:
        self._path, self._name, self._array = path, name, array
        if not array.ndim or array.dtype.kind not in "biuf":
            raise StageError(f"{path}: {name} is {array.dtype} {array.shape}; only numbers in rows can be read")
        self.shape = tuple(int(size) for size in array.shape[1:])
        self.dtype = array.dtype.newbyteorder("=")
        chunk = max(1, int(array.chunks[0]))
        self.layout = Layout(int(array.shape[0]), chunk, chunk)

    def chunk(self, chunk: int, out: np.ndarray | None = None) -> np.ndarray:
        """The rows of one chunk; `out` is left alone."""
        return self.read(self.layout.chunk_rows(chunk))

    def read(self, rows: slice) -> np.ndarray:
        """A range of rows. Raises StageError when it cannot be read."""
        with _named(self._path, f"rows {rows.start} to {rows.stop - 1} of {self._name}"):
            return np.ascontiguousarray(self._array[rows], self.dtype)


class ForeignStore:
    """Arrays of the same rows: some of a group, or one alone."""

    def __init__(self, path: Path, names: Mapping[str, str | None]) -> None:
        """`names` says what the variables are called here -> there; None is the array that `path` itself is.

        Raises StageError for what is not there or cannot be rows of numbers.
        """
        import zarr

        self.path = path
        self._arrays: dict[str, ForeignArray] = {}
        self.variables: dict[str, Variable] = {}
        with _named(path, "the store"):
            root = zarr.open(str(path), mode="r")
            self.attributes: dict[str, Any] = dict(root.attrs)
        for name, there in names.items():
            with _named(path, there or "the array"):
                array = root if there is None else root[there] if isinstance(root, zarr.Group) else None
            if not isinstance(array, zarr.Array):
                raise StageError(f"{path}: {there or 'it'} is not an array")
            self._arrays[name] = found = ForeignArray(path, there or name, array)
            dims = tuple(str(dim) for dim in (getattr(array.metadata, "dimension_names", None) or ())[1:])
            scale = array.attrs.get("scale_factor")
            scale = float(scale) if isinstance(scale, int | float) else None
            self.variables[name] = Variable(dims, found.shape, found.dtype.name, scale=scale)
        lengths = {array.layout.num_rows for array in self._arrays.values()}
        if len(lengths) > 1:
            raise StageError(f"{path}: {' and '.join(str(there) for there in names.values())} differ in rows")
        self.layout = next(iter(self._arrays.values())).layout

    def array(self, name: str) -> ForeignArray:
        """One of the arrays."""
        return self._arrays[name]

    def offsets(self, name: str) -> np.ndarray:
        """There are no ragged variables here."""
        raise StageError(f"{self.path}: {name} is not ragged")

    def read(self, name: str, rows: slice) -> np.ndarray:
        """A range of rows."""
        return self._arrays[name].read(rows)

    def decoded_bytes(self, name: str, rows: slice) -> int:
        """How much memory a range of rows takes."""
        return len(range(rows.start, rows.stop)) * self.variables[name].row_bytes


@contextmanager
def _named(path: Path, part: str) -> Iterator[None]:
    """Whatever a codec or a store stumbles over becomes one line that names it."""
    try:
        yield
    except StageError:
        raise
    except (ValueError, LookupError, OSError, TypeError, RuntimeError) as error:
        why = " ".join(str(error).split())[:200]
        raise StageError(f"{path}: {part} cannot be read: {type(error).__name__}: {why}") from error
