"""IDX files, the format of MNIST."""

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
    "formats.compressed",
    "formats.group_columns",
    "formats.labels",
    "formats.row_groups",
    "formats.row_surveys",
    "formats.rows",
    "formats.split_keys",
)


class Spec(FileDataset):
    """Arrays in the format of MNIST, plain or as .gz; for example
    `{kind: idx, path: train-images-idx3-ubyte.gz, target: train-labels-idx1-ubyte.gz}`.

    Several files are joined along their first dimension. Bytes in two or more dimensions a sample are pixels of images,
    and are read as [0, 1]; all other numbers become float32.
    """

    target: Annotated[str, StringConstraints(min_length=1)] | Annotated[tuple[str, ...], Field(min_length=1)] | None = (
        None
    )
    """A file or several, plain or as .gz, with what to predict: a class or a number a row."""
    task: Literal["auto", "classification", "regression"] = "auto"
    """What the target is: with `auto`, whole numbers are classes, fractions are numbers to predict;
    more than 100 different whole numbers need to be told."""

    def patterns(self) -> Mapping[str, str | tuple[str, ...]]:
        """Those of the target too."""
        return {"path": self.path} | ({} if self.target is None else {"target": self.target})

    def survey(self, files: Files) -> Survey:
        """Every number is looked at once; what is compressed is unpacked among the temporary files."""
        from pathlib import Path
        from tempfile import TemporaryDirectory

        from headrace.formats.row_surveys import Wish, refuse_split_column, survey_rows

        refuse_split_column(self.split)
        with TemporaryDirectory(prefix="headrace-") as folder:
            target = _join(files["target"], Path(folder)) if "target" in files else None
            inputs = _join(files["path"], Path(folder))
            return survey_rows(inputs, Wish(self.task, split=self.split), target, dims=_dims(inputs))

    def open_files(self, files: Files, survey: Survey, scratch: Path) -> Source:
        """Ranges of bytes are read where they lie, or from what was unpacked."""
        from headrace.formats.rows import RowSource

        target = _join(files["target"], scratch) if "target" in files else None
        inputs = _join(files["path"], scratch)
        return RowSource(survey, inputs, target, scratch, dims=_dims(inputs))


def _dims(rows: StoredRows) -> tuple[str, ...]:
    """Whatever the type: the format was made for images."""
    return ("height", "width", "channel")[: len(rows.shape)] if len(rows.shape) in (2, 3) else ()


def _join(files: Sequence[SourceFile], folder: Path) -> StoredRows:
    """The arrays of all files; .gz is known by its first bytes, whatever the file is called."""
    from headrace.formats.array_files import StoredRows, open_idx
    from headrace.formats.compressed import is_gzip, unpack_gzip

    arrays = []
    for file in files:
        if is_gzip(file.path):
            unpacked = folder / f"unpacked-{len(list(folder.iterdir()))}.idx"
            unpack_gzip(file.path, unpacked)
            arrays.append(open_idx(unpacked, str(file.path)))
        else:
            arrays.append(open_idx(file.path))
    return StoredRows(arrays)
