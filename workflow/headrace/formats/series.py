"""Series of measurements, and windows cut from them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from headrace.blocks import Block, Blocks
from headrace.datasets.base import INPUTS, SPLIT_KEY, TARGET, DataInfo, Source, SourceFile, Survey
from headrace.errors import InputError
from headrace.experiments.splits import SPLITS
from headrace.formats.columns import Column, Names, Where, list_names, refuse_unusable, shorten
from headrace.formats.delimited import Dialect, Parser
from headrace.formats.lines import Encoding, refuse_few
from headrace.formats.split_keys import Times, read_times
from headrace.formats.text_tables import read_rows
from headrace.sources.xarrays import part_borders
from headrace.stores.layout import Variable

PART_STEPS = 2**20
"""Of a column, held at once in float64."""


@dataclass(frozen=True)
class Form:
    """What is read of a series, and how it is cut."""

    dialect: Dialect
    names: tuple[str, ...] | None
    """Of the columns, in files without a header."""
    encoding: Encoding
    time: str | None
    columns: tuple[str, ...] | None
    """Inputs; None for all but the time."""
    targets: tuple[str, ...] | None
    """What is predicted; None for the inputs."""
    look_back: int
    horizon: int
    stride: int

    @property
    def length(self) -> int:
        """Steps of a window, with those to predict."""
        return self.look_back + self.horizon


def _choose(form: Form, header: Sequence[str], name: str) -> tuple[list[str], list[str]]:
    """The columns of inputs and those of targets."""
    for key, wanted in (("time", [form.time]), ("columns", form.columns or ()), ("targets", form.targets or ())):
        for column in wanted:
            if column is not None and column not in header:
                raise InputError(f"{key}: {name}: has no column {column!r}; there are: {list_names(header)}")
    inputs = list(form.columns or (column for column in header if column != form.time))
    if not inputs:
        raise InputError(f"{name}: has no column besides the time")
    return inputs, list(form.targets or inputs)


def read_series(form: Form, files: Sequence[SourceFile]) -> Iterator[tuple[list[str], list[str], np.ndarray]]:
    """Names of inputs and of targets, and float32 (rows, both), block by block.

    Raises InputError for what is no finite number, and for a time that does not increase.
    """
    parser, times = None, _Times(form.time)
    for header, lines in read_rows(files, form.dialect, form.names, form.encoding):
        if parser is None:
            inputs, targets = _choose(form, header, lines.name)
            columns = list(dict.fromkeys([*inputs, *targets]))
            parser = Parser(header, form.dialect, columns if form.time is None else [*columns, form.time])
        found, where = parser.parse(lines.as_utf8(form.encoding), columns)
        if not found:
            continue
        if form.time is not None:
            times.check(found[form.time], where)
        values = np.empty((len(found[columns[0]]), len(columns)), np.float32)
        for i, name in enumerate(columns):
            values[:, i] = _numbers(found[name], name, where)
        yield inputs, targets, values


def _numbers(column: Column, name: str, where: Where) -> np.ndarray:
    """A column of which every field must be a number."""
    if column.missing.any():
        row = int(np.argmax(column.missing))
        raise InputError(f"{where(row)}: column {name!r}: no value; a step of a series cannot be left out")
    if isinstance(column, Names):
        numbers, good = column.as_numbers()
        if not good.all():
            row = int(np.argmin(good))
            text = shorten(column.names[int(column.codes[row])])
            raise InputError(f"{where(row)}: column {name!r}: {text} is not a number; see also `columns`")
        column = numbers
    refuse_unusable(column, name, where)
    return column.values


class _Times:
    """Holds the times of one block after the other to their order."""

    def __init__(self, name: str | None) -> None:
        self._name = name
        self._last: float | int | None = None
        self._form: Times | None = None

    def check(self, column: Column, where: Where) -> None:
        """Raise InputError naming the line of a time that is none, or not after the one before."""
        assert isinstance(column, Names)
        form, keys, bad = read_times(column.names)
        shown = f"column {self._name!r}"
        if column.missing.any() or bad.any():
            wrong = column.missing | bad[column.codes]
            row = int(np.argmax(wrong))
            text = shorten(column.names[int(column.codes[row])])
            raise InputError(f"{where(row)}: {shown}: {text} is no number and no ISO 8601 time")
        if self._form is not None and (self._form == "timestamps") != (form == "timestamps"):
            raise InputError(f"{where(0)}: {shown}: {form} after {self._form}")
        values = keys[column.codes]
        later = values[1:] > values[:-1]
        if self._last is not None and not values[0] > self._last:
            row = 0
        elif not later.all():
            row = int(np.argmin(later)) + 1
        else:
            self._form, self._last = form, values[-1]
            return
        text = shorten(column.names[int(column.codes[row])])
        raise InputError(f"{where(row)}: {shown}: {text} does not lie after the row before; times must increase")


def survey_series(
    form: Form, files: Sequence[SourceFile], borders: tuple[int, int] | None, shares: tuple[float, float]
) -> Survey:
    """Count the steps and cut them into windows. Raises InputError naming file and line."""
    name = str(files[0].path)
    num_steps = 0
    inputs: list[str] = []
    targets: list[str] = []
    for found in read_series(form, files):
        inputs, targets = found[:2]
        num_steps += len(found[2])
    refuse_few(name, num_steps)
    edges = _edges(name, num_steps, borders, shares)
    spans = _spans(form, name, edges, "borders" if borders else None)
    info = DataInfo(
        tasks=("forecasting", "regression"),
        num_samples=int(spans[:, 1].sum()),
        shape=(form.look_back, len(inputs)),
        dims=("time", "feature"),
        num_targets=form.horizon * len(targets),
        own_split=True,
    )
    attributes = {"feature_names": inputs, "target_columns": targets, "horizon": form.horizon, "num_steps": num_steps}
    attributes["num_train_steps"] = edges[1]
    keys = np.repeat(np.arange(len(SPLITS), dtype=np.int64), spans[:, 1])
    return Survey(info, {"spans": spans, SPLIT_KEY: keys}, attributes)


def _edges(
    name: str, num_steps: int, borders: tuple[int, int] | None, shares: tuple[float, float]
) -> tuple[int, int, int, int]:
    """The first step of each split's stretch, and the number of steps."""
    inner = borders or (round(num_steps * shares[0]), round(num_steps * (shares[0] + shares[1])))
    if borders and inner[1] >= num_steps:
        raise InputError(f"split.borders: {name}: has {num_steps} rows; allowed: borders below it")
    return 0, *inner, num_steps


