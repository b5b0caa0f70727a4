"""Sparse matrices in Matrix Market files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, StringConstraints

from headrace.datasets.base import FileDataset

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from headrace.datasets.base import Files, Source, Survey

COMPUTES = (
    "formats.columns",
    "formats.compressed",
    "formats.group_columns",
    "formats.labels",
    "formats.lines",
    "formats.matrix_files",
    "formats.matrix_text",
    "formats.row_groups",
    "formats.row_surveys",
    "formats.rows",
    "formats.split_keys",
)


class Spec(FileDataset):
    """A sparse matrix, one sample a row, plain or as .gz; for example
    `{kind: matrix_market, path: counts.mtx.gz, target: labels.txt}`.

    Read are matrices in coordinate format of real, integer or pattern numbers, general or symmetric. Numbers that are
    given twice for one place are summed. The matrix is cut into shards from memory: it must fit into that of the job
    that shards (some 40 bytes for every stored number); .gz is unpacked among the temporary files (`TMPDIR`).
    """

    target: Annotated[str, StringConstraints(min_length=1)] | Annotated[tuple[str, ...], Field(min_length=1)] | None = (
        None
    )
    """A text file, plain or as .gz, with what to predict: one label a line, for every row of the matrix."""
    task: Literal["auto", "classification", "regression"] = "auto"
    """What the target is: with `auto`, text and whole numbers are classes, fractions are numbers to predict; more than
    100 different whole numbers need to be told."""

    def patterns(self) -> Mapping[str, str | tuple[str, ...]]:
        """Those of the target too."""
        return {"path": self.path} | ({} if self.target is None else {"target": self.target})

    def survey(self, files: Files) -> Survey:
        """The whole matrix is read."""
        import dataclasses

        from headrace.datasets.base import TARGET, DataInfo, Survey
        from headrace.errors import InputError
        from headrace.formats.lines import refuse_few
        from headrace.formats.matrix_files import read_matrices, survey_labels
        from headrace.formats.row_surveys import refuse_split_column

        refuse_split_column(self.split)
        if self.target is None and self.task != "auto":
            raise InputError(f"task: {self.task} needs a target, and none is named")
        matrix = read_matrices(files["path"])
        num_rows, num_columns = map(int, matrix.shape)
        refuse_few(str(files["path"][0].path), num_rows)
        info = DataInfo(
            tasks=("density",),
            num_samples=num_rows,
            shape=(num_columns,),
            dims=("feature",),
            layout="sparse",
            num_values=int(matrix.nnz),
            unit_interval=bool(matrix.nnz == 0 or (matrix.data.min() >= 0 and matrix.data.max() <= 1)),
        )
        if "target" not in files:
            return Survey(info)
        target, count = survey_labels(files["target"], self.task)
        if count != num_rows:
            raise InputError(f"{files['target'][0].path}: holds {count} labels; the matrix has {num_rows} rows")
        task = "regression" if target.codes is None else "classification"
        info = dataclasses.replace(info, tasks=(task,), **target.info())
        return Survey(info, {} if target.codes is None else {TARGET: target.codes})

    def open_files(self, files: Files, survey: Survey, scratch: Path) -> Source:
        """The matrix is read once more, and laid down for workers."""
        from headrace.formats.matrix_files import SparseRows, read_matrices, read_numbers

        numbers = read_numbers(files["target"]) if survey.info.num_targets else None
        return SparseRows(survey, read_matrices(files["path"]), numbers, scratch)
