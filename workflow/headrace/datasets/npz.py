"""Arrays in .npz files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import StringConstraints

from headrace.datasets.base import FileDataset

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
    "formats.labels",
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
    task: Literal["auto", "classification", "regression"] = "auto"
    """What the target is: with `auto`, text, booleans and whole numbers are classes, fractions are numbers to predict;
    more than 100 different whole numbers need to be told."""
    missing: Literal["error", "drop"] = "error"
    """What to do with a row that holds NaN: stop, or leave it out."""

    def survey(self, files: Files) -> Survey:
        """Every number is looked at once; `split.column` names an array as well."""
        from pathlib import Path
        from tempfile import TemporaryDirectory

        from headrace.formats.row_surveys import Wish, survey_rows

        with TemporaryDirectory(prefix="headrace-") as folder:
            place = Path(folder)
            inputs = _unpack(files["path"], self.inputs, place)
            target = None if self.target is None else _unpack(files["path"], self.target, place)
            keys = None if self.split.column is None else _unpack(files["path"], self.split.column, place)
            return survey_rows(inputs, target, Wish(self.task, self.missing, self.split), keys)

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
