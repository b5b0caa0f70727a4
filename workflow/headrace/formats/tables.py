"""From columns to inputs, targets and divisions: types are settled over all rows, then every part is coded alike."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from headrace.blocks import Block
from headrace.datasets.base import INPUTS, SPLIT_KEY, TARGET, DataInfo, Survey
from headrace.errors import InputError
from headrace.formats.columns import (
    MAX_NAMES,
    Column,
    Names,
    Numbers,
    Where,
    list_names,
    parse_numbers,
    refuse_unusable,
    shorten,
    sort_names,
)
from headrace.formats.labels import ENOUGH, NEARLY_ALL, LabelSurvey, class_codes, codes_of
from headrace.formats.split_keys import SplitKeys
from headrace.formats.table_keys import TableDataset
from headrace.stores.layout import Variable

MAX_ALL_NAMES = 1_000_000
"""Categories of all columns together."""
NO_NAME = "no value among categories; take its word out of `missing_values`, or write `missing: drop`"


def choose_columns(spec: TableDataset, names: Sequence[str], file: str) -> list[str]:
    """The columns that are inputs. Raises InputError for a key that names a column which is not there."""
    keys = {"target": [spec.target], "split.column": [spec.split.column], "columns": spec.columns or ()}
    keys |= {"numbers": spec.numbers, "categories": spec.categories}
    for key, wanted in keys.items():
        for name in wanted:
            if name is not None and name not in names:
                raise InputError(f"{key}: {file}: has no column {name!r}; there are: {list_names(names)}")
    others = {spec.target, spec.split.column}
    chosen = [name for name in (spec.columns or names) if spec.columns or name not in others]
    if not chosen:
        raise InputError(f"{file}: has no column besides those of the target and of the split")
    return chosen


@dataclass
class _Input:
    """What is known of a column so far."""

    present: int = 0
    """Rows that have a value."""
    numbers: int = 0
    absent: str | None = None
    """File and line of the first that has none."""
    text: str | None = None
    """File, line, column and value of the first that is no number."""
    unusable: InputError | None = None
    """The first number that is infinite or too large."""
    names: set[str] = field(default_factory=set)
    complete: bool = True
    """Whether `names` are those of all rows so far; it is not kept of columns that seem to be numbers."""


class TableSurvey:
    """Takes a table in block by block."""

    def __init__(self, spec: TableDataset, columns: Sequence[str], *, typed: bool, file: str) -> None:
        """`columns` are the inputs; `typed` ones tell text from numbers themselves; `file` is for messages."""
        self._spec, self._file, self._typed = spec, file, typed
        self._inputs = {name: _Input() for name in columns}
        self._labels = LabelSurvey(spec.target, spec.task) if spec.target is not None else None
        column = spec.split.column
        self._keys = SplitKeys(spec.split.by, column) if column is not None else None
        self.num_rows = 0

    @property
    def wanted(self) -> list[str]:
        """Every column that is read."""
        others = [name for name in (self._spec.target, self._spec.split.column) if name is not None]
        return list(dict.fromkeys([*self._inputs, *others]))

    def restarted(self, columns: Sequence[str]) -> TableSurvey:
        """A new survey that keeps the names of these columns from the first row on."""
        again = TableSurvey(self._spec, list(self._inputs), typed=self._typed, file=self._file)
        for name in columns:
            again._inputs[name].text = self._inputs[name].text
        return again

    def numbers(self, guess: set[str] | None = None) -> set[str]:
        """Columns that have been numbers so far, and may be read as such; before the first block, those guessed."""
        found = {name for name, found in self._inputs.items() if found.text is None}
        if self._spec.target is not None and self._labels is not None and self._labels.only_numbers:
            found.add(self._spec.target)
        return (found if guess is None else found & guess) - {self._spec.split.column, *self._spec.categories}

    def add(self, columns: Mapping[str, Column], where: Where) -> int:
        """Note a block; how many of its rows are kept. Raises InputError naming file and row."""
        columns, rows = drop_missing(columns, self._spec.missing, where, self._inputs)

        def place(row: int) -> str:
            return where(int(rows[row]))

        if not len(rows):
            return 0
        for name, found in self._inputs.items():
            self._note(name, found, columns[name], place)
        if self._labels is not None and self._spec.target is not None:
            self._labels.add(columns[self._spec.target], place)
        if self._keys is not None and self._spec.split.column is not None:
            self._keys.add(columns[self._spec.split.column], place)
        self.num_rows += len(rows)
        return len(rows)

    def _note(self, name: str, found: _Input, column: Column, where: Where) -> None:
        if column.missing.any():
            found.absent = found.absent or where(int(np.argmax(column.missing)))
            column, where = _present(column, where)
        if not len(column):
            return
        found.present += len(column)
        if isinstance(column, Numbers):
            found.numbers += len(column)
            found.complete = False
            _note_unusable(found, column, name, where)
            return
        values, good = parse_numbers(column.names)
        if name in self._spec.categories or (self._typed and name not in self._spec.numbers):
            good[:] = False
        if good.any():
            chosen = np.flatnonzero(good[column.codes])
            found.numbers += len(chosen)
            numbers = Numbers(values[column.codes[chosen]], column.missing[chosen])
            _note_unusable(found, numbers, name, lambda row: where(int(chosen[row])))
        if found.text is None and not good.all():
            row = column.first(~good)
            text = shorten(column.names[int(column.codes[row])])
            found.text = f"{where(row)}: column {name!r}: {text}"
            found.complete &= found.present == len(column)
        if found.text is None:
            found.complete = False
        elif len(found.names) <= MAX_NAMES:
            found.names.update(column.names)

    def incomplete(self) -> list[str]:
        """Columns that turned out to be categories after some of their names had been passed over."""
        self._refuse_mistakes()
        return [name for name, found in self._inputs.items() if found.text is not None and not found.complete]

    def _refuse_mistakes(self) -> None:
        """Text where numbers should be."""
        for name, found in self._inputs.items():
            share = found.numbers / max(1, found.present)
            nearly = share > NEARLY_ALL and found.present >= ENOUGH
            if found.text and (name in self._spec.numbers or nearly):
                why = f"{found.numbers} of the {found.present} rows are numbers; "
                raise InputError(
                    f"{found.text} is not a number; {'' if name in self._spec.numbers else why}allowed: numbers, "
                    "`missing_values` that names it, or the column under `categories`"
                )
            if not found.text and found.unusable is not None:
                raise found.unusable
            if found.absent and (found.text or name in self._spec.categories):
                raise InputError(f"{found.absent}: column {name!r}: {NO_NAME}")
            if found.text and len(found.names) > MAX_NAMES:
                raise InputError(
                    f"{self._file}: column {name!r}: more than {MAX_NAMES} different names; leave it out of `columns`"
                )

    def finish(self, index: Mapping[str, np.ndarray]) -> Survey:
        """Settle everything; `index` is added to. Raises InputError."""
        self._refuse_mistakes()
        if self.num_rows < 3:
            raise InputError(f"{self._file}: has {self.num_rows} rows; three splits need at least 3")
        categories = {name: sort_names(found.names) for name, found in self._inputs.items() if found.text is not None}
        if sum(map(len, categories.values())) > MAX_ALL_NAMES:
            raise InputError(
                f"{self._file}: more than {MAX_ALL_NAMES} different names in all columns; choose `columns`"
            )
        target = self._labels.finish() if self._labels is not None else None
        arrays = dict(index)
        task: tuple[str, ...] = ()
        if target is not None:
            task = ("regression",) if target.codes is None else ("classification",)
            arrays |= {} if target.codes is None else {TARGET: target.codes}
        if self._keys is not None:
            arrays[SPLIT_KEY] = self._keys.finish()
        info = DataInfo(
            tasks=(*task, "density"),
            num_samples=self.num_rows,
            shape=(len(self._inputs),),
            dims=("feature",),
            has_missing=any(found.absent is not None for found in self._inputs.values()),
            **(target.info() if target is not None else {}),
        )
        return Survey(info, arrays, {"feature_names": list(self._inputs), "categories": categories})


def _present(column: Column, where: Where) -> tuple[Column, Where]:
    """The rows that have a value, and what tells where they were."""
    rows = np.flatnonzero(~column.missing)
    return column.take(rows), lambda row: where(int(rows[row]))


def _note_unusable(found: _Input, column: Numbers, name: str, where: Where) -> None:
    if found.unusable is None:
        try:
            refuse_unusable(column, name, where)
        except InputError as error:
            found.unusable = error


def drop_missing(
    columns: Mapping[str, Column], rule: str, where: Where, inputs: Collection[str]
) -> tuple[dict[str, Column], np.ndarray]:
    """The columns without rows that lack a value in any, and which rows (kept,) are left.

    With the rule `keep`, `inputs` may lack values. Raises InputError for the first row that must not, unless the rule
    is `drop`.
    """
    held = {name: column for name, column in columns.items() if rule != "keep" or name not in inputs}
    missing = np.zeros(len(next(iter(columns.values()))) if columns else 0, bool)
    for column in held.values():
        missing |= column.missing
    if not missing.any():
        return dict(columns), np.arange(len(missing))
    if rule != "drop":
        row = int(np.argmax(missing))
        name = next(name for name, column in held.items() if column.missing[row])
        raise InputError(f"{where(row)}: column {name!r}: no value; `missing: drop` leaves such rows out")
    kept = np.flatnonzero(~missing)
    return {name: column.take(kept) for name, column in columns.items()}, kept


class TableArrays:
    """Makes arrays of the columns of a part, as the survey settled them. Pickles."""

    def __init__(self, info: DataInfo, attributes: Mapping[str, Any], target: str | None, missing: str) -> None:
        """`attributes` are the survey's; `missing` is what to do with rows that lack a value."""
        self._features: list[str] = attributes["feature_names"]
        self._codes = {
            name: {category: code for code, category in enumerate(names)}
            for name, names in attributes["categories"].items()
        }
        self._target, self._missing = target, missing
        self._classes = class_codes(info.class_names) if info.class_names else None

    def variables(self) -> dict[str, Variable]:
        """What there is."""
        inputs = Variable(("feature",), (len(self._features),), "float32")
        if self._target is None:
            return {INPUTS: inputs}
        return {INPUTS: inputs, TARGET: Variable((), (), "float32" if self._classes is None else "int64")}

    @property
    def numbers(self) -> set[str]:
        """Columns that may be read as numbers."""
        named = {self._target} if self._classes is not None else set()
        chosen = {*self._features, *([self._target] if self._target is not None else [])}
        return {name for name in chosen if name not in self._codes and name not in named}

    def blocks(self, columns: Mapping[str, Column], where: Where, names: Sequence[str]) -> dict[str, Block]:
        """The variables asked for. Raises InputError for what the survey did not meet."""
        columns, rows = drop_missing(columns, self._missing, where, self._features)

        def place(row: int) -> str:
            return where(int(rows[row]))

        blocks: dict[str, Block] = {}
        if INPUTS in names:
            inputs = np.empty((len(rows), len(self._features)), np.float32)
            for i, name in enumerate(self._features):
                inputs[:, i] = self._input(name, columns[name], place)
            blocks[INPUTS] = inputs
        if TARGET in names and self._target is not None:
            column = columns[self._target]
            if self._classes is None:
                blocks[TARGET] = _as_float32(column, self._target, place)
            else:
                blocks[TARGET] = codes_of(column, self._classes, self._target, place)
        return blocks

    def _input(self, name: str, column: Column, where: Where) -> np.ndarray:
        codes = self._codes.get(name)
        if codes is None:
            return _as_float32(column, name, where)
        assert isinstance(column, Names)
        if column.missing.any():
            raise InputError(f"{where(int(np.argmax(column.missing)))}: column {name!r}: {NO_NAME}")
        table = np.fromiter((codes.get(text, -1) for text in column.names), np.float32, len(column.names))
        values: np.ndarray = table[column.codes]
        if (values < 0).any():
            raise InputError(f"{where(int(np.argmin(values)))}: column {name!r}: a name that was not there before")
        return values


def _as_float32(column: Column, name: str, where: Where) -> np.ndarray:
    """Numbers, whether they came as such or as text; NaN where there is none."""
    if isinstance(column, Names):
        column, good = column.as_numbers()
        good |= column.missing
        if not good.all():
            raise InputError(f"{where(int(np.argmin(good)))}: column {name!r}: not a number")
    refuse_unusable(column, name, where)
    values = column.values.astype(np.float32)
    values[column.missing] = np.nan
    return values
