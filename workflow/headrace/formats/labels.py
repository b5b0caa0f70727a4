"""What there is to predict, settled over all rows: classes by name, or numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from headrace.errors import InputError
from headrace.formats.columns import (
    MAX_NAMES,
    Column,
    Names,
    Numbers,
    Where,
    parse_numbers,
    refuse_unusable,
    shorten,
    value_of,
)

TaskRule = Literal["auto", "classification", "regression"]
MAX_WHOLE = 100
"""Different whole numbers that are taken for classes unless told otherwise."""
NEARLY_ALL, ENOUGH = 0.99, 100
"""Where more than this share of at least so many rows are numbers, text among them is a mistake."""


@dataclass(frozen=True)
class Target:
    """What was found."""

    class_names: tuple[str, ...] = ()
    counts: tuple[int, ...] = ()
    codes: np.ndarray | None = None
    """(rows,) int64; None for numbers to predict."""

    def info(self) -> dict[str, Any]:
        """What a DataInfo says of it."""
        if self.codes is None:
            return {"num_targets": 1}
        return {"class_names": self.class_names, "class_counts": self.counts}


class LabelSurvey:
    """Takes a target in block by block. In memory: a code for every row, as long as they may be classes."""

    def __init__(self, name: str, task: TaskRule) -> None:
        """`name` is the column's, for messages."""
        self._name, self._task = name, task
        self._places: dict[int | float | str, int] = {}
        self._blocks: list[np.ndarray] = []
        self._too_many = False
        self._has_fraction = False
        self._num_rows = self._num_numbers = 0
        self._first_text: str | None = None
        self._last = ""

    def add(self, column: Column, where: Where) -> None:
        """Note a block (without missing rows). Raises InputError naming file and row."""
        if not len(column):
            return
        self._last = where(0)
        if isinstance(column, Numbers):
            refuse_unusable(column, self._name, where)
            self._num_numbers += len(column)
            self._note_values(column.values)
        else:
            self._note_names(column, where)
        self._num_rows += len(column)

    def _note_values(self, values: np.ndarray) -> None:
        self._has_fraction |= bool((values != np.floor(values)).any())
        if not self._keeps_codes():
            return
        distinct, codes = np.unique(values, return_inverse=True)
        self._keep([_plain(value) for value in distinct.tolist()], codes)

    def _note_names(self, column: Names, where: Where) -> None:
        values, good = parse_numbers(column.names)
        if good.any():
            rows = good[column.codes]
            self._num_numbers += int(rows.sum())
            chosen = np.flatnonzero(rows)
            numbers = Numbers(values[column.codes[chosen]], column.missing[chosen])
            if self._task == "regression" or good.all():
                refuse_unusable(numbers, self._name, lambda row: where(int(chosen[row])))
            self._has_fraction |= bool((values[good] != np.floor(values[good])).any())
        if not good.all():
            row = column.first(~good)
            text = shorten(column.names[int(column.codes[row])])
            self._first_text = self._first_text or f"{where(row)}: column {self._name!r}: {text}"
            if self._task == "regression":
                raise InputError(f"{self._first_text} is not a number")
        if self._keeps_codes():
            self._keep([value_of(name) for name in column.names], column.codes)

    @property
    def only_numbers(self) -> bool:
        """Whether it can be nothing but numbers any more."""
        return self._too_many or self._task == "regression"

    def _keeps_codes(self) -> bool:
        """Fractions may still be classes when text comes later, or when classification is asked for."""
        return not self.only_numbers

    def _keep(self, values: Sequence[int | float | str], codes: np.ndarray) -> None:
        table = np.fromiter((self._places.setdefault(v, len(self._places)) for v in values), np.int32, len(values))
        self._blocks.append(table[codes])
        if len(self._places) > MAX_NAMES:
            self._too_many = True
            self._places, self._blocks = {}, []

    def finish(self) -> Target:
        """Settle it. Raises InputError."""
        share = self._num_numbers / max(1, self._num_rows)
        text = self._first_text
        if text and NEARLY_ALL < share < 1 and self._num_rows >= ENOUGH and self._task == "auto":
            raise InputError(f"{text} is not a number, and nearly all others are; see also `task: classification`")
        classes = self._task == "classification" or (self._task == "auto" and (text or not self._has_fraction))
        if not classes:
            return Target()
        where = f"{self._last.split(': ')[0]}: column {self._name!r}"
        if self._too_many:
            raise InputError(f"{where}: more than {MAX_NAMES} different classes; write `task: regression` for numbers")
        if self._task == "auto" and not text and len(self._places) > MAX_WHOLE:
            raise InputError(
                f"{where}: {len(self._places)} different whole numbers may be classes or not; write "
                "`task: regression` or `task: classification`"
            )
        if len(self._places) < 2:
            raise InputError(f"{where}: every row is of the same class")
        return self._classes()

    def _classes(self) -> Target:
        numeric = not any(isinstance(value, str) for value in self._places)
        # Text that is mixed with numbers is sorted as text, numbers as they are written then.
        order = sorted(self._places, key=(lambda v: v) if numeric else spell)
        table = np.empty(len(order), np.int64)
        table[[self._places[value] for value in order]] = np.arange(len(order))
        codes = table[np.concatenate(self._blocks)]
        counts = np.bincount(codes, minlength=len(order)).tolist()
        return Target(tuple(spell(value) for value in order), tuple(counts), codes)


def _plain(value: float) -> int | float:
    return int(value) if value.is_integer() else value


def spell(value: float | str) -> str:
    """What a class is called: 2 and not 2.0."""
    return value if isinstance(value, str) else repr(value)


def codes_of(column: Column, codes: Mapping[int | float | str, int], name: str, where: Where) -> np.ndarray:
    """(rows,) int64 codes of classes; `codes` are those of `class_codes`. Raises InputError for one that is new."""
    if isinstance(column, Numbers):
        distinct, places = np.unique(column.values, return_inverse=True)
        values: list[int | float | str] = [_plain(value) for value in distinct.tolist()]
    else:
        values, places = [value_of(value) for value in column.names], column.codes
    table = np.fromiter((codes.get(value, -1) for value in values), np.int64, len(values))
    found: np.ndarray = table[places]
    if (found < 0).any():
        row = int(np.argmin(found))
        raise InputError(f"{where(row)}: column {name!r}: {values[int(places[row])]!r} is no class that was surveyed")
    return found


def class_codes(class_names: Sequence[str]) -> dict[int | float | str, int]:
    """The code of every value that means a class."""
    return {value_of(name): code for code, name in enumerate(class_names)}
