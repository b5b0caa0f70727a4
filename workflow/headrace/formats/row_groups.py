"""Which group a row belongs to, as an array beside the inputs says it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from headrace.errors import InputError
from headrace.formats.columns import Names, Where
from headrace.formats.group_columns import GroupSurvey, spell_numbers
from headrace.formats.rows import Rows, plain_values


def survey_groups(groups: Rows, keep: np.ndarray, name: str) -> tuple[np.ndarray, dict[str, Any]]:
    """(kept rows,) int16 places among the names, and what the store says of them: `name` is what tells groups apart.

    Raises InputError naming the file for several values a row, for more groups than anybody reads, and for one alone.
    """
    if math.prod(groups.shape) != 1:
        raise InputError(f"{groups.place(0)}: groups has {groups.shape} values a row; allowed: one")
    survey = GroupSurvey(name, told=False)
    blocks: list[tuple[np.ndarray, list[str]]] = []
    for column, where in _columns(groups, keep):
        survey.add(column, where)
        blocks.append((column.codes.astype(np.int16), column.names))
    said = survey.finish()
    places = {text: place for place, text in enumerate(said["group_names"])}
    codes = [np.array([places[text] for text in names], np.int16)[found] for found, names in blocks]
    return np.concatenate(codes), said


def _columns(groups: Rows, keep: np.ndarray) -> Iterator[tuple[Names, Where]]:
    """The rows that are kept, part by part, and what tells where they lie."""
    for start, values in groups.pieces():
        kept = start + np.flatnonzero(keep[start : start + len(values)])
        found, codes = np.unique(values.reshape(len(values))[kept - start], return_inverse=True)
        names = plain_values(groups, start, found) if found.dtype.kind in "US" else spell_numbers(found)
        yield Names(codes, names, np.zeros(len(codes), bool)), _where(groups, kept)


def _where(groups: Rows, kept: np.ndarray) -> Where:
    return lambda row: groups.place(int(kept[row]))
