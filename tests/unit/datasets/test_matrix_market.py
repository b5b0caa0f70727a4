"""Sparse matrices come out as SciPy reads them, or are refused."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from scipy import io, sparse

from headrace.errors import InputError
from headrace.formats import matrix_files
from headrace.sources.gathering import gather
from mutations import damaged, read_or_refuse, read_whole

ROWS = 200


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(matrix_files, "PART_BYTES", 1000)


def drawn(rows=ROWS, columns=30):
    return sparse.random_array((rows, columns), density=0.1, rng=np.random.default_rng(0), format="csr")


def write(path, matrix, **options):
    io.mmwrite(path.with_suffix(".mtx"), matrix, **options)
    return str(path.with_suffix(".mtx"))


def packed(path):
    Path(f"{path}.gz").write_bytes(gzip.compress(Path(path).read_bytes()))
    return f"{path}.gz"


@pytest.mark.parametrize("pack", [str, packed])
@pytest.mark.parametrize("field", ["real", "integer", "pattern"])
def test_a_matrix_is_what_scipy_reads(tmp_path, small_parts, pack, field):
    path = write(tmp_path / "a", drawn() * 100, field=field)
    blocks, source, survey = read_whole(tmp_path, kind="matrix_market", path=pack(path))
    wanted = sparse.csr_array(io.mmread(path))
    wanted.eliminate_zeros()
    np.testing.assert_array_equal(blocks["inputs"].toarray(), wanted.toarray().astype(np.float32))
    assert survey.info.layout == "sparse"
    assert survey.info.num_values == blocks["inputs"].nnz == wanted.nnz
    assert survey.info.tasks == ("density",)
    assert survey.info.unit_interval == (field == "pattern")
    assert len(source.borders) > 4


def test_rows_come_in_any_order(tmp_path, small_parts):
    path = write(tmp_path / "a", drawn())
    _, source, _ = read_whole(tmp_path, kind="matrix_market", path=path)
    rows = np.random.default_rng(1).permutation(ROWS)[:70]
    again = gather(source, rows, ["inputs"])["inputs"].toarray()
    np.testing.assert_array_equal(again, io.mmread(path).toarray()[rows].astype(np.float32))


def test_a_symmetric_matrix_is_filled_up(tmp_path):
    square = drawn(40, 40)
    path = write(tmp_path / "a", square + square.T, symmetry="symmetric")
    assert b"symmetric" in Path(path).read_bytes()
    blocks, *_ = read_whole(tmp_path, kind="matrix_market", path=path)
    np.testing.assert_allclose(blocks["inputs"].toarray(), (square + square.T).toarray(), rtol=1e-6)


def test_numbers_of_one_place_are_summed(tmp_path):
    path = tmp_path / "a.mtx"
    path.write_text(
        "%%MatrixMarket matrix coordinate real general\n% a comment\n\n4 3 5\n1 1 2\n1 1 3\n4 3 1\n2 2 4\n2 2 -4\n"
    )
    blocks, _, survey = read_whole(tmp_path, kind="matrix_market", path=str(path))
    np.testing.assert_array_equal(blocks["inputs"].toarray(), [[5, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 1]])
    assert survey.info.num_values == 2


def test_files_follow_each_other(tmp_path):
    matrix = drawn()
    paths = (write(tmp_path / "b", matrix[:50]), packed(write(tmp_path / "a", matrix[50:])))
    blocks, *_ = read_whole(tmp_path, kind="matrix_market", path=paths)
    np.testing.assert_allclose(blocks["inputs"].toarray(), matrix.toarray(), rtol=1e-6)
    with pytest.raises(InputError, match=r"c\.mtx: has 29 columns, but .*b\.mtx has 30"):
        read_whole(tmp_path, kind="matrix_market", path=(paths[0], write(tmp_path / "c", matrix[:, 1:])))


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_labels_are_classes(tmp_path, small_parts, end):
    labels = [f"t{i % 7}" for i in range(ROWS)]
    (tmp_path / "y.txt").write_text(("\r\n" if "\r" in end else "\n").join(labels) + end)
    blocks, source, survey = read_whole(
        tmp_path, kind="matrix_market", path=write(tmp_path / "a", drawn()), target=str(tmp_path / "y.txt")
    )
    assert survey.info.class_names == tuple(f"t{i}" for i in range(7))
    np.testing.assert_array_equal(blocks["target"], np.arange(ROWS) % 7)
    assert survey.info.tasks == ("classification",)
    assert source.attributes["class_names"] == [f"t{i}" for i in range(7)]


def test_labels_are_numbers_to_predict(tmp_path, small_parts):
    numbers = np.random.default_rng(0).normal(size=ROWS)
    np.savetxt(tmp_path / "y.txt", numbers)
    blocks, _, survey = read_whole(
        tmp_path, kind="matrix_market", path=write(tmp_path / "a", drawn()), target=str(tmp_path / "y.txt")
    )
    np.testing.assert_array_equal(blocks["target"], numbers.astype(np.float32))
    assert survey.info.tasks == ("regression",)


@pytest.mark.parametrize(
    ("labels", "why"),
    [
        ("a\nb\n" * 50, r"y\.txt: holds 100 labels; the matrix has 200 rows"),
        ("a\n\n" * 100, r"y\.txt: line 2: is blank"),
        ("1\nnan\n" * 100, r"y\.txt: line 2: "),
        ("a\n" * 200, "of the same class"),
        ("".join(f"{i}\n" for i in range(200)), "200 different whole numbers"),
        ("", "is empty"),
    ],
)
def test_labels_that_cannot_be_are_refused(tmp_path, labels, why):
    (tmp_path / "y.txt").write_text(labels)
    with pytest.raises(InputError, match=why):
        read_whole(tmp_path, kind="matrix_market", path=write(tmp_path / "a", drawn()), target=str(tmp_path / "y.txt"))


HEADER = b"%%MatrixMarket matrix coordinate real general\n"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "does not begin with"),
        (b"1 2 3\n", "does not begin with"),
        (b"%%MatrixMarket matrix array real general\n1 1\n1\n", "in `array` format.*kind npy"),
        (HEADER.replace(b"real", b"complex") + b"1 1 1\n1 1 1 1\n", "complex general"),
        (HEADER.replace(b"general", b"skew-symmetric") + b"1 1 1\n1 1 1\n", "skew-symmetric"),
        (HEADER, "no line with rows"),
        (HEADER + b"3 -3 1\n1 1 1\n", "no line with rows"),
        (HEADER + b"5 5 999999999999\n1 1 1\n", "claims 5 rows, 5 columns and 999999999999"),
        (HEADER + b"999999999999 5 1\n1 1 1\n", "claims 999999999999 rows"),
        (HEADER + b"5 5 2\n1 1 1\n", "cannot be read as Matrix Market"),
        (HEADER + b"5 5 1\n6 1 1\n", "cannot be read as Matrix Market"),
        (HEADER + b"5 5 2\n1 1 1\n3 1 nan\n", r"row 3 \(counted from 1\)"),
        (HEADER + b"5 5 2\n1 1 1\n4 1 1e300\n", r"row 4 \(counted from 1\)"),
        (HEADER + b"2 5 2\n1 1 1\n2 1 1\n", "three splits"),
        (gzip.compress(HEADER + b"5 5 1\n1 1 1\n")[:-9], "cut short"),
    ],
)
def test_what_is_no_matrix_is_refused(tmp_path, content, why):
    (tmp_path / "a.mtx").write_bytes(content)
    with pytest.raises(InputError, match=why) as caught:
        read_whole(tmp_path, kind="matrix_market", path=str(tmp_path / "a.mtx"))
    assert str(tmp_path / "a.mtx") in str(caught.value)
    assert "\n" not in str(caught.value)


GOOD = HEADER + b"% made by hand\n6 4 5\n1 1 1.5\n2 3 -2\n3 4 0.25\n5 1 1e-3\n6 2 7\n"
WORDS = (b"symmetric", b"pattern", b"integer", b"-", b"e999", b"nan", b"99999999", b"%")


@given(data=damaged(GOOD, WORDS) | damaged(gzip.compress(GOOD, mtime=0)))
@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
def test_damaged_files_are_read_or_refused(data):
    read_or_refuse(data, "a.mtx", kind="matrix_market")
