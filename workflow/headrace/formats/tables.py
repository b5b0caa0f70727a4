"""A table taken in block by block: what its columns hold is settled over all rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from headrace.datasets.base import SPLIT_KEY, TARGET, DataInfo, Survey
from headrace.errors import InputError
from headrace.formats.columns import (
    MAX_NAMES,
    NO_NAME,
    Column,
    Numbers,
    Where,
    drop_missing,
    list_names,
    parse_numbers,
    refuse_unusable,
    shorten,
    sort_names,
)
from headrace.formats.group_columns import GroupSurvey
from headrace.formats.labels import ENOUGH, NEARLY_ALL, LabelSurvey
from headrace.formats.split_keys import SplitKeys
from headrace.formats.table_keys import TableDataset

MAX_ALL_NAMES = 1_000_000
"""Categories of all columns together."""


def choose_columns(spec: TableDataset, names: Sequence[str], file: str) -> list[str]:
    """The columns that are inputs. Raises InputError for a key that names a column which is not there."""
    keys: dict[str, Sequence[str | None]] = {
        "target": [spec.target],
        "split.column": [spec.split.column],
        "groups": [spec.groups],
    }
    keys |= {"columns": spec.columns or (), "numbers": spec.numbers, "categories": spec.categories}
    for key, wanted in keys.items():
        for name in wanted:
            if name is not None and name not in names:
                raise InputError(f"{key}: {file}: has no column {name!r}; there are: {list_names(names)}")
    chosen = [name for name in (spec.columns or names) if spec.columns or name not in spec.beside_inputs]
    if not chosen:
        raise InputError(f"{file}: has no column besides those of the target, of the split and of groups")
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
        self._groups = GroupSurvey(spec.groups) if spec.groups is not None else None
        self.num_rows = 0

    @property
    def wanted(self) -> list[str]:
        """Every column that is read."""
        return list(dict.fromkeys([*self._inputs, *self._spec.beside_inputs]))

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
        return (found if guess is None else found & guess) - {
            self._spec.split.column,
            self._spec.groups,
            *self._spec.categories,
        }

    def add(self, columns: Mapping[str, Column], where: Where) -> int:
        """Note a block; how many of its rows are kept. Raises InputError naming file and row."""
        columns, rows = drop_missing(columns, self._spec.missing, where, self._inputs.keys() - {self._spec.groups})

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
        if self._groups is not None and self._spec.groups is not None:
            self._groups.add(columns[self._spec.groups], place)
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
        groups = self._groups.finish() if self._groups is not None else {}
        return Survey(info, arrays, {"feature_names": list(self._inputs), "categories": categories, **groups})


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
