"""One sparse matrix in the Matrix Market format: what its first lines say, and all of it.

Boisvert, Pozo and Remington (1996), doi:10.6028/NIST.IR.5935.
"""

from __future__ import annotations

import gzip
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from headrace.errors import InputError
from headrace.formats.compressed import PIECE, is_gzip, naming, unpack_gzip

if TYPE_CHECKING:
    from scipy.sparse import csr_array

LEAST_BYTES = 4
"""Of a line that stores a number: row, blank, column, end of line."""
ALWAYS_ROWS = 10**6
"""So many rows may be empty, however short a file is."""
LONGEST_LINE = 65536


class Lines(Protocol):
    """A file of bytes that is read line by line."""

    def readline(self, size: int, /) -> bytes:
        """The next line, or at most so many bytes of it."""


@dataclass(frozen=True)
class Header:
    """What the first lines of a file say."""

    num_rows: int
    num_columns: int
    num_stored: int


def read_header(path: Path) -> Header:
    """Of a file, plain or as .gz, of which no more is read. Raises InputError naming the file."""
    if not is_gzip(path):
        with naming(str(path)), path.open("rb") as file:
            return _parse_header(file, str(path))
    with naming(str(path)), gzip.open(path) as unpacked:
        return _parse_header(unpacked, str(path))


def read_matrix(path: Path, folder: Path) -> csr_array:
    """(rows, columns) float64, numbers of one place summed; `folder` is for a copy of files that need one.

    The first lines are held to the file's size, before anything is allocated. Raises InputError naming the file.
    """
    import numpy as np
    from scipy.io import mmread
    from scipy.sparse import csr_array

    plain = _whole_lines(path, folder / "copy.mtx")
    with naming(str(path)), plain.open("rb") as file:
        _hold_to(_parse_header(file, str(path)), plain.stat().st_size, str(path))
    try:
        matrix = csr_array(mmread(plain, spmatrix=False), dtype=np.float64)
        matrix.sum_duplicates()
    except Exception as error:
        # The parser raises whatever damaged text makes of it.
        raise InputError(f"{path}: cannot be read as Matrix Market: {' '.join(str(error).split())}") from None
    return matrix


def _whole_lines(path: Path, copy: Path) -> Path:
    """The file, or a copy that is unpacked and whose last line has an end. Raises InputError for what is no text.

    Behind every number SciPy's parser looks for the end of its line up to the next NUL: without either it runs out of
    memory that is its own, and the process ends.
    """
    packed = is_gzip(path)
    if packed:
        unpack_gzip(path, copy)
    plain, last = copy if packed else path, b""
    with naming(str(path)), plain.open("rb") as file:
        while piece := file.read(PIECE):
            if b"\0" in piece:
                raise InputError(f"{path}: holds a byte of value 0, which no text does")
            last = piece[-1:]
    if last == b"\n":
        return plain
    with naming(str(path)):
        if not packed:
            shutil.copyfile(path, copy)
        with copy.open("ab") as file:
            file.write(b"\n")
    return copy


def _parse_header(file: Lines, name: str) -> Header:
    banner = file.readline(LONGEST_LINE).decode("latin-1").lower().split()
    line = file.readline(LONGEST_LINE)
    while line.startswith(b"%") or (line and not line.strip()):
        line = file.readline(LONGEST_LINE)
    if len(banner) != 5 or banner[:2] != ["%%matrixmarket", "matrix"]:
        raise InputError(f"{name}: does not begin with `%%MatrixMarket matrix coordinate ...`")
    if banner[2] != "coordinate":
        raise InputError(f"{name}: holds a matrix in `{banner[2]}` format; allowed: coordinate (dense: see kind npy)")
    if banner[3] not in ("real", "double", "integer", "pattern") or banner[4] not in ("general", "symmetric"):
        allowed = "real, integer or pattern; general or symmetric"
        raise InputError(f"{name}: numbers are `{banner[3]} {banner[4]}`; allowed: {allowed}")
    sizes = [int(word) if word.isdigit() and len(word) < 19 else -1 for word in line.split()]
    if len(sizes) != 3 or min(sizes) < 1:
        raise InputError(f"{name}: has no line with rows, columns and stored numbers, all at least 1")
    return Header(*sizes)


def _hold_to(header: Header, num_bytes: int, name: str) -> None:
    rows, columns, stored = header.num_rows, header.num_columns, header.num_stored
    if stored * LEAST_BYTES > num_bytes or rows > max(ALWAYS_ROWS, num_bytes) or columns >= 2**31:
        raise InputError(
            f"{name}: claims {rows} rows, {columns} columns and {stored} stored numbers, which cannot be in a "
            f"file of {num_bytes} bytes"
        )
