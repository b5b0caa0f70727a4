"""Text files are cut where lines end, and every position knows its line."""

import gzip

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.datasets.base import SourceFile
from headrace.errors import InputError
from headrace.formats import lines as module
from headrace.formats.lines import Lines, Parts, PartTable, last_border, read_parts, unpack


def files_of(*paths):
    return [SourceFile(path, path.stat().st_size, "") for path in paths]


@given(st.binary(max_size=200).filter(lambda data: data and not data.startswith(b"\xef\xbb\xbf")), st.integers(1, 40))
def test_parts_are_the_file_and_end_where_lines_do(tmp_path_factory, data, size):
    path = tmp_path_factory.mktemp("lines") / "a.txt"
    path.write_bytes(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "PART_BYTES", size)
        parts = list(read_parts(files_of(path)))
    assert b"".join(part.data for part in parts) == data
    assert all(part.data.endswith(b"\n") for part in parts[:-1])
    assert [part.first_line for part in parts] == [1 + data[: part.start].count(b"\n") for part in parts]


@given(st.text(alphabet='ab",\n', max_size=60), st.integers(1, 20))
def test_a_line_goes_on_behind_an_end_in_quotes(tmp_path_factory, text, size):
    path = tmp_path_factory.mktemp("quotes") / "a.txt"
    path.write_text(text or "a")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "PART_BYTES", size)
        parts = list(read_parts(files_of(path), quoted=True))
    assert b"".join(part.data for part in parts).decode() == (text or "a")
    assert all(part.data.count(b'"') % 2 == 0 for part in parts[:-1])


def test_the_last_border_lies_outside_quotes():
    assert last_border(b'a\nb,"c\nd\n', quoted=True) == 2
    assert last_border(b'a\nb,"c\nd\n', quoted=False) == 9
    assert last_border(b'"c\nd\n', quoted=True) == 0


def test_a_packed_file_reads_like_the_plain_one(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PART_BYTES", 50)
    text = "".join(f"line {i} is here\n" for i in range(40)).encode()
    (tmp_path / "plain.txt").write_bytes(text)
    with gzip.open(tmp_path / "packed.gz", "wb") as file:
        file.write(text)
    plain, packed = files_of(tmp_path / "plain.txt"), files_of(tmp_path / "packed.gz")
    one, two = list(read_parts(plain)), list(read_parts(packed))
    assert [(p.start, p.data) for p in one] == [(p.start, p.data) for p in two]
    assert len(one) > 5
    (tmp_path / "scratch").mkdir()
    table = np.array([Parts.row(part) for part in two])
    parts = Parts(["packed.gz"], unpack(packed, tmp_path / "scratch"), table, "utf-8")
    assert [parts.read(i).data for i in range(len(two))] == [part.data for part in one]
    assert parts.read(3).at(0) == f"packed.gz: line {one[3].first_line}"


@pytest.mark.parametrize("keep", [5, 30, -4])
def test_a_packed_file_that_was_cut_off_is_refused(tmp_path, keep):
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(bytes(range(97, 123)) * 500)[:keep])
    with pytest.raises(InputError, match=r"a\.gz: is not a whole gzip file"):
        list(read_parts(files_of(path)))


@pytest.mark.parametrize("data", [b"", b"\xef\xbb\xbf"])
def test_an_empty_file_is_refused(tmp_path, data):
    (tmp_path / "a.txt").write_bytes(data)
    with pytest.raises(InputError, match=r"a\.txt: is empty"):
        list(read_parts(files_of(tmp_path / "a.txt")))


def test_a_line_without_end_is_refused_before_memory_is_full(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PART_BYTES", 100)
    monkeypatch.setattr(module, "LONGEST_LINE_BYTES", 1000)
    (tmp_path / "a.txt").write_bytes(b"short\n" + b"x" * 5000)
    with pytest.raises(InputError, match=r"a\.txt: line 2: is longer than 0 MiB; allowed: lines of 0 MiB at most$"):
        list(read_parts(files_of(tmp_path / "a.txt")))
    (tmp_path / "a.txt").write_bytes(b'short\n"' + b"x\n" * 5000)
    with pytest.raises(InputError, match=r"line 2: is longer than 0 MiB, or a quote is never closed; allowed: "):
        list(read_parts(files_of(tmp_path / "a.txt"), quoted=True))


@given(st.text(alphabet="aé€𝄞\n", min_size=1, max_size=60), st.integers(1, 9), st.sampled_from(["utf-8", "utf-16-le"]))
def test_torn_lines_end_between_characters(tmp_path_factory, text, size, encoding):
    path = tmp_path_factory.mktemp("torn") / "a.txt"
    path.write_bytes(text.encode(encoding))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "PART_BYTES", size)
        patch.setattr(module, "LONGEST_LINE_BYTES", 12)
        parts = list(read_parts(files_of(path), torn=True))
    # Bytes that are no UTF-8 are left as they are, for whoever decodes them to refuse.
    assert b"".join(part.data for part in parts) == text.encode(encoding)
    assert [part.first_line for part in parts] == [1 + path.read_bytes()[: part.start].count(b"\n") for part in parts]
    if encoding == "utf-8":
        assert "".join(part.data.decode() for part in parts) == text
        assert all(len(part.data) < size + 12 for part in parts)


def test_bytes_in_another_encoding_name_their_line():
    text = "one\ntwo\nthr\xe9e\n"
    block = Lines("a.txt", 0, 0, 10, text.encode("latin-1"))
    with pytest.raises(InputError, match=r"a\.txt: line 12: byte 0xe9 is not utf-8"):
        block.as_utf8("utf-8")
    assert block.as_utf8("latin-1").data.decode() == text
    assert Lines("a", 0, 0, 1, b"\x80").as_utf8("cp1252").data.decode() == "\u20ac"
    with pytest.raises(InputError, match="line 1: byte 0x81 is not cp1252"):
        Lines("a", 0, 0, 1, b"\x81").as_utf8("cp1252")
    with pytest.raises(InputError, match="line 2: holds a zero byte"):
        Lines("a", 0, 0, 1, b"ab\n" + "cd".encode("utf-16-le")).as_utf8("utf-8")


def test_a_byte_order_mark_is_no_text(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfa\nb\n")
    (part,) = read_parts(files_of(tmp_path / "a.txt"))
    assert (part.data, part.start, part.stop) == (b"a\nb\n", 3, 7)


@given(st.text(alphabet="ab\r\n", max_size=30))
def test_borders_of_lines_are_those_of_python(text):
    data = text.encode()
    starts, ends = Lines("a", 0, 0, 1, data).line_borders()
    wanted = data.split(b"\n")[: -1 if data.endswith(b"\n") or not data else None]
    assert [data[a:b] for a, b in zip(starts, ends, strict=True)] == [
        line[:-1] if line.endswith(b"\r") else line for line in wanted
    ]


def test_a_file_that_shrank_is_refused(tmp_path):
    (tmp_path / "a.txt").write_text("a\nb\n")
    table = PartTable()
    for part in read_parts(files_of(tmp_path / "a.txt")):
        table.add(part, 2)
    assert table.arrays()["borders"].tolist() == [0, 2]
    (tmp_path / "a.txt").write_text("a\n")
    with pytest.raises(InputError, match=r"a\.txt: is shorter than"):
        Parts(["a.txt"], [tmp_path / "a.txt"], table.arrays()["parts"], "utf-8").read(0)
