"""What a column says of how rows are divided: their groups, their times, or their splits."""

from __future__ import annotations

import hashlib
import re
import warnings
from collections.abc import Sequence
from typing import Literal

import numpy as np

from headrace.errors import InputError
from headrace.experiments.splits import SPLITS
from headrace.formats.columns import Column, Names, Where, parse_numbers, shorten

Times = Literal["whole numbers", "numbers", "timestamps"]
SPLIT_NAMES = {"training": 0, "valid": 1, "val": 1, "dev": 1, "0": 0, "1": 1, "2": 2} | {
    name: code for code, name in enumerate(SPLITS)
}
_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")
_STAMP = re.compile(r"[0-9]{4}-?[0-9]{2}.*")


class SplitKeys:
    """Takes the column in block by block. In memory: eight bytes for every row."""

    def __init__(self, by: str, name: str) -> None:
        """`by` is grouped, time or source; `name` the column's, for messages."""
        self._by, self._name = by, name
        self._blocks: list[np.ndarray] = []
        self._form: Times | None = None

    def add(self, column: Column, where: Where) -> None:
        """Note a block (without missing rows). Raises InputError naming file and row."""
        if not isinstance(column, Names):
            values, codes = np.unique(column.values, return_inverse=True)
            column = Names(codes, [repr(value) for value in values.tolist()], column.missing)
        if not len(column):
            return
        if self._by == "grouped":
            keys = np.fromiter(map(_group, column.names), np.int64, len(column.names))
        elif self._by == "source":
            keys = self._splits(column, where)
        else:
            keys = self._times(column, where)
        self._blocks.append(keys[column.codes])

    def _splits(self, column: Names, where: Where) -> np.ndarray:
        keys = np.fromiter((SPLIT_NAMES.get(name.lower(), -1) for name in column.names), np.int64, len(column.names))
        if (keys < 0).any():
            row = column.first(keys < 0)
            text = shorten(column.names[int(column.codes[row])])
            raise InputError(f"{where(row)}: column {self._name!r}: {text}; allowed: {', '.join(SPLITS)} or 0, 1, 2")
        return keys

    def _times(self, column: Names, where: Where) -> np.ndarray:
        form, keys, bad = read_times(column.names)
        if bad.any():
            row = column.first(bad)
            text = shorten(column.names[int(column.codes[row])])
            raise InputError(f"{where(row)}: column {self._name!r}: {text} is no number and no ISO 8601 time")
        if self._form and (self._form == "timestamps") != (form == "timestamps"):
            raise InputError(f"{where(0)}: column {self._name!r}: {form} after {self._form}")
        self._form = form
        return keys

    def finish(self) -> np.ndarray:
        """(rows,) int64 or float64."""
        return np.concatenate(self._blocks) if self._blocks else np.zeros(0, np.int64)


def _group(name: str) -> int:
    """A number for a group: two of a billion groups share one with a chance of 3 in 100."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little", signed=True)


def read_times(texts: Sequence[str]) -> tuple[Times, np.ndarray, np.ndarray]:
    """Their form, (texts,) int64 or float64 to sort by, and whether each is bad.

    Timestamps are nanoseconds since 1970 in UTC, which is also what one without a zone is taken for.
    """
    if all(_WHOLE.fullmatch(text) for text in texts):
        return "whole numbers", np.fromiter(map(int, texts), np.int64, len(texts)), np.zeros(len(texts), bool)
    values, good = parse_numbers(texts)
    good &= np.isfinite(values)
    if good.sum() > len(texts) / 2:
        return "numbers", values, ~good
    import pandas as pd

    # pandas takes words such as `now` and `today` for times.
    plain = [text if _STAMP.fullmatch(text) else None for text in texts]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            stamps = pd.to_datetime(pd.Series(plain, dtype="str"), format="ISO8601", utc=True, errors="coerce")
            stamps = stamps.dt.as_unit("ns")
        except (ValueError, OverflowError) as error:
            raise InputError(f"times must lie between the years 1677 and 2262: {error}") from None
    return "timestamps", stamps.astype("int64").to_numpy(), stamps.isna().to_numpy()