def _spans(form: Form, name: str, edges: tuple[int, int, int, int], key: str | None) -> np.ndarray:
    """(3, 2) the first step of the first window of each split, and how many windows it has.

    `key` is what decides the edges, where that is not a share for each split.
    """
    spans = []
    for i, split in enumerate(SPLITS):
        # What a window predicts must lie in the split, from its first step on.
        first = -(-max(0, edges[i] - form.look_back) // form.stride) * form.stride
        last = edges[i + 1] - form.length
        if last < first:
            raise InputError(
                f"split.{key or split}: {name}: steps {edges[i]} to {edges[i + 1] - 1} of {edges[-1]} leave {split} "
                f"without a window of {form.look_back} + {form.horizon} steps"
            )
        spans.append((first, (last - first) // form.stride + 1))
    return np.array(spans, np.int64)


class WindowSource(Source):
    """Windows of a series that lies in one .npy file, which every process maps into its memory."""

    def __init__(self, form: Form, files: Sequence[SourceFile], survey: Survey, scratch: Path) -> None:
        """The files are those that were surveyed."""
        self._form, self._spans = form, survey.index["spans"]
        self._path = (scratch / "series.npy").absolute()
        inputs, targets = survey.attributes["feature_names"], survey.attributes["target_columns"]
        columns = list(dict.fromkeys([*inputs, *targets]))
        self._inputs = [columns.index(name) for name in inputs]
        self._targets = [columns.index(name) for name in targets]
        shape = (int(survey.attributes["num_steps"]), len(columns))
        laid = np.lib.format.open_memmap(self._path, mode="w+", dtype=np.float32, shape=shape)
        start = 0
        for _, _, values in read_series(form, files):
            if start + len(values) > len(laid):
                raise InputError(f"{files[0].path}: has more rows than when it was surveyed")
            laid[start : start + len(values)] = values
            start += len(values)
        laid.flush()
        self.variables = {
            INPUTS: Variable(("time", "feature"), (form.look_back, len(inputs)), "float32"),
            TARGET: Variable(("output",), (form.horizon * len(targets),), "float32"),
        }
        self.borders = part_borders(int(self._spans[:, 1].sum()), 4 * form.length * len(columns))
        train = laid[: survey.attributes["num_train_steps"]]
        deviations = [_deviation(train[:, column]) for column in self._targets]
        self.attributes = {**survey.attributes, "target_deviations": deviations}

    def read(self, part: int, names: Sequence[str]) -> Blocks:
        """Cut the windows of a part."""
        rows = np.arange(self.borders[part], self.borders[part + 1])
        ends = np.cumsum(self._spans[:, 1])
        split = np.searchsorted(ends, rows, side="right")
        starts = self._spans[split, 0] + (rows - (ends - self._spans[:, 1])[split]) * self._form.stride
        # (steps, columns) -> (windows, columns, steps of a window); only those chosen are copied.
        series = np.load(self._path, mmap_mode="r")
        windows = sliding_window_view(series, self._form.length, axis=0)[starts].transpose(0, 2, 1)
        blocks: dict[str, Block] = {}
        if INPUTS in names:
            blocks[INPUTS] = np.ascontiguousarray(windows[:, : self._form.look_back, self._inputs])
        if TARGET in names:
            ahead = windows[:, self._form.look_back :, self._targets]
            blocks[TARGET] = np.ascontiguousarray(ahead).reshape(len(rows), -1)
        return blocks


def _deviation(column: np.ndarray) -> float:
    """The standard deviation of a column (steps,), in float64 and by two passes; 1 where it is constant."""
    parts = [column[start : start + PART_STEPS] for start in range(0, len(column), PART_STEPS)]
    # From the first value on, so that what is constant leaves exact zeros.
    mean = sum(float((part - np.float64(column[0])).sum()) for part in parts) / len(column)
    squares = sum(float(((part - np.float64(column[0]) - mean) ** 2).sum()) for part in parts)
    return math.sqrt(squares / len(column)) or 1.0
