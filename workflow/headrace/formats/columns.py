"""Columns of a table as they come out of a file: numbers, or names by code."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from headrace.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

MAX_NAMES = 10_000
"""Different names in one column: above it, it is an identifier and not a category."""
NO_NAME = "no value among categories; take its word out of `missing_values`, or write `missing: drop`"
"""Said of a row."""
LARGEST = float(np.finfo(np.float32).max)
Where = Callable[[int], str]
"""The row of a block, counted from 0 -> file and line, for a message."""
_WHOLE = re.compile(r"[+-]?[0-9]+")
_NUMBER = r"[+-]?(([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|(?i:inf|infinity|nan))"


@dataclass(frozen=True)
class Numbers:
    """A column of measurements."""

    values: np.ndarray
    """(rows,) float64; anything where missing."""
    missing: np.ndarray
    """(rows,) bool."""

    def __len__(self) -> int:
        return len(self.values)

    def take(self, rows: np.ndarray) -> Numbers:
        """Some of the rows."""
        return Numbers(self.values[rows], self.missing[rows])


@dataclass(frozen=True)
class Names:
    """A column of text, each different one written once."""

    codes: np.ndarray
    """(rows,) places in `names`."""
    names: list[str]
    missing: np.ndarray
    """(rows,) bool."""

    def __len__(self) -> int:
        return len(self.codes)

    def take(self, rows: np.ndarray) -> Names:
        """Some of the rows; names that no row has any more are left out."""
        used, codes = np.unique(self.codes[rows], return_inverse=True)
        return Names(codes, [self.names[i] for i in used.tolist()], self.missing[rows])

    def as_numbers(self) -> tuple[Numbers, np.ndarray]:
        """The same column as numbers, and (rows,) whether a row is one."""
        values, good = parse_numbers(self.names)
        return Numbers(values[self.codes], self.missing), good[self.codes]

    def first(self, chosen: np.ndarray) -> int:
        """The first row whose name is among those chosen (names,)."""
        return int(np.argmax(chosen[self.codes]))


Column = Numbers | Names


def names_of(codes: np.ndarray, names: Sequence[str], missing: Iterable[str] = ()) -> Names:
    """A column whose names may come twice, as they do once they are trimmed."""
    places: dict[str, int] = {}
    table = np.fromiter((places.setdefault(name, len(places)) for name in names), np.int64, len(names))
    unknown = frozenset(missing)
    absent = np.fromiter((name in unknown for name in places), bool, len(places))
    codes = table[codes] if len(names) else np.zeros(len(codes), np.int64)
    return Names(codes, list(places), absent[codes] if len(places) else np.zeros(len(codes), bool))


def parse_numbers(texts: Sequence[str] | pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """(texts,) float64, and whether each is a number at all: 0.0 where it is not."""
    import pyarrow as pa
    import pyarrow.compute as pc

    column = texts if isinstance(texts, pa.Array) else pa.array(texts, pa.large_string())
    good = pc.match_substring_regex(column, f"^{_NUMBER}$")
    # Arrow reads no plus sign, and no infinity in capitals.
    plain = pc.utf8_lower(pc.replace_substring_regex(column, r"^\+", ""))
    values = pc.cast(pc.if_else(good, plain, "0"), pa.float64())
    return values.to_numpy(zero_copy_only=False), good.to_numpy(zero_copy_only=False)


def refuse_unusable(column: Numbers, name: str, where: Where) -> None:
    """Raise InputError for what is infinite, no number, or too large for float32."""
    wrong = ~(np.abs(column.values) <= LARGEST) & ~column.missing
    if wrong.any():
        row = int(np.argmax(wrong))
        value = float(column.values[row])
        why = "does not fit into float32" if math.isfinite(value) else "is not a finite number"
        raise InputError(f"{where(row)}: column {name!r}: {value:g} {why}")


def value_of(name: str) -> int | float | str:
    """What a name means: a whole number, another finite one, or itself."""
    if _WHOLE.fullmatch(name) and len(name) < 400:
        return int(name)
    if re.fullmatch(_NUMBER, name):
        value = float(name)
        if math.isfinite(value):
            return int(value) if value.is_integer() else value
    return name


def sort_names(names: Iterable[str]) -> list[str]:
    """Numbers by value when all names are numbers, else by code point."""
    listed = sorted(names)
    values = {name: value_of(name) for name in listed}
    if not any(isinstance(value, str) for value in values.values()):
        return sorted(listed, key=lambda name: values[name])
    return listed


def list_names(names: Sequence[str]) -> str:
    """The first columns of a table for a message of one line."""
    shown = [name if name.isprintable() and len(name) <= 60 else shorten(name) for name in names[:20]]
    return ", ".join(shown) + (", ..." if len(names) > 20 else "")


def shorten(text: str) -> str:
    """A value for a message of one line."""
    shown = repr(text)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."


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
