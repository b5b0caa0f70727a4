"""netCDF files."""

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
    """Variables in netCDF files, version 3 or 4; for example
    `{kind: netcdf, path: "data/era5-*.nc", inputs: [t2m, msl], target: tp, sample: time}`.

    Several files are joined along the samples. Scale, offset and fill value are applied as the CF conventions say. What
    holds times or text can be no input; text as a target is the name of a class.
    """

    def grids(self, files: Sequence[SourceFile]) -> list[Grid]:
        """The version is told by a file's first bytes."""
        from headrace.formats.grid_formats import Grid, begins_with

        grids = []
        for file in files:
            classic = begins_with(file.path, b"CDF\1") or begins_with(file.path, b"CDF\2")
            if not classic and not begins_with(file.path, b"\x89HDF\r\n\x1a\n"):
                hint = "; CDF-5 cannot be read, nccopy -k nc4 converts it" if begins_with(file.path, b"CDF\5") else ""
                raise InputError(f"{file.path}: is no netCDF file of version 3 or 4{hint}")
            grids.append(Grid(file.path, file.num_bytes, "netcdf3" if classic else "netcdf4", self.group))
            if classic and self.group is not None:
                raise InputError(f"{file.path}: is netCDF 3, which has no groups; allowed: leave out group")
        return grids
