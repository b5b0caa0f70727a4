"""Unpacking archives that nobody vouches for: only plain files come out, inside the folder, and no more than expected.

Whatever an archive claims, what is written is counted. A kind of archive is known by its content, not by its name.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Protocol

from headrace.errors import InputError

MIB = 2**20
MAX_RATIO = 200
"""What is expanded to more than this many times the archive's own size is refused, where it is more than MIN_CAP."""
MIN_CAP = 16 * MIB
MAX_CAP = 50 * 2**30
MAX_HEADER = 4 * MIB
"""Bytes between two members of a .tar: names and the like, which are read into memory."""
TAR_BLOCK = 512


class Readable(Protocol):
    """What a member is read from."""

    def read(self, size: int, /) -> bytes:
        """At most so many bytes; none at the end."""


OPENERS: dict[bytes, Callable[[Path], AbstractContextManager[Readable]]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
}
"""By the first bytes of a file."""
ZIP = (b"PK\x03\x04", b"PK\x05\x06")
DAMAGE = (
    EOFError,
    KeyError,
    IndexError,
    MemoryError,
    NotImplementedError,
    OverflowError,
    RuntimeError,
    ValueError,
    lzma.LZMAError,
    struct.error,
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What the readers of the standard library raise for archives that are not whole."""


def unpack(archive: Path, folder: Path, called: str = "") -> dict[str, str]:
    """Unpack a .zip, .tar, .tar.gz, .tar.bz2 or .tar.xz into a folder; returns the SHA-256 of every file by its path.

    Raises InputError naming the archive (as `called`, where that is given) and the member, and leaves nothing behind,
    for links, devices, paths that lead out of the folder or that come twice, for what expands to more than 200 times
    the archive or 50 GiB, and for archives that are damaged.
    """
    unpacking = Unpacking(called or str(archive), folder, archive.stat().st_size)
    try:
        with unpacking.blamed():
            with archive.open("rb") as file:
                start = file.read(TAR_BLOCK)
            if start.startswith(ZIP):
                _unpack_zip(archive, unpacking)
            else:
                openers = [opener for magic, opener in OPENERS.items() if start.startswith(magic)]
                with openers[0](archive) if openers else archive.open("rb") as content:
                    _unpack_tar(content, unpacking)
    except BaseException:
        unpacking.undo()
        raise
    return unpacking.digests


class Unpacking:
    """What has come out of an archive so far."""

    def __init__(self, called: str, folder: Path, num_bytes: int) -> None:
        self.called, self.folder, self.member = called, folder, ""
        self.cap = min(MAX_CAP, max(MIN_CAP, MAX_RATIO * num_bytes))
        self.expanded = 0
        self.digests: dict[str, str] = {}
        self._created: list[Path] = []

    def refuse(self, why: str) -> InputError:
        """The line that names archive and member."""
        return InputError(f"{self.called}: {f'member {self.member[:200]!r} ' if self.member else ''}{why}")

    @contextmanager
    def blamed(self) -> Iterator[None]:
        """Whatever a reader stumbles over becomes one line."""
        try:
            yield
        except InputError:
            raise
        except OSError as error:
            raise self.refuse(f"cannot be unpacked: {error.strerror or ' '.join(str(error).split())}") from None
        except DAMAGE as error:
            why = " ".join(str(error).split())[:200] or type(error).__name__
            raise self.refuse(f"is damaged, cut off or no archive ({why})") from None

    def count(self, num_bytes: int) -> None:
        """Hold what comes out of the archive to its limit."""
        self.expanded += num_bytes
        if self.expanded > self.cap:
            raise self.refuse(
                f"makes it expand to more than {self.cap} bytes; allowed: {MAX_RATIO} times the archive, at most "
                f"{MAX_CAP // 2**30} GiB"
            )

    def make_folder(self, name: str) -> None:
        """A folder that the archive holds."""
        self._make(self._place(name))

    def write(self, name: str, content: Readable, num_bytes: int, *, counted: bool) -> None:
        """A file that the archive holds; `counted` where its bytes were counted as they were expanded."""
        path = self._place(name)
        if path == self.folder:
            raise self.refuse("has no name")
        self._make(path.parent)
        digest, left = hashlib.sha256(), num_bytes
        try:
            file = path.open("xb")
        except FileExistsError:
            raise self.refuse("comes twice, or another file of that name is there") from None
        self._created.append(path)
        with file:
            while piece := content.read(MIB):
                left -= len(piece)
                if not counted:
                    self.count(len(piece))
                digest.update(piece)
                file.write(piece)
        if left:
            raise self.refuse(f"is damaged or cut off ({num_bytes - left} bytes, not {num_bytes})")
        self.digests[path.relative_to(self.folder).as_posix()] = digest.hexdigest()

    def undo(self) -> None:
        """Remove what was made, the last first; what others have put there stays."""
        for path in reversed(self._created):
            with suppress(OSError):
                if path.is_dir():
                    path.rmdir()
                else:
                    path.unlink()

    def _place(self, name: str) -> Path:
        """Where a member goes. Raises InputError for what leads out of the folder, or might on another system."""
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\\" in name or name[1:2] == ":":
            raise self.refuse("leads out of the folder; allowed: relative paths without '..', '\\' and drives")
        if "\0" in name or not name.isprintable():
            raise self.refuse("has a name with characters that cannot be printed")
        return self.folder / path

    def _make(self, folder: Path) -> None:
        missing = [path for path in (folder, *folder.parents) if not path.is_dir()]
        for path in reversed(missing):
            try:
                path.mkdir()
            except FileExistsError:
                raise self.refuse("lies in a folder that is a file") from None
            self._created.append(path)


def _unpack_zip(archive: Path, unpacking: Unpacking) -> None:
    with zipfile.ZipFile(archive) as opened:
        for info in opened.infolist():
            unpacking.member = info.filename
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise unpacking.refuse("is a link or a device; allowed: files and folders")
            if info.flag_bits & 1:
                raise unpacking.refuse("is encrypted")
            if info.is_dir():
                unpacking.make_folder(info.filename)
                continue
            # Others are expanded a block at a time, however large that is.
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise unpacking.refuse(f"is compressed by method {info.compress_type}; allowed: stored, deflated")
            with opened.open(info) as content:
                unpacking.write(info.filename, content, info.file_size, counted=False)
            unpacking.member = ""


class Expanded:
    """The bytes of a .tar as they are expanded: counted, and few at a time between members."""

    def __init__(self, content: Readable, unpacking: Unpacking) -> None:
        self._content, self._unpacking = content, unpacking
        self.left_for_header: int | None = MAX_HEADER
        self.last = b""

    def read(self, size: int, /) -> bytes:
        """Of the stream. Raises InputError beyond the limits."""
        piece = self._content.read(size)
        self._unpacking.count(len(piece))
        if self.left_for_header is not None:
            self.left_for_header -= len(piece)
            if self.left_for_header < 0:
                raise self._unpacking.refuse(f"is followed by a header of more than {MAX_HEADER // MIB} MiB")
        self.last = piece
        return piece


def _unpack_tar(content: Readable, unpacking: Unpacking) -> None:
    """Block by block from the front: nothing is looked for elsewhere, whatever a header says."""
    expanded = Expanded(content, unpacking)
    with tarfile.open(fileobj=expanded, mode="r|", bufsize=TAR_BLOCK) as opened:  # type: ignore[call-overload]
        while (info := opened.next()) is not None:
            unpacking.member = info.name
            if info.isdir():
                unpacking.make_folder(info.name)
            elif info.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or info.sparse is not None:
                raise unpacking.refuse("is a link, a device or has holes; allowed: files and folders")
            else:
                expanded.left_for_header = None
                member = opened.extractfile(info)
                assert member is not None
                unpacking.write(info.name, member, info.size, counted=True)
            expanded.left_for_header = MAX_HEADER
            # It would keep every header that it has seen.
            opened.members = []
        # A header that cannot be read ends the archive for tarfile as its end does; a whole one ends with zeros.
        unpacking.member, expanded.left_for_header, end = "", None, expanded.last
        if not end or end.strip(b"\0"):
            raise unpacking.refuse(f"is damaged or cut off behind {len(unpacking.digests)} files")
        while end := expanded.read(MIB):
            if end.strip(b"\0"):
                raise unpacking.refuse("is damaged: something follows its end")
