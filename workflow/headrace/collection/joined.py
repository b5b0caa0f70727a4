"""The tidy tables of all experiments as one."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from headrace.collection.finished import Finished
from headrace.errors import InputError
from headrace.reporting.tidy import FIXED, MEASURED, RUN

ALL = "all.csv"
"""The file's name, beside the index."""


def join_tables(found: Sequence[Finished]) -> str:
    """Every line of every results.csv, in the order given; a swept parameter that an experiment lacks stays empty.

    Tables of an older version have runs alone, and do not say so. Raises InputError for a table that has gone or broken
    since it was read.
    """
    tables = [_read(finished.folder / "results.csv") for finished in found]
    own = sorted({name for header, _ in tables for name in header} - {*FIXED, *MEASURED})
    columns = [*FIXED, *own, *MEASURED]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    for header, rows in tables:
        places = [header.index(name) if name in header else None for name in columns]
        absent = [RUN if name == "kind" else "" for name in columns]
        writer.writerows(_pick(row, places, absent) for row in rows)
    return buffer.getvalue()


def _pick(row: Sequence[str], places: Iterable[int | None], absent: Iterable[str]) -> list[str]:
    return [instead if place is None else row[place] for place, instead in zip(places, absent, strict=True)]


def _read(path: Path) -> tuple[list[str], list[list[str]]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            header, *rows = csv.reader(file)
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read: {' '.join(str(error).split())}") from None
    return header, rows
