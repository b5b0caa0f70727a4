"""Tables in text, a row a line: quotes are held to their rules, then Arrow takes the fields apart."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.errors import InputError
from headrace.formats.columns import Column, Names, Numbers, Where, parse_numbers
from headrace.formats.lines import NEWLINE, QUOTE, RETURN, SPACE, Encoding, Lines, borders_of, last_border

if TYPE_CHECKING:
    import pyarrow as pa


GUESS_BYTES = 2**16


@dataclass(frozen=True)
class Dialect:
    """How fields are written."""

    delimiter: str
    quotes: bool
    """Whether a field may stand in double quotes."""
    missing: tuple[str, ...]
    """Fields that hold nothing."""


def take_header(lines: Lines, dialect: Dialect, encoding: Encoding) -> tuple[tuple[str, ...], Lines]:
    """The names of the columns in the first line that is not empty, and the lines behind it (both in a file's bytes).

    A column without a name is called after its place: `column_1`. Raises InputError for names that come twice.
    """
    starts = record_starts(lines.data, dialect.quotes)
    if not len(starts):
        raise InputError(f"{lines.name}: line {lines.first_line}: there should be a header here")
    _, lines = lines.split(int(starts[0]))
    end = next(iter(borders_of(lines.data, dialect.quotes).tolist()), len(lines.data))
    header, rest = lines.split(end)
    return header_names(header.as_utf8(encoding), dialect), rest


def header_names(header: Lines, dialect: Dialect) -> tuple[str, ...]:
    """The fields of a header, which is one record in UTF-8."""
    checked = check_quotes(header, dialect)
    text = io.StringIO(checked.data.decode(), newline="")
    try:
        if dialect.quotes:
            rows = csv.reader(text, delimiter=dialect.delimiter)
        else:
            rows = csv.reader(text, delimiter=dialect.delimiter, quoting=csv.QUOTE_NONE)
        fields = [field.strip(" ") for field in next(rows, [])]
    except csv.Error as error:
        raise InputError(f"{header.at(0)}: the header cannot be read: {error}") from None
    names = tuple(field or f"column_{place}" for place, field in enumerate(fields, 1))
    twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if twice:
        raise InputError(f"{header.at(0)}: column {twice[0]!r} comes twice; every column needs a name of its own")
    return names


def record_starts(data: bytes, quotes: bool) -> np.ndarray:
    """(rows,) where each row begins; empty lines are none."""
    values = np.frombuffer(data, np.uint8)
    starts = np.concatenate([[0], borders_of(data, quotes)]).astype(np.int64)
    starts = starts[starts < len(values)]
    if not len(starts):
        return starts
    first = values[starts]
    second = values[np.minimum(starts + 1, len(values) - 1)]
    filled = (first != NEWLINE) & ~((first == RETURN) & (second == NEWLINE))
    kept: np.ndarray = starts[filled]
    return kept


def check_quotes(lines: Lines, dialect: Dialect) -> Lines:
    """Raise InputError for quotes and carriage returns out of place; leave out blanks in front of a quoted field."""
    values = np.frombuffer(lines.data, np.uint8)
    quotes = np.flatnonzero(values == QUOTE) if dialect.quotes else np.zeros(0, np.int64)
    if b"\r" in lines.data:
        returns = np.flatnonzero(values == RETURN)
        alone = values[np.minimum(returns + 1, len(values) - 1)] != NEWLINE
        alone &= np.searchsorted(quotes, returns) % 2 == 0
        if alone.any():
            raise InputError(
                f"{lines.at(int(returns[np.argmax(alone)]))}: a carriage return within a line; lines end in LF or CRLF"
            )
    if not len(quotes):
        return lines
    edges = [ord(dialect.delimiter), NEWLINE, RETURN]
    solid = np.flatnonzero(values != SPACE) if dialect.delimiter != " " else np.arange(len(values))
    opening, closing = quotes[0::2], quotes[1::2]
    # -1 and the length stand for the borders of the text, where a field begins and ends too.
    before = np.concatenate([[-1], solid])[np.searchsorted(solid, opening)]
    after = np.append(solid, len(values))[np.searchsorted(solid, closing, side="right")]
    begins = (before < 0) | np.isin(values[before], edges)
    begins[1:] |= closing[: len(opening) - 1] == opening[1:] - 1
    ends = (after == len(values)) | np.isin(values[np.minimum(after, len(values) - 1)], edges)
    ends[: len(opening) - 1] |= opening[1:] == closing[: len(opening) - 1] + 1
    wrong = np.concatenate([opening[~begins], closing[~ends]])
    if len(wrong):
        raise InputError(
            f"{lines.at(int(wrong.min()))}: a quote within a field, which must then be quoted as a whole and the quote "
            "doubled; with `quotes: false` a quote is a character as any other"
        )
    if len(quotes) % 2:
        raise InputError(f"{lines.at(int(quotes[-1]))}: a quote that is never closed; see also `quotes: false`")
    blank = opening[(opening - before > 1) & begins & ~np.isin(opening - 1, closing)]
    if not len(blank):
        return lines
    keep = np.ones(len(values), bool)
    for place in blank.tolist():
        keep[before[np.searchsorted(opening, place)] + 1 : place] = False
    return replace(lines, data=values[keep].tobytes())


class Parser:
    """Takes blocks of lines apart into columns."""

    def __init__(self, names: Sequence[str], dialect: Dialect, wanted: Sequence[str]) -> None:
        """`names` of all columns; only those `wanted` are taken."""
        self._names, self._dialect, self._wanted = list(names), dialect, list(wanted)

    def parse(self, lines: Lines, numbers: Collection[str] = ()) -> tuple[dict[str, Column], Where]:
        """The columns of a block, and what tells the line of a row.

        Columns in `numbers` come out as Numbers when all their fields are; all others as Names. Raises InputError.
        """
        lines = check_quotes(lines, self._dialect)
        starts = record_starts(lines.data, self._dialect.quotes)

        def where(row: int) -> str:
            return lines.at(int(starts[row]))

        if not len(starts):
            return {}, where
        table = self._read(lines, starts, set(numbers) & set(self._wanted))
        if len(table) != len(starts):
            raise InputError(f"{lines.at(0)}: {len(starts)} lines from here on make {len(table)} rows")
        return {name: self._column(table.column(name)) for name in self._wanted}, where

    def guess_numbers(self, lines: Lines) -> set[str]:
        """Columns that are numbers in the first lines of a block: to try first, with no harm where it is wrong."""
        border = last_border(lines.data[:GUESS_BYTES], self._dialect.quotes)
        columns, _ = self.parse(replace(lines, data=lines.data[:border]))
        named = {name: column for name, column in columns.items() if isinstance(column, Names)}
        return {
            name
            for name, column in named.items()
            if parse_numbers([text for text in column.names if text not in self._dialect.missing])[1].all()
        }

    def _read(self, lines: Lines, starts: np.ndarray, numbers: set[str]) -> pa.Table:
        import pyarrow as pa
        from pyarrow import csv as arrow_csv

        ragged: list[Any] = []

        def note(row: Any) -> str:
            ragged.append(row)
            return "error"

        quotes = self._dialect.quotes and b'"' in lines.data
        names = pa.dictionary(pa.int32(), pa.string())
        while True:
            try:
                return arrow_csv.read_csv(
                    pa.BufferReader(lines.data),
                    # One block: what was cut already needs no cutting.
                    arrow_csv.ReadOptions(use_threads=False, block_size=len(lines.data) + 1, column_names=self._names),
                    arrow_csv.ParseOptions(
                        delimiter=self._dialect.delimiter,
                        quote_char='"' if quotes else False,
                        newlines_in_values=quotes,
                        invalid_row_handler=note,
                    ),
                    arrow_csv.ConvertOptions(
                        column_types={n: pa.float64() if n in numbers else names for n in self._wanted},
                        include_columns=self._wanted,
                        null_values=[f"{a}{word}" for word in self._dialect.missing for a in ("", " ")],
                        strings_can_be_null=False,
                    ),
                )
            except pa.ArrowInvalid as error:
                if ragged:
                    raise self._ragged(lines, starts, ragged[0]) from None
                if not numbers:
                    why = " ".join(str(error).split())[:200]
                    raise InputError(f"{lines.at(0)}: cannot be read from here on: {why}") from None
                # Something in a column of numbers is none: its fields tell what.
                numbers = numbers - self._named(str(error))

    def _named(self, message: str) -> set[str]:
        """The column that Arrow complains of; all of them, where it does not say."""
        place = message.partition("column #")[2].partition(":")[0]
        if place.isdecimal() and int(place) < len(self._names):
            return {self._names[int(place)]}
        return set(self._names)

    def _ragged(self, lines: Lines, starts: np.ndarray, row: Any) -> InputError:
        place = lines.at(int(starts[min(row.number, len(starts)) - 1])) if row.number else f"{lines.at(0)} or below"
        return InputError(f"{place}: has {row.actual_columns} fields, not {row.expected_columns}")

    def _column(self, column: pa.ChunkedArray) -> Column:
        import pyarrow as pa
        import pyarrow.compute as pc

        array = column.combine_chunks()
        if isinstance(array, pa.ChunkedArray):
            array = array.chunk(0)
        if pa.types.is_dictionary(array.type):
            trimmed = pc.utf8_trim(array.dictionary, " \t").dictionary_encode()
            codes = trimmed.indices.to_numpy()[array.indices.to_numpy()]
            names = trimmed.dictionary.to_pylist()
            unknown = frozenset(self._dialect.missing)
            absent = np.fromiter((name in unknown for name in names), bool, len(names))
            return Names(codes, names, absent[codes])
        missing = array.is_null().to_numpy(zero_copy_only=False)
        return Numbers(array.fill_null(0.0).to_numpy(), missing)
