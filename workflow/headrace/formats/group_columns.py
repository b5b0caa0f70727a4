"""The column that says which group a row belongs to."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from headrace.errors import InputError
from headrace.formats.columns import Column, Names, Where, shorten, sort_names

MAX_GROUPS = 50
"""Of more, each would have few samples, and nobody reads what was found."""


class GroupSurvey:
    """Takes the column in block by block."""

    def __init__(self, name: str) -> None:
        """`name` is the column's, for messages."""
        self._name = name
        self._names: set[str] = set()
        self._last = ""

    def add(self, column: Column, where: Where) -> None:
        """Note a block (without missing rows). Raises InputError naming file and row."""
        if not len(column):
            return
        self._last = where(0).split(": ")[0]
        self._names.update(_as_names(column).names)
        if len(self._names) > MAX_GROUPS:
            raise InputError(f"groups: {where(0)}: column {self._name!r}: more than {MAX_GROUPS} different names")

    def finish(self) -> dict[str, object]:
        """What the store says of it. Raises InputError."""
        if len(self._names) < 2:
            raise InputError(f"groups: {self._last}: column {self._name!r}: every row is of the same group")
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
    return Names(
        codes, [f"{value:g}" if value.is_integer() else repr(value) for value in values.tolist()], column.missing
    )
