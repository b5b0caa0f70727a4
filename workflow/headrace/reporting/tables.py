"""A tidy table as text and with types: fixed columns, the parameters that were swept, and what was measured."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

NOT_SWEPT = ""
"""In the column of a swept parameter, for a line of something that has no such parameter."""

Line = tuple[Sequence[Any], Sequence[Any], Sequence[Any]]
"""What stands in the fixed columns, in those of parameters, and in those of what was measured; None in an empty one of
the first and the last."""


@dataclass(frozen=True)
class Table:
    """Lines below named columns."""

    fixed: Mapping[str, pa.DataType]
    parameters: Mapping[str, Sequence[Any]]
    """By name all values that a parameter has anywhere, finished or not: its type must not hang on what has failed."""
    measured: Mapping[str, pa.DataType]
    lines: Sequence[Line]

    @property
    def columns(self) -> list[str]:
        """Return the names of all columns."""
        return [*self.fixed, *self.parameters, *self.measured]


def write_csv(table: Table) -> str:
    """Return a table as text; numbers are written so that reading gives the same bits."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(table.columns)
    for fixed, point, measured in table.lines:
        writer.writerow([*map(_write, fixed), *map(_write_parameter, point), *map(_write, measured)])
    return buffer.getvalue()


def write_parquet(table: Table) -> bytes:
    """Return a table with types: text, whole numbers, and float64 for what was measured, in which nan stays nan.

    A swept parameter is a number, or true or false, where it is that wherever it is known, and else text as in the CSV;
    it is null where it is not known. The same table gives the same bytes.
    """
    columns: dict[str, pa.Array] = {}
    for place, (name, kind) in enumerate(table.fixed.items()):
        columns[name] = pa.array([fixed[place] for fixed, _, _ in table.lines], kind)
    for place, (name, values) in enumerate(table.parameters.items()):
        kind = _type_of(values)
        columns[name] = pa.array([_typed(point[place], kind) for _, point, _ in table.lines], kind)
    for place, (name, kind) in enumerate(table.measured.items()):
        columns[name] = pa.array([measured[place] for _, _, measured in table.lines], kind)
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer)
    return buffer.getvalue()


def _write(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else repr(value)


def _write_parameter(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _type_of(values: Sequence[Any]) -> pa.DataType:
    """Return the narrowest type that holds every value of a parameter as it is."""
    known = [value for value in values if value != NOT_SWEPT]
    if known and all(isinstance(value, bool) for value in known):
        return pa.bool_()
    if not known or not all(isinstance(value, int | float) and not isinstance(value, bool) for value in known):
        return pa.string()
    if all(isinstance(value, int) and -(2**63) <= value < 2**63 for value in known):
        return pa.int64()
    is_exact = all(isinstance(value, float) or abs(value) <= 2**53 for value in known)
    return pa.float64() if is_exact else pa.string()


def _typed(value: Any, kind: pa.DataType) -> Any:
    if value == NOT_SWEPT and isinstance(value, str):
        return None
    if pa.types.is_floating(kind):
        return float(value)
    return _write_parameter(value) if pa.types.is_string(kind) else value
