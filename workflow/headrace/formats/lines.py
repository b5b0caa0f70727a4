"""Text files cut where lines end: any part can be read alone, and whatever is wrong is told with its line."""

from __future__ import annotations

import gzip
import shutil
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Literal, cast

import numpy as np

from headrace.datasets.base import SourceFile
from headrace.errors import InputError

Encoding = Literal["utf-8", "latin-1", "cp1252"]
Where = Callable[[int], str]
"""The row of a block, counted from 0 -> file and line, for a message."""

PART_BYTES = 8 * 2**20
"""Of a file in one part: as numbers they take up to twice as much."""
LONGEST_LINE_BYTES = 64 * 2**20
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
NEWLINE, RETURN, QUOTE, SPACE, TAB = b'\n\r" \t'


@dataclass(frozen=True)
class Lines:
    """Whole lines of one file."""

    name: str
    """Of the file, for messages."""
    file: int
    """Its number."""
    start: int
    """Where the lines begin in it, in bytes."""
    first_line: int
    """Counted from 1."""
    data: bytes

    @property
    def stop(self) -> int:
        """Where the lines end, as long as `data` are the file's own bytes."""
        return self.start + len(self.data)

    def at(self, position: int) -> str:
        """File and line of a position in `data`."""
        line = self.first_line + self.data.count(b"\n", 0, position)
        return f"{self.name}: line {line}"

    def split(self, position: int) -> tuple[Lines, Lines]:
        """The lines before a position in `data`, and those from it on."""
        head, tail = self.data[:position], self.data[position:]
        line = self.first_line + head.count(b"\n")
        return replace(self, data=head), replace(self, data=tail, start=self.start + position, first_line=line)

    def as_utf8(self, encoding: Encoding) -> Lines:
        """The same lines with `data` in UTF-8. Raises InputError naming the line of what is not in the encoding."""
        null = self.data.find(b"\0")
        if null >= 0:
            raise InputError(f"{self.at(null)}: holds a zero byte: this is not a text in {encoding}")
        if self.data.isascii():
            return self
        try:
            text = self.data.decode(encoding)
        except UnicodeDecodeError as error:
            byte = self.data[error.start]
            raise InputError(
                f"{self.at(error.start)}: byte 0x{byte:02x} is not {encoding}; allowed under `encoding`: "
                "utf-8, latin-1, cp1252"
            ) from None
        return self if encoding == "utf-8" else replace(self, data=text.encode())

    def line_borders(self) -> tuple[np.ndarray, np.ndarray]:
        """(lines,) where each line begins in `data` and where it ends, without what ends it."""
        values = np.frombuffer(self.data, np.uint8)
        ends = np.flatnonzero(values == NEWLINE)
        if len(values) and values[-1] != NEWLINE:
            ends = np.append(ends, len(values))
        starts = np.concatenate([[0], ends[:-1] + 1]) if len(ends) else ends
        returns = (ends > starts) & (values[ends - 1] == RETURN) if len(ends) else np.zeros(0, bool)
        return starts, ends - returns


def read_parts(files: Sequence[SourceFile], *, quoted: bool = False, torn: bool = False) -> Iterator[Lines]:
    """All lines of files, some 8 MiB at a time; `quoted` ones may go on behind a line's end that is in quotes.

    A line that is longer than a part is cut between two characters where lines may be `torn`. A .gz file is unpacked on
    the way: positions are those in what it holds. Raises InputError for an empty file, and for a line of too many
    bytes to be held.
    """
    for number, file in enumerate(files):
        name, start, line, rest, is_empty = str(file.path), 0, 1, b"", True
        with _opened(file.path) as stream:
            while more := stream.read(PART_BYTES):
                data = rest + more
                if start == 0 and data.startswith(BYTE_ORDER_MARK):
                    start, data = len(BYTE_ORDER_MARK), data[len(BYTE_ORDER_MARK) :]
                border = last_border(data, quoted)
                if border == 0 and torn:
                    border = last_character(data)
                if border == 0 and len(data) > LONGEST_LINE_BYTES:
                    why = ", or a quote is never closed" if quoted else ""
                    most = f"{LONGEST_LINE_BYTES // 2**20} MiB"
                    raise InputError(
                        f"{name}: line {line}: is longer than {most}{why}; allowed: lines of {most} at most"
                    )
                whole, rest = data[:border], data[border:]
                is_empty &= not data
                if whole:
                    yield Lines(name, number, start, line, whole)
                    start, line = start + len(whole), line + whole.count(b"\n")
        if rest:
            yield Lines(name, number, start, line, rest)
        if is_empty:
            raise InputError(f"{name}: is empty")


