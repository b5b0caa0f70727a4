"""Keys that every kind of dataset has whose files hold named arrays with named dimensions."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from headrace.datasets.base import FileDataset
from headrace.formats.group_keys import check_groups

if TYPE_CHECKING:
    from pathlib import Path

    from headrace.datasets.base import Files, Source, SourceFile, Survey
    from headrace.formats.grid_formats import Grid
    from headrace.formats.gridded import GridRows

Name = Annotated[str, StringConstraints(min_length=1)]


class GridDataset(FileDataset):
    """Variables in files, one sample along one of their dimensions."""

    inputs: Name | Annotated[tuple[Name, ...], Field(min_length=1)]
    """The variable with the measurements of every sample, or several of the same dimensions, which are stacked along a
    last dimension `channel`. Bytes (uint8) in two or more dimensions a sample are pixels of images, and are read as
    [0, 1]; all other numbers become float32."""
    target: Name | None = None
    """The variable with what to predict: a class or a number (or several numbers) a sample."""
    groups: Name | None = None
    """A variable with a name or a number for every sample, 50 different ones at most, such as a region or a sex: the
    report tells how good every model is for each of these groups, and how far they lie apart."""
    sample: Name | None = None
    """The dimension that samples run along; by default the first one of `inputs`."""
    group: Name | None = None
    """The group of the file that holds the variables, as `a/b`; by default the outermost one."""
    task: Literal["auto", "classification", "regression"] = "auto"
    """What the target is: with `auto`, text, booleans and whole numbers are classes, fractions are numbers to predict;
    more than 100 different whole numbers need to be told."""
    missing: Literal["error", "drop"] = "error"
    """What to do with a sample that has a missing value, which is NaN or the variable's fill value: stop, or leave it
    out."""

    @model_validator(mode="after")
    def _groups_beside_a_target(self) -> Self:
        check_groups(self.groups, self.target, "a variable")
        return self

    @abstractmethod
    def grids(self, files: Sequence[SourceFile]) -> list[Grid]:
        """The files, or stores, and how they are opened. Raises InputError for what is of another format."""

    def survey(self, files: Files) -> Survey:
        """Every number is looked at once; `split.column` names a variable as well."""
        from headrace.formats.gridded import GridRows
        from headrace.formats.row_surveys import Wish, survey_rows

        inputs, target, grids = self._open(files)
        keys = None
        if self.split.column is not None:
            by_time = self.split.by == "time"
            keys = GridRows(grids, self.split.column, inputs.sample, strict=False, times=by_time)
        groups = None if self.groups is None else GridRows(grids, self.groups, inputs.sample, strict=False)
        named = isinstance(self.inputs, tuple) and len(inputs.shape) == 1
        attributes = {"feature_names": list(self.inputs)} if named else {}
        wish = Wish(self.task, self.missing, self.split, self.groups or "")
        return survey_rows(inputs, wish, target, keys, groups, inputs.dims, attributes)

    def open_files(self, files: Files, survey: Survey, scratch: Path) -> Source:
        """Whoever reads a part opens the files anew."""
        from headrace.formats.rows import RowSource

        inputs, target, _ = self._open(files)
        return RowSource(survey, inputs, target, scratch, inputs.dims)

    def _open(self, files: Files) -> tuple[GridRows, GridRows | None, list[Grid]]:
        from headrace.formats.gridded import GridRows

        grids = self.grids(files["path"])
        inputs = GridRows(grids, self.inputs, self.sample)
        target = None if self.target is None else GridRows(grids, self.target, inputs.sample, strict=False)
        return inputs, target, grids
