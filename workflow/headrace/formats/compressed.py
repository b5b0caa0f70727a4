"""Unpacking .gz files and members of .npz files into a folder, never beyond the size that they may have."""

from __future__ import annotations

import errno
import gzip
import shutil
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

from headrace.errors import InputError

MOST_RATIO = 1000
"""What is stored in fewer bytes than this share is refused: deflate reaches 1032 on zeros alone."""
SMALL_BYTES = 2**20
"""Below this no ratio is looked at."""
PIECE = 2**20


class Readable(Protocol):
    """A stream of bytes."""

    def read(self, size: int, /) -> bytes:
        """At most so many; none at the end."""


@contextmanager
def naming(name: str) -> Iterator[None]:
    """Turn what a decompressor raises into an InputError that names the file."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise InputError(f"{name}: cannot be unpacked: {error.filename or 'the disk'}: {error.strerror}") from None
        raise InputError(f"{name}: cannot be read: {error.strerror or error}") from None
    except (EOFError, zlib.error, zipfile.BadZipFile, zipfile.LargeZipFile) as error:
        raise InputError(f"{name}: is damaged or cut short: {error}") from None


def most_bytes(packed: int) -> int:
    """How much may come out of so many bytes."""
    return max(SMALL_BYTES, MOST_RATIO * packed)


def is_gzip(path: Path) -> bool:
    """Whether a file begins as .gz does. Raises InputError when it cannot be read."""
    with naming(str(path)), path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def unpack_gzip(path: Path, target: Path) -> None:
    """Decompress a .gz file. Raises InputError when it is damaged, or expands to what no data do."""
    limit = most_bytes(path.stat().st_size)
    with naming(str(path)), gzip.open(path) as packed, target.open("wb") as out:
        copy_limited(packed, out, limit, str(path))


def copy_limited(packed: Readable, out: BinaryIO, limit: int, name: str) -> int:
    """Copy all of a stream, a MiB at a time; give its size. Raises InputError above `limit` bytes."""
    copied = 0
    while piece := packed.read(PIECE):
        copied += len(piece)
        if copied > limit:
            raise InputError(f"{name}: expands to more than {limit} bytes, which no data do")
        out.write(piece)
    return copied


def unpack_member(path: Path, member: str, target: Path) -> None:
    """Unpack an array of a .npz file. Raises InputError for a member that is not there, or lies about its size."""
    name = f"{path}: {member}"
    with naming(name), _opened(path) as archive:
        found = [info for info in archive.infolist() if info.filename in (f"{member}.npy", member)]
        if not found:
            there = sorted(repr(info.filename.removesuffix(".npy")) for info in archive.infolist())
            raise InputError(
                f"{path}: has no array {member!r}; allowed: {', '.join(there[:20]) or 'nothing: no arrays'}"
            )
        info = found[0]
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise InputError(f"{name}: is compressed in a way that NumPy does not write; allowed: stored, deflated")
        held = min(info.compress_size, path.stat().st_size)
        if info.file_size > most_bytes(held):
            raise InputError(f"{name}: claims {info.file_size} bytes in {held} compressed ones, which no data do")
        if shutil.disk_usage(target.parent).free < info.file_size:
            raise InputError(f"{name}: needs {info.file_size} bytes in {target.parent}, and fewer are free")
        with archive.open(info) as packed, target.open("wb") as out:
            copied = copy_limited(packed, out, info.file_size, name)
        if copied != info.file_size:
            raise InputError(f"{name}: claims {info.file_size} bytes and has {copied}")


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """A .npz file; whatever zipfile makes of damaged bytes is an InputError."""
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (RuntimeError, NotImplementedError, ValueError, LookupError, OverflowError) as error:
        # An encrypted member, an unknown version, names that are no text: a damaged header says anything.
        raise InputError(f"{path}: cannot be read as .npz: {error}") from None
