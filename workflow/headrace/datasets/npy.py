"""Arrays in .npy files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from headrace.datasets.base import FileDataset
from headrace.formats.group_keys import check_groups

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from headrace.datasets.base import Files, Source, SourceFile, Survey
    from headrace.formats.array_files import StoredRows

Names = Annotated[str, StringConstraints(min_length=1)] | Annotated[tuple[str, ...], Field(min_length=1)]

COMPUTES = (
    "formats.array_files",
    "formats.columns",
    "formats.group_columns",
    "formats.group_keys",
    "formats.labels",
    "formats.row_groups",
    "formats.row_surveys",
    "formats.rows",
    "formats.split_keys",
)


class Spec(FileDataset):
    """Arrays of NumPy, one sample a row; for example `{kind: npy, path: images.npy, target: labels.npy}`.

    Several files are joined along their first dimension. Bytes (uint8) in two or more dimensions a sample are pixels of
    images, and are read as [0, 1]; all other numbers become float32. Pickled objects are refused.
    """

    target: Names | None = None
    """A .npy file or several, with what to predict: a class or a number (or several numbers) a row."""
    groups: Names | None = None
    """A .npy file or several, with names or numbers, one a row and 50 different ones at most, such as regions or sexes:
    the report tells how good every model is for each of these groups, and how far they lie apart."""
    task: Literal["auto", "classification", "regression"] = "auto"
    """What the target is: with `auto`, text, booleans and whole numbers are classes, fractions are numbers to predict;
    more than 100 different whole numbers need to be told."""
    missing: Literal["error", "drop"] = "error"
    """What to do with a row that holds NaN: stop, or leave it out."""

    @model_validator(mode="after")
    def _groups_beside_a_target(self) -> Self:
        check_groups(self.groups, self.target, "a file")
        return self

    def patterns(self) -> Mapping[str, str | tuple[str, ...]]:
        """Those of the target and of groups too."""
        beside = {"target": self.target, "groups": self.groups}
        return {"path": self.path, **{key: names for key, names in beside.items() if names is not None}}

    def survey(self, files: Files) -> Survey:
        """Every number is looked at once."""
        from headrace.formats.row_surveys import Wish, refuse_split_column, survey_rows

        refuse_split_column(self.split)
        target, groups = (_join(files[key]) if key in files else None for key in ("target", "groups"))
        # A single file's name says what tells the groups apart.
        name = files["groups"][0].path.stem if len(files.get("groups", ())) == 1 else "group"
        wish = Wish(self.task, self.missing, self.split, name)
        return survey_rows(_join(files["path"]), wish, target, groups=groups)

    def open_files(self, files: Files, survey: Survey, scratch: Path) -> Source:
        """Ranges of bytes are read where they lie."""
        from headrace.formats.rows import RowSource

        target = _join(files["target"]) if "target" in files else None
        return RowSource(survey, _join(files["path"]), target, scratch)


def _join(files: Sequence[SourceFile]) -> StoredRows:
    from headrace.formats.array_files import StoredRows, open_npy

    return StoredRows([open_npy(file.path) for file in files])
