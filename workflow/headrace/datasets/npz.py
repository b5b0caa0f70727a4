"""Arrays in .npz files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import StringConstraints, model_validator

from headrace.datasets.base import FileDataset
from headrace.formats.group_keys import check_groups

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from headrace.datasets.base import Files, Source, SourceFile, Survey
    from headrace.formats.array_files import StoredRows


Member = Annotated[str, StringConstraints(min_length=1)]

COMPUTES = (
    "formats.array_files",
    "formats.columns",
    "formats.compressed",
    "formats.group_columns",
    "formats.group_keys",
    "formats.labels",
    "formats.row_groups",
    "formats.row_surveys",
    "formats.rows",
    "formats.split_keys",
)


class Spec(FileDataset):
    """Named arrays of NumPy in one file, plain or compressed; for example
    `{kind: npz, path: data.npz, inputs: x, target: y}`.

    Several files are joined along the arrays' first dimension. Bytes (uint8) in two or more dimensions a sample are
    pixels of images, and are read as [0, 1]; all other numbers become float32. Pickled objects are refused. Arrays are
    unpacked before they are read, for the first look into the folder of temporary files (`TMPDIR`).
    """

    inputs: Member
    """Name of the array with one sample a row."""
    target: Member | None = None
    """Name of the array with what to predict: a class or a number (or several numbers) a row."""
    groups: Member | None = None
    """Name of an array of names or numbers, one a row and 50 different ones at most, such as a region or a sex: the
    report tells how good every model is for each of these groups, and how far they lie apart."""
    task: Literal["auto", "classification", "regression"] = "auto"
    """What the target is: with `auto`, text, booleans and whole numbers are classes, fractions are numbers to predict;
    more than 100 different whole numbers need to be told."""
    missing: Literal["error", "drop"] = "error"
    """What to do with a row that holds NaN: stop, or leave it out."""

    @model_validator(mode="after")
    def _groups_beside_a_target(self) -> Self:
        check_groups(self.groups, self.target, "an array")
        return self

    def survey(self, files: Files) -> Survey:
        """Every number is looked at once; `split.column` names an array as well."""
        from pathlib import Path
        from tempfile import TemporaryDirectory

        from headrace.formats.row_surveys import Wish, survey_rows

        with TemporaryDirectory(prefix="headrace-") as folder:
            place = Path(folder)
            inputs = _unpack(files["path"], self.inputs, place)
            members = (self.target, self.split.column, self.groups)
            target, keys, groups = (None if name is None else _unpack(files["path"], name, place) for name in members)
            wish = Wish(self.task, self.missing, self.split, self.groups or "")
            return survey_rows(inputs, wish, target, keys, groups)

    def open_files(self, files: Files, survey: Survey, scratch: Path) -> Source:
        """Unpacked arrays are read in ranges of bytes."""
        from headrace.datasets.base import TARGET
        from headrace.formats.rows import RowSource

        inputs = _unpack(files["path"], self.inputs, scratch)
        numbers = self.target is not None and TARGET not in survey.index
        target = _unpack(files["path"], self.target, scratch) if numbers and self.target is not None else None
        return RowSource(survey, inputs, target, scratch)


def _unpack(files: Sequence[SourceFile], member: str, folder: Path) -> StoredRows:
    """The arrays of one name of all files, unpacked into files of their own."""
    from headrace.formats.array_files import StoredRows, open_npy
    from headrace.formats.compressed import unpack_member

    arrays = []
    for file in files:
        unpacked = folder / f"unpacked-{len(list(folder.iterdir()))}.npy"
        unpack_member(file.path, member, unpacked)
        arrays.append(open_npy(unpacked, f"{file.path}: {member}"))
    return StoredRows(arrays)
