"""Columns as arrays, coded as the survey of the whole table settled it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from headrace.blocks import Block
from headrace.datasets.base import GROUP, INPUTS, TARGET, DataInfo
from headrace.errors import InputError
from headrace.formats.columns import NO_NAME, Column, Names, Where, drop_missing, refuse_unusable
from headrace.formats.group_columns import group_codes
from headrace.formats.labels import class_codes, codes_of
from headrace.stores.layout import Variable


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
        self._group: str | None = attributes.get("group_column")
        self._groups = {name: code for code, name in enumerate(attributes.get("group_names", ()))}
        self._classes = class_codes(info.class_names) if info.class_names else None

    def variables(self) -> dict[str, Variable]:
        """What there is."""
        inputs = Variable(("feature",), (len(self._features),), "float32")
        found = {INPUTS: inputs}
        if self._target is not None:
            found[TARGET] = Variable((), (), "float32" if self._classes is None else "int64")
        if self._group is not None:
            found[GROUP] = Variable((), (), "int16")
        return found

    @property
    def numbers(self) -> set[str]:
        """Columns that may be read as numbers."""
        named = {self._group, *([self._target] if self._classes is not None else [])}
        chosen = {*self._features, *([self._target] if self._target is not None else [])}
        return {name for name in chosen if name not in self._codes and name not in named}

    def blocks(self, columns: Mapping[str, Column], where: Where, names: Sequence[str]) -> dict[str, Block]:
        """The variables asked for. Raises InputError for what the survey did not meet."""
        inputs_named = [name for name in self._features if name != self._group]
        columns, rows = drop_missing(columns, self._missing, where, inputs_named)

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
        if GROUP in names and self._group is not None:
            blocks[GROUP] = group_codes(columns[self._group], self._groups, self._group, place)
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
