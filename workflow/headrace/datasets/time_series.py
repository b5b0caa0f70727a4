"""Time series in text files, cut into windows to forecast from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from headrace.datasets.base import FileDataset, Files, Source, Survey
from headrace.experiments.config import PositiveInt, Split
from headrace.formats.table_keys import ColumnName

if TYPE_CHECKING:
    from headrace.formats.series import Form

COMPUTES = (
    "formats.columns",
    "formats.delimited",
    "formats.group_columns",
    "formats.group_keys",
    "formats.labels",
    "formats.lines",
    "formats.series",
    "formats.split_keys",
    "formats.table_arrays",
    "formats.table_keys",
    "formats.tables",
    "formats.text_tables",
)


class Spec(FileDataset):
    """A series of measurements in csv files, a step a row; for example `{kind: time_series, path: data/power.csv, time:
    date, look_back: 96, horizon: 24}`.

    A sample is a window: `look_back` steps of inputs, and the `horizon` steps behind them as numbers to predict. Steps
    are rows, whatever time lies between them. Training, validation and test are stretches of the series, by
    `split.train`, `split.validation` and `split.test` as shares of its steps, or by `split.borders`: a window belongs
    to the stretch that holds all steps that it predicts, and is left out when they cross a border, so that no step is
    predicted in two splits. The steps that it looks back to may lie in the stretch before, as they do in forecasting.
    Windows are never shuffled between the splits: overlapping ones would tell the answer.
    """

    split: Split = Split(by="time")
    """Where training, validation and test lie in the series: shares of its steps, or `borders`."""
    look_back: PositiveInt
    """Steps of inputs in a window."""
    horizon: PositiveInt
    """Steps to predict."""
    stride: PositiveInt = 1
    """Steps from one window's begin to the next one's."""
    time: ColumnName | None = None
    """The column of times, as numbers or in ISO 8601: they must increase from row to row. Without it, rows are taken to
    be in order."""
    columns: Annotated[tuple[ColumnName, ...], Field(min_length=1)] | None = None
    """The columns that are inputs; by default all but `time`."""
    targets: Annotated[tuple[ColumnName, ...], Field(min_length=1)] | None = None
    """The columns to predict; by default those that are inputs."""
    missing_values: tuple[str, ...] = ("", "NA", "NaN", "nan", "null")
    """Fields that stand for no value. A series with such fields is refused: a step cannot be left out."""
    delimiter: Annotated[str, StringConstraints(pattern=r"^[,;|:\t !#$%&*/=@^~]$")] = ","
    """What stands between two fields: one character."""
    names: Annotated[tuple[ColumnName, ...], Field(min_length=1)] | None = None
    """The names of the columns in files without a header; by default the first line holds them."""
    encoding: Literal["utf-8", "latin-1", "cp1252"] = "utf-8"
    """How characters are written as bytes."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.split.by not in ("auto", "time", "source") or self.split.column is not None:
            raise ValueError(f"split.by: {self.split.by} would mix windows that overlap; allowed: time, and no column")
        for key in ("columns", "targets"):
            chosen = getattr(self, key) or ()
            twice = [name for i, name in enumerate(chosen) if name in chosen[:i]]
            if twice:
                raise ValueError(f"{key}: {twice[0]!r} stands here twice")
            if self.time in chosen:
                raise ValueError(f"{key}: {self.time!r} is the column of times")
        return self

    def survey(self, files: Files) -> Survey:
        """Every row is parsed once."""
        from headrace.formats.series import survey_series

        shares = (self.split.train, self.split.validation)
        return survey_series(self.form(), files["path"], self.split.borders, shares)

    def open_files(self, files: Files, survey: Survey, scratch: Path) -> Source:
        """The series is laid down once in the scratch folder, from which windows are cut."""
        from headrace.formats.series import WindowSource

        return WindowSource(self.form(), files["path"], survey, scratch)

    def form(self) -> Form:
        """What is read, and how it is cut."""
        from headrace.formats.delimited import Dialect
        from headrace.formats.series import Form

        dialect = Dialect(self.delimiter, True, self.missing_values)
        return Form(
            dialect=dialect,
            names=self.names,
            encoding=self.encoding,
            time=self.time,
            columns=self.columns,
            targets=self.targets,
            look_back=self.look_back,
            horizon=self.horizon,
            stride=self.stride,
        )