def last_border(data: bytes, quoted: bool) -> int:
    """Where the last whole line ends in bytes that begin with a line, or 0."""
    if not quoted or b'"' not in data:
        return data.rfind(b"\n") + 1
    ends = borders_of(data, quoted)
    return int(ends[-1]) if len(ends) else 0


def borders_of(data: bytes, quoted: bool) -> np.ndarray:
    """(lines,) positions behind every line's end that is not in quotes."""
    values = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(values == NEWLINE)
    if quoted and b'"' in data:
        quotes = np.flatnonzero(values == QUOTE)
        ends = ends[np.searchsorted(quotes, ends) % 2 == 0]
    return ends + 1


def last_character(data: bytes) -> int:
    """Where bytes in UTF-8, or in an encoding of one byte a character, end without a character that is cut short."""
    for length in range(1, min(4, len(data)) + 1):
        byte = data[-length]
        if byte & 0xC0 != 0x80:
            wanted = 4 if byte >= 0xF0 else 3 if byte >= 0xE0 else 2 if byte >= 0xC0 else 1
            return len(data) - length if wanted > length else len(data)
    return len(data)


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """A file's bytes, or those that a .gz file holds."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            yield cast(BinaryIO, stream)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        why = " ".join(str(error).split())
        raise InputError(f"{path}: is not a whole gzip file: {why}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None


def unpack(files: Sequence[SourceFile], scratch: Path) -> list[Path]:
    """The files, those that are .gz as unpacked copies."""
    paths = []
    for number, file in enumerate(files):
        paths.append(file.path.absolute())
        if file.path.suffix == ".gz":
            paths[-1] = (scratch / f"{number}.txt").absolute()
            with _opened(file.path) as stream, paths[-1].open("wb") as copy:
                shutil.copyfileobj(stream, copy, 2**20)
    return paths


class Parts:
    """Parts of text files that any process can read: what `read_parts` found, as numbers."""

    def __init__(self, names: Sequence[str], paths: Sequence[Path], table: np.ndarray, encoding: Encoding) -> None:
        """`names` are for messages; `table` (parts, 4): number of the file, first byte, border, first line."""
        self._names, self._paths, self._table, self._encoding = list(names), list(paths), table, encoding

    @staticmethod
    def row(lines: Lines) -> tuple[int, int, int, int]:
        """A row of the table."""
        return lines.file, lines.start, lines.stop, lines.first_line

    def read(self, part: int) -> Lines:
        """The lines of a part, in UTF-8. Raises InputError when the file is shorter than it was."""
        file, start, stop, first_line = map(int, self._table[part])
        with _opened(self._paths[file]) as stream:
            stream.seek(start)
            data = stream.read(stop - start)
        if len(data) != stop - start:
            raise InputError(f"{self._names[file]}: is shorter than when it was surveyed")
        return Lines(self._names[file], file, start, first_line, data).as_utf8(self._encoding)


class PartTable:
    """What a survey notes of the parts that it has read."""

    def __init__(self) -> None:
        self._rows: list[tuple[int, int, int, int]] = []
        self._counts: list[int] = []

    def add(self, lines: Lines, num_rows: int) -> None:
        """Note a part (as in the file, not in UTF-8) and its rows; one without any is not kept."""
        if num_rows:
            self._rows.append(Parts.row(lines))
            self._counts.append(num_rows)

    @property
    def num_rows(self) -> int:
        """In all parts."""
        return sum(self._counts)

    def arrays(self) -> dict[str, np.ndarray]:
        """For a survey's index: `parts` (parts, 4) and `borders` (parts + 1,)."""
        borders = np.zeros(len(self._counts) + 1, np.int64)
        np.cumsum(self._counts, out=borders[1:])
        return {"parts": np.array(self._rows, np.int64).reshape(-1, 4), "borders": borders}


def refuse_few(name: str, num_rows: int) -> None:
    """Raise InputError when there are fewer rows than splits."""
    if num_rows < 3:
        raise InputError(f"{name}: has {num_rows} rows; three splits need at least 3")
