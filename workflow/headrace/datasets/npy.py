"""Arrays in .npy files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, StringConstraints

from headrace.datasets.base import FileDataset

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from headrace.datasets.base import Files, Source, SourceFile, Survey
    from headrace.formats.array_files import StoredRows

COMPUTES = (
    "formats.array_files",
    "formats.columns",
    "formats.labels",
    "formats.row_surveys",
    "formats.rows",
    "formats.split_keys",
)


class Spec(FileDataset):
    """Arrays of NumPy, one sample a row; for example `{kind: npy, path: images.npy, target: labels.npy}`.

    Several files are joined along their first dimension. Bytes (uint8) in two or more dimensions a sample are pixels of
    images, and are read as [0, 1]; all other numbers become float32. Pickled objects are refused.
    """

    target: Annotated[str, StringConstraints(min_length=1)] | Annotated[tuple[str, ...], Field(min_length=1)] | None = (
        None
    )
    """A .npy file or several, with what to predict: a class or a number (or several numbers) a row."""
    task: Literal["auto", "classification", "regression"] = "auto"
    """What the target is: with `auto`, text, booleans and whole numbers are classes, fractions are numbers to predict;
    more than 100 different whole numbers need to be told."""
    missing: Literal["error", "drop"] = "error"
    """What to do with a row that holds NaN: stop, or leave it out."""

    def patterns(self) -> Mapping[str, str | tuple[str, ...]]:
        """Those of the target too."""
        return {"path": self.path} | ({} if self.target is None else {"target": self.target})

    def survey(self, files: Files) -> Survey:
        """Every number is looked at once."""
        from headrace.formats.row_surveys import Wish, refuse_split_column, survey_rows

        refuse_split_column(self.split)
        target = _join(files["target"]) if "target" in files else None
        return survey_rows(_join(files["path"]), target, Wish(self.task, self.missing, self.split))

    def open_files(self, files: Files, survey: Survey, scratch: Path) -> Source:
        """Ranges of bytes are read where they lie."""
        from headrace.formats.rows import RowSource

        target = _join(files["target"]) if "target" in files else None
        return RowSource(survey, _join(files["path"]), target, scratch)


def _join(files: Sequence[SourceFile]) -> StoredRows:
    from headrace.formats.array_files import StoredRows, open_npy

    return StoredRows([open_npy(file.path) for file in files])
