"""Which group a row belongs to, as a column says it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from headrace.errors import InputError
from headrace.formats.columns import Column, Names, Where, shorten, sort_names

EXACT = 2**53
"""Below it every whole number is one of float64."""
MAX_GROUPS = 50
"""Of more, each would have few samples, and nobody reads what was found."""
_ROW = re.compile(r": (row|line) [^:]*$")
"""What a place ends with."""


class GroupSurvey:
    """Takes the column in block by block."""

    def __init__(self, name: str, *, told: bool = True) -> None:
        """`name` is the column's; `told` is whether messages need it behind file and row."""
        self._name, self._said = name, f": column {name!r}" if told else ""
        self._names: set[str] = set()
        self._last = ""

    def add(self, column: Column, where: Where) -> None:
        """Note a block (without missing rows). Raises InputError naming file and row."""
        if not len(column):
            return
        self._last = _ROW.sub("", where(0))
        self._names.update(_as_names(column).names)
        if len(self._names) > MAX_GROUPS:
            raise InputError(f"groups: {where(0)}{self._said}: more than {MAX_GROUPS} different names")

    def finish(self) -> dict[str, Any]:
        """What the store says of it. Raises InputError."""
        if len(self._names) < 2:
            raise InputError(f"groups: {self._last}{self._said}: every row is of the same group")
        return {"group_column": self._name, "group_names": sort_names(self._names)}


def group_codes(column: Column, codes: Mapping[str, int], name: str, where: Where) -> np.ndarray:
    """(rows,) int16: the place of every row's group among those surveyed. Raises InputError for one that is new."""
    named = _as_names(column)
    table = np.fromiter((codes.get(text, -1) for text in named.names), np.int16, len(named.names))
    found: np.ndarray = table[named.codes]
    if (found < 0).any():
        row = int(np.argmin(found))
        text = shorten(named.names[int(named.codes[row])])
        raise InputError(f"{where(row)}: column {name!r}: {text} is no group that was surveyed")
    return found


def _as_names(column: Column) -> Names:
    if isinstance(column, Names):
        return column
    values, codes = np.unique(column.values, return_inverse=True)
    return Names(codes, spell_numbers(values), column.missing)


def spell_numbers(values: np.ndarray) -> list[str]:
    """What groups are called that numbers or truth values tell apart: 2 and not 2.0, every digit that they have."""
    if values.dtype.kind != "f":
        return [str(value).lower() for value in values.tolist()]
    # NumPy's own scalars: of float32, 0.1 has one digit.
    return [str(int(value)) if value.is_integer() and abs(value) < EXACT else str(value) for value in values]
