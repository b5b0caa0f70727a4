"""Rows in the bytes of files, .npy or IDX: headers are held to the files' sizes, and ranges of bytes are read.

Files are not mapped: a mapped file that is cut short ends the process, while reading says what is wrong.
"""

from __future__ import annotations

import ast
import math
import os
import re
import struct
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from headrace.errors import InputError
from headrace.formats.rows import Rows

NPY_MAGIC = b"\x93NUMPY"
MOST_HEADER = 64 * 1024
IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
SIMPLE_TYPE = re.compile(r"[<>|=]?[?bBhHiIlLqQefd]|[<>|=]?(?:b1|[iu][1248]|f[248]|U\d{1,6}|S\d{1,6})")


@dataclass(frozen=True)
class ArrayFile:
    """One array that lies in a file as it would in memory."""

    path: Path
    name: str
    """What it is called in messages; differs from `path` for what was unpacked."""
    offset: int
    """Bytes before the first number."""
    dtype: np.dtype
    shape: tuple[int, ...]
    fortran_order: bool = False
    """Whether the first index runs fastest."""

    @property
    def num_bytes(self) -> int:
        """Of the numbers, without the header."""
        return math.prod(self.shape) * self.dtype.itemsize

    def read(self, descriptor: int, start: int, out: np.ndarray) -> None:
        """Fill `out` (rows, *row shape), C order, with the rows from `start` on."""
        row_values = math.prod(self.shape[1:])
        if not self.fortran_order or row_values == 1:
            self._fill(descriptor, start * row_values, out.reshape(-1))
            return
        columns = np.empty((row_values, len(out)), self.dtype)
        if len(out) == self.shape[0]:
            self._fill(descriptor, 0, columns.reshape(-1))
        else:
            for number, column in enumerate(columns):
                self._fill(descriptor, number * self.shape[0] + start, column)
        out[...] = columns.reshape(*reversed(self.shape[1:]), len(out)).transpose()

    def _fill(self, descriptor: int, first: int, out: np.ndarray) -> None:
        """Numbers that lie one after the other."""
        rest, place = out.view(np.uint8).data, self.offset + first * self.dtype.itemsize
        while len(rest):
            count = os.preadv(descriptor, [rest[: 2**30]], place)
            if count == 0:
                raise InputError(f"{self.name}: ends at byte {place}: it was cut short after it was surveyed")
            rest, place = rest[count:], place + count


class StoredRows(Rows):
    """The arrays of some files, joined along their first dimension."""

    def __init__(self, files: Sequence[ArrayFile]) -> None:
        """Raises InputError for files whose types or row shapes differ."""
        first = files[0]
        for file in files:
            if not file.shape:
                raise InputError(f"{file.name}: holds a single number, and no rows")
            found, wanted = (file.dtype, file.shape[1:]), (first.dtype, first.shape[1:])
            if found != wanted:
                raise InputError(
                    f"{file.name}: has rows of {found[0]} {found[1]}, but those of {first.name} are "
                    f"{wanted[0]} {wanted[1]}; joined files must agree"
                )
        self._files = tuple(files)
        self._first = np.cumsum([0, *(file.shape[0] for file in files)])
        self.num_rows, self.shape = int(self._first[-1]), first.shape[1:]
        self.dtype = first.dtype.newbyteorder("=")

    def read(self, start: int, stop: int) -> np.ndarray:
        """Only the bytes of these rows, in the machine's byte order."""
        out = np.empty((stop - start, *self.shape), self._files[0].dtype)
        for number, file in enumerate(self._files):
            first, last = int(self._first[number]), int(self._first[number + 1])
            low, high = max(start, first), min(stop, last)
            if low < high:
                try:
                    with file.path.open("rb") as opened:
                        file.read(opened.fileno(), low - first, out[low - start : high - start])
                except OSError as error:
                    raise InputError(f"{file.name}: cannot be read: {error.strerror or error}") from None
        return out.astype(self.dtype, copy=False)

    def place(self, row: int) -> str:
        """Counted within the file."""
        number = min(int(np.searchsorted(self._first, row, side="right")) - 1, len(self._files) - 1)
        return f"{self._files[number].name}: row {row - int(self._first[number])}"


