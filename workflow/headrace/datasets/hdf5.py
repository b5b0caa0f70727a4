"""HDF5 files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from headrace.errors import InputError
from headrace.formats.grid_keys import GridDataset

if TYPE_CHECKING:
    from headrace.datasets.base import SourceFile
    from headrace.formats.grid_formats import Grid

COMPUTES = (
    "formats.columns",
    "formats.compressed",
    "formats.grid_formats",
    "formats.grid_keys",
    "formats.gridded",
    "formats.group_columns",
    "formats.group_keys",
    "formats.labels",
    "formats.row_groups",
    "formats.row_surveys",
    "formats.rows",
    "formats.split_keys",
    "formats.zarr_stores",
)


class Spec(GridDataset):
    """Datasets in HDF5 files; for example `{kind: hdf5, path: signals.h5, inputs: x, target: y}`.

    Several files are joined along the samples. A dimension has the name of its scale or its label, or else is called
    `dim_0` and so on. Scale, offset and fill value are applied as the CF conventions say. Numbers that lie in another
    file are refused.
    """

    def grids(self, files: Sequence[SourceFile]) -> list[Grid]:
        """A file may begin with something else, as those of MATLAB do."""
        import h5py

        from headrace.formats.grid_formats import Grid, named

        grids = []
        for file in files:
            with named(str(file.path)):
                if not h5py.is_hdf5(file.path):
                    raise InputError(f"{file.path}: is no HDF5 file")
            grids.append(Grid(file.path, file.num_bytes, "hdf5", self.group))
        return grids
