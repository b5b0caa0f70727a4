"""Whatever an archive holds, files come out inside the folder, or one line says why not and nothing is left."""

import bz2
import gzip
import hashlib
import io
import lzma
import os
import stat
import struct
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.errors import InputError
from headrace.sources import archives
from headrace.sources.archives import unpack

CONTENT = {
    "readme.txt": b"what this is\n" * 20,
    "data/train/a.csv": b"x,y\n" + b"1,2\n" * 500,
    "data/test/b.bin": bytes(range(256)) * 10,
    "data/empty": b"",
}


def make_tar(content: Mapping[str, bytes], format: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as opened:
        folder = tarfile.TarInfo("data")
        folder.type = tarfile.DIRTYPE
        opened.addfile(folder)
        for name, value in content.items():
            info = tarfile.TarInfo(name)
            info.size = len(value)
            opened.addfile(info, io.BytesIO(value))
    return buffer.getvalue()


def make_zip(content: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as opened:
        opened.writestr("data/", b"")
        for name, value in content.items():
            opened.writestr(zipfile.ZipInfo(name, (2024, 1, 1, 0, 0, 0)), value, method)
    return buffer.getvalue()


KINDS: dict[str, Callable[[Mapping[str, bytes]], bytes]] = {
    "zip": make_zip,
    "tar": make_tar,
    "tar.gz": lambda content: gzip.compress(make_tar(content), mtime=0),
    "tar.bz2": lambda content: bz2.compress(make_tar(content)),
    "tar.xz": lambda content: lzma.compress(make_tar(content)),
}
EXAMPLES = {name: make(CONTENT) for name, make in KINDS.items()}


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def unpack_bytes(content: bytes, folder: Path) -> dict[str, str]:
    archive = folder / "archive"
    archive.write_bytes(content)
    return unpack(archive, folder / "there")


def refusal(content: bytes, folder: Path) -> str:
    (folder / "there").mkdir()
    (folder / "there" / "mine.txt").write_text("mine")
    with pytest.raises(InputError) as caught:
        unpack_bytes(content, folder)
    assert {path.name for path in folder.rglob("*")} == {"archive", "there", "mine.txt"}
    (line,) = caught.value.problems
    assert "\n" not in line
    assert line.startswith(f"{folder / 'archive'}: ")
    return line


@pytest.mark.parametrize("kind", KINDS)
def test_files_come_out_as_they_went_in(kind: str, tmp_path: Path) -> None:
    digests = unpack_bytes(EXAMPLES[kind], tmp_path)
    assert files_in(tmp_path / "there") == CONTENT
    assert digests == {name: hashlib.sha256(value).hexdigest() for name, value in CONTENT.items()}


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_format_of_tar_is_read(format: int, tmp_path: Path) -> None:
    content = {**CONTENT, f"{'long' * 20}/{'name' * 20}.txt": b"long"}
    unpack_bytes(make_tar(content, format), tmp_path)
    assert files_in(tmp_path / "there") == content


def test_what_system_tools_make_is_read(tmp_path: Path) -> None:
    import shutil

    source = tmp_path / "source"
    for name, value in CONTENT.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(value)
    for i, kind in enumerate(("zip", "gztar", "xztar", "bztar", "tar")):
        made = Path(shutil.make_archive(str(tmp_path / f"made{i}"), kind, source, "."))
        unpack(made, tmp_path / str(i))
        assert files_in(tmp_path / str(i)) == CONTENT


def test_empty_archives_are_no_error(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    assert unpack_bytes(make_zip({}), tmp_path) == {}
    assert unpack_bytes(gzip.compress(b"\0" * 10240), tmp_path) == {}


# Hostile members


@pytest.mark.parametrize(
    "name", ["../out", "a/../../out", "/out", "a/../b", "C:/out", "C:out", "..\\out", "a\\..\\..\\out", "a/.."]
)
@pytest.mark.parametrize("make", [make_tar, make_zip])
def test_paths_that_lead_out(name: str, make: Callable[[Mapping[str, bytes]], bytes], tmp_path: Path) -> None:
    line = refusal(make({"good": b"1", name: b"2"}), tmp_path)
    assert repr(name) in line
    assert "leads out of the folder" in line


def make_special(type: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as opened:
        good = tarfile.TarInfo("good")
        good.size = 4
        opened.addfile(good, io.BytesIO(b"good"))
        info = tarfile.TarInfo("special")
        info.type, info.linkname = type, "/etc/passwd"
        opened.addfile(info)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "type",
    [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.CONTTYPE, b"Z"],
)
def test_links_and_devices_in_a_tar(type: bytes, tmp_path: Path) -> None:
    line = refusal(make_special(type), tmp_path)
    assert "member 'special' is a link, a device" in line


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_devices_in_a_zip(kind: int, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as opened:
        info = zipfile.ZipInfo("special")
        info.create_system, info.external_attr = 3, (kind | 0o777) << 16
        opened.writestr("good", b"good")
        opened.writestr(info, "/etc/passwd")
    assert "member 'special' is a link or a device" in refusal(buffer.getvalue(), tmp_path)


@pytest.mark.parametrize("make", [make_tar, make_zip])
@pytest.mark.parametrize("second", ["good", "./good", "mine.txt", "good/below", "data"])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_path_that_is_taken(make: Callable[[Mapping[str, bytes]], bytes], second: str, tmp_path: Path) -> None:
    class Twice(dict[str, bytes]):
        def items(self):  # type: ignore[no-untyped-def, override]
            return [("good", b"1"), (second, b"2")]

    assert f"member {second.removeprefix('./')!r}" in refusal(make(Twice()), tmp_path).replace("'./", "'")


def test_a_name_on_two_lines(tmp_path: Path) -> None:
    assert "cannot be printed" in refusal(make_zip({"good": b"1", "two\nlines": b"2"}), tmp_path)


def test_an_encrypted_member(tmp_path: Path) -> None:
    content = bytearray(make_zip({"a": b"1" * 100}, zipfile.ZIP_STORED))
    for magic, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = content.rfind(magic) + place
        content[start : start + 2] = struct.pack("<H", 1)
    assert "member 'a' is encrypted" in refusal(bytes(content), tmp_path)


def test_a_method_that_expands_without_measure(tmp_path: Path) -> None:
    line = refusal(make_zip({"a": b"1" * 100}, zipfile.ZIP_LZMA), tmp_path)
    assert line.endswith("is compressed by method 14; allowed: stored, deflated")


# Bombs


@pytest.mark.parametrize("kind", ["zip", "tar.gz", "tar.bz2", "tar.xz"])
def test_what_expands_beyond_measure(kind: str, tmp_path: Path) -> None:
    content = KINDS[kind]({"small": b"1", "zeros": bytes(archives.MIN_CAP + 1)})
    line = refusal(content, tmp_path)
    assert "member 'zeros' makes it expand to more than" in line
    assert "200 times the archive" in line


def test_many_members_together_are_beyond_measure(tmp_path: Path) -> None:
    content = make_zip({str(i): bytes(archives.MIN_CAP // 8) for i in range(9)})
    assert "member '8' makes it expand" in refusal(content, tmp_path)


def test_a_size_that_lies_is_counted_as_it_is_written(tmp_path: Path) -> None:
    content = bytearray(make_zip({"zeros": bytes(archives.MIN_CAP + 1)}))
    for magic, place in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        start = content.rfind(magic) + place
        content[start : start + 4] = struct.pack("<I", 10)
    line = refusal(bytes(content), tmp_path)
    assert "member 'zeros'" in line


def test_zeros_behind_the_end_are_counted(tmp_path: Path) -> None:
    content = gzip.compress(make_tar({"a": b"1"}) + bytes(archives.MIN_CAP))
    assert "makes it expand" in refusal(content, tmp_path)


@pytest.mark.parametrize("type", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.XGLTYPE])
def test_a_header_that_fills_the_memory(type: bytes, tmp_path: Path) -> None:
    info = tarfile.TarInfo("name")
    info.type, info.size = type, archives.MAX_HEADER * 2
    content = make_tar({"a": b"1"}).rstrip(b"\0")
    content += bytes(-len(content) % 512)
    content += info.tobuf(tarfile.GNU_FORMAT) + b"x" * (info.size + 1024)
    line = refusal(gzip.compress(content), tmp_path)
    assert "header of more than 4 MiB" in line


def test_the_greatest_size_of_all(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(archives, "MAX_CAP", 1000)
    assert "expand to more than 1000 bytes" in refusal(make_zip({"a": os.urandom(1001)}), tmp_path)


# Damage


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.6, 0.9])
def test_archives_that_are_cut_off(kind: str, share: float, tmp_path: Path) -> None:
    content = EXAMPLES[kind]
    line = refusal(content[: int(len(content.rstrip(b"\0")) * share)], tmp_path)
    assert "damaged" in line


def test_a_tar_cut_between_members(tmp_path: Path) -> None:
    content = make_tar({"a": b"1" * 512, "b": b"2" * 512})
    assert "cut off behind 2 files" in refusal(content[: 512 * 5], tmp_path)


def test_a_damaged_header_is_not_the_end(tmp_path: Path) -> None:
    content = bytearray(make_tar({"a": b"1" * 512, "b": b"2" * 512}))
    content[512 * 3 + 5] ^= 1
    assert "is damaged or cut off behind 1 files" in refusal(bytes(content), tmp_path)


@pytest.mark.parametrize("content", [b"", b"no archive", b"\x1f\x8bx", os.urandom(5000), b"<html>" * 500])
def test_what_is_no_archive(content: bytes, tmp_path: Path) -> None:
    assert "is damaged, cut off or no archive" in refusal(content, tmp_path)


def mutate(content: bytes, changes: list[tuple[str, float, int]]) -> bytes:
    changed = bytearray(content)
    for what, where, value in changes:
        place = int(where * len(changed))
        if what == "flip" and changed:
            changed[min(place, len(changed) - 1)] ^= 1 << value % 8
        elif what == "set" and changed:
            changed[min(place, len(changed) - 1)] = value
        elif what == "insert":
            changed[place:place] = bytes([value]) * (1 + value % 5)
        elif what == "delete":
            del changed[place : place + 1 + value]
        elif what == "cut":
            del changed[place:]
    return bytes(changed)


CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["flip", "set", "insert", "delete", "cut"]),
        st.floats(0, 1, exclude_max=True),
        st.integers(0, 255),
    ),
    min_size=1,
    max_size=4,
)
INNER = {"tar.gz": gzip.compress, "tar.bz2": bz2.compress, "tar.xz": lzma.compress}


@pytest.mark.parametrize("kind", KINDS)
@given(changes=CHANGES, inside=st.booleans())
@settings(max_examples=250, deadline=None)
def test_no_damage_gets_out_of_the_folder(kind: str, changes: list[tuple[str, float, int]], inside: bool) -> None:
    """Some are mutated before they are compressed, so that no checksum catches it."""
    if inside and kind in INNER:
        content = INNER[kind](mutate(EXAMPLES["tar"], changes))
    else:
        content = mutate(EXAMPLES[kind], changes)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        problem, digests = try_bytes(content, folder)
        there = folder / "there"
        found = files_in(there) if there.exists() else {}
        assert digests == {name: hashlib.sha256(value).hexdigest() for name, value in found.items()}
        assert {path.name for path in folder.iterdir()} <= ({"archive"} if problem else {"archive", "there"})
        assert len(problem.splitlines()) <= 1
        assert not any(path.is_symlink() for path in folder.rglob("*"))


def try_bytes(content: bytes, folder: Path) -> tuple[str, dict[str, str]]:
    try:
        return "", unpack_bytes(content, folder)
    except InputError as error:
        return str(error), {}


@given(content=st.binary(max_size=3000), magic=st.sampled_from([b"", b"PK\x03\x04", *archives.OPENERS]))
@settings(max_examples=200, deadline=None)
def test_any_bytes_end_in_one_line_or_files(content: bytes, magic: bytes) -> None:
    with tempfile.TemporaryDirectory() as name:
        problem, digests = try_bytes(magic + content, Path(name))
        assert digests == {}
        assert len(problem.splitlines()) <= 1