def open_npy(path: Path, name: str | None = None) -> ArrayFile:
    """Parse a .npy file's header (format versions 1 to 3) and hold it to the file's size.

    Raises InputError naming the file, for pickled objects too.
    """
    name = name or str(path)
    return _open(path, name, read_npy_header)


def open_idx(path: Path, name: str | None = None) -> ArrayFile:
    """Parse the header of an IDX file and hold it to the file's size. Raises InputError naming the file."""
    return _open(path, name or str(path), read_idx_header)


def _open(path: Path, name: str, parse: Callable[[BinaryIO, Path, str], ArrayFile]) -> ArrayFile:
    try:
        with path.open("rb") as file:
            array = parse(file, path, name)
            num_bytes = os.fstat(file.fileno()).st_size
    except OSError as error:
        raise InputError(f"{name}: cannot be read: {error.strerror or error}") from None
    refuse_wrong_size(array, num_bytes)
    return array


def refuse_wrong_size(array: ArrayFile, num_bytes: int) -> None:
    """Hold what a header claims to the size that a file has, before anything is allocated. Raises InputError."""
    wanted = array.offset + array.num_bytes
    if num_bytes != wanted:
        raise InputError(
            f"{array.name}: header tells of {array.dtype} {array.shape}, in all {wanted} bytes; there are {num_bytes}"
        )


def read_npy_header(file: BinaryIO, path: Path, name: str) -> ArrayFile:
    """What a .npy file says of itself; the file is left behind its header."""
    magic = file.read(8)
    if len(magic) < 8 or magic[:6] != NPY_MAGIC or magic[6] not in (1, 2, 3):
        raise InputError(f"{name}: is no .npy file: it begins with {magic[:8]!r}")
    width = "<H" if magic[6] == 1 else "<I"
    raw = file.read(struct.calcsize(width))
    length = struct.unpack(width, raw)[0] if len(raw) == struct.calcsize(width) else MOST_HEADER + 1
    text = file.read(length) if length <= MOST_HEADER else b""
    if len(text) < length:
        raise InputError(f"{name}: header is cut short, or longer than {MOST_HEADER} bytes")
    header = _literal(text.decode("utf-8" if magic[6] == 3 else "latin-1", "replace"))
    if not isinstance(header, dict) or set(header) != {"descr", "fortran_order", "shape"}:
        raise InputError(f"{name}: header is damaged: {text[:60]!r}")
    descr, shape, fortran_order = header["descr"], header["shape"], header["fortran_order"]
    if not isinstance(shape, tuple) or len(shape) > 32 or not all(type(n) is int and 0 <= n < 2**62 for n in shape):
        raise InputError(f"{name}: header is damaged: shape {str(shape)[:60]}")
    if isinstance(descr, str) and "O" in descr:
        raise InputError(f"{name}: holds pickled Python objects, which could run any code; save plain numbers instead")
    if not isinstance(descr, str) or not SIMPLE_TYPE.fullmatch(descr):
        raise InputError(f"{name}: holds {str(descr)[:60]}; allowed: plain numbers and text")
    dtype = np.dtype(descr)
    if dtype.itemsize == 0:
        raise InputError(f"{name}: holds text of no length")
    return ArrayFile(path, name, 8 + len(raw) + length, dtype, shape, fortran_order=fortran_order is True)


def _literal(text: str) -> object:
    """A Python literal, or None for what is none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None


def read_idx_header(file: BinaryIO, path: Path, name: str) -> ArrayFile:
    """What an IDX file says of itself (the format of MNIST); the file is left behind its header."""
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in IDX_TYPES or not 1 <= magic[3] <= 16:
        raise InputError(f"{name}: is no IDX file: it begins with {magic!r}")
    raw = file.read(4 * magic[3])
    if len(raw) < 4 * magic[3]:
        raise InputError(f"{name}: header is cut short")
    shape = struct.unpack(f">{magic[3]}I", raw)
    return ArrayFile(path, name, 4 + len(raw), np.dtype(IDX_TYPES[magic[2]]), shape)
