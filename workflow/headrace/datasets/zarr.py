"""Zarr stores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

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
    """Arrays in Zarr stores, format 2 or 3; for example
    `{kind: zarr, path: climate.zarr, inputs: [t2m, msl], target: label, sample: time}`.

    `path` is the folder of a store, or several, which are joined along the samples; arrays may have names for their
    dimensions as xarray writes them, or none. A store that is a single array has it under the folder's name, without
    `.zarr`. Scale, offset and fill value are applied as the CF conventions say. What holds times or text can be no
    input; text as a target is the name of a class. Pickled objects are refused.
    """

    def grids(self, files: Sequence[SourceFile]) -> list[Grid]:
        """A store is a folder with the marks of one, and all that lies below it."""
        from headrace.formats.grid_formats import Grid
        from headrace.formats.zarr_stores import find_stores, refuse_pickles

        refuse_pickles(files)
        return [Grid(folder, num_bytes, "zarr", self.group) for folder, num_bytes in find_stores(files).items()]
