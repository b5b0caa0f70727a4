"""One Matrix Market file: its first lines alone, all of it, and what would end the process."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from scipy import io, sparse

from headrace.errors import InputError
from headrace.formats.matrix_text import Header, read_header, read_matrix

BANNER = b"%%MatrixMarket matrix coordinate real general\n"


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_all_digits_are_kept(tmp_path: Path, pack: type) -> None:
    matrix = sparse.random_array((30, 20), density=0.2, rng=np.random.default_rng(0), format="csr")
    io.mmwrite(tmp_path / "plain.mtx", matrix)
    path = tmp_path / "a.mtx"
    path.write_bytes(pack((tmp_path / "plain.mtx").read_bytes()))
    found = read_matrix(path, tmp_path)
    assert found.dtype == np.float64
    assert np.array_equal(found.toarray(), matrix.toarray())
    assert read_header(path) == Header(30, 20, matrix.nnz)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_no_more_than_the_first_lines_is_read_of_a_header(tmp_path: Path, pack: type) -> None:
    path = tmp_path / "a.mtx"
    path.write_bytes(pack(BANNER + b"% one\n%\n\n7 9 3\nno numbers at all\0"))
    assert read_header(path) == Header(7, 9, 3)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize("end", [b"", b" ", b"\r", b" % the last one"])
def test_the_last_line_needs_no_end(tmp_path: Path, end: bytes, pack: type) -> None:
    path = tmp_path / "a.mtx"
    path.write_bytes(pack(BANNER + b"2 2 2\n1 1 1.5\n2 2 2.5" + end))
    before = path.read_bytes()
    assert read_matrix(path, tmp_path).toarray().tolist() == [[1.5, 0], [0, 2.5]]
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (BANNER + b"1 1 1\n1 1 4.2e-0\0\n", "holds a byte of value 0, which no text does"),
        (BANNER + b"1 1 1\n1 1 x", "cannot be read as Matrix Market"),
        (BANNER + b"2 2 99\n1 1 1\n", "claims 2 rows, 2 columns and 99 stored numbers"),
        (b"%%MatrixMarket matrix array real general\n1 1\n1\n", "`array` format"),
    ],
)
def test_what_is_no_matrix_is_refused(tmp_path: Path, content: bytes, why: str) -> None:
    path = tmp_path / "a.mtx"
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"a\.mtx: .*{why}") as caught:
        read_matrix(path, tmp_path)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.mtx: cannot be read: No such file"):
        read_header(tmp_path / "a.mtx")
