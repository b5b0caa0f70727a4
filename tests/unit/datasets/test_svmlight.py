"""Sparse lines come out as scikit-learn reads them, or are refused with file and line."""

import gzip
import pickle

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from scipy import sparse
from sklearn.datasets import dump_svmlight_file, load_svmlight_file

from headrace.errors import InputError
from headrace.formats import lines
from headrace.registry import load_kind
from headrace.sources.gathering import gather
from mutations import damaged, read_or_refuse, read_whole

ROWS = 200


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(lines, "PART_BYTES", 900)


def matrix():
    return sparse.random_array((ROWS, 30), density=0.1, rng=0, format="csr")


@pytest.mark.parametrize("zero_based", [True, False])
@pytest.mark.parametrize("packed", [False, True])
def test_rows_are_what_scikit_learn_reads(tmp_path, small_parts, zero_based, packed):
    labels = np.arange(ROWS) % 3 - 1
    path = tmp_path / "a.svm"
    dump_svmlight_file(matrix(), labels, str(path), zero_based=zero_based, comment="made here")
    wanted, target = load_svmlight_file(str(path), dtype=np.float32)
    if packed:
        path = tmp_path / "a.svm.gz"
        path.write_bytes(gzip.compress((tmp_path / "a.svm").read_bytes()))
    blocks, source, survey = read_whole(tmp_path, kind="svmlight", path=str(path))
    inputs = blocks["inputs"]
    assert len(source.borders) > 10
    assert (inputs.dtype, inputs.shape) == (np.float32, wanted.shape)
    assert abs(inputs - wanted).nnz == 0
    assert survey.info.num_values == inputs.nnz
    assert survey.info.class_names == ("-1", "0", "1")
    assert (blocks["target"] - 1 == target).all()
    assert (survey.index["target"] == blocks["target"]).all()
    assert survey.info.layout == "sparse"
    assert survey.info.tasks == ("classification",)
    rows = np.random.default_rng(0).permutation(ROWS)[:40]
    again = gather(pickle.loads(pickle.dumps(source)), rows, ["inputs"])["inputs"]
    assert abs(again - inputs[rows]).nnz == 0


def test_fractions_are_predicted(tmp_path):
    labels = np.random.default_rng(0).normal(size=ROWS)
    dump_svmlight_file(matrix(), labels, str(tmp_path / "a.svm"), zero_based=False)
    blocks, _, survey = read_whole(tmp_path, kind="svmlight", path=str(tmp_path / "a.svm"), num_features=50)
    wanted, target = load_svmlight_file(str(tmp_path / "a.svm"), n_features=50)
    assert survey.info.tasks == ("regression",)
    assert survey.info.shape == blocks["inputs"].shape[1:] == wanted.shape[1:]
    np.testing.assert_array_equal(blocks["target"], target.astype(np.float32))


def test_comments_blanks_and_zeros_are_left_out(tmp_path):
    (tmp_path / "a.svm").write_text("# é head\n+1 1:2\t3:0 # 9:9\n\n-1\r\n  1  2:1e-1 4:-3 \n")
    blocks, _, survey = read_whole(tmp_path, kind="svmlight", path=str(tmp_path / "a.svm"))
    assert blocks["inputs"].toarray().tolist() == [[2, 0, 0, 0], [0, 0, 0, 0], [0, np.float32(0.1), 0, -3]]
    assert survey.info.num_values == 3
    assert blocks["target"].tolist() == [1, 0, 1]


def test_groups_of_queries_stay_together(tmp_path, small_parts):
    groups = np.sort(np.random.default_rng(0).integers(0, 25, ROWS))
    path = tmp_path / "a.svm"
    dump_svmlight_file(matrix(), np.arange(ROWS) % 3, str(path), zero_based=False, query_id=groups)
    plain, _, _ = read_whole(tmp_path, kind="svmlight", path=str(path))
    assert abs(plain["inputs"] - load_svmlight_file(str(path))[0].astype(np.float32)).nnz == 0
    split = {"by": "grouped", "column": "qid"}
    _, _, survey = read_whole(tmp_path, kind="svmlight", path=str(path), split=split)
    assert (survey.index["split_key"] == groups).all()
    assert sum(survey.info.split_sizes) == ROWS
    path.write_text("1 qid:3 1:2\n2 qid:1 1:2\n1 1:3\n")
    with pytest.raises(InputError, match="line 3: '1' has no qid, other lines have"):
        read_whole(tmp_path, kind="svmlight", path=str(path))
    path.write_text("1 1:2\n2 1:2\n1 1:3\n")
    with pytest.raises(InputError, match=r"line 1: split\.column: qid: this line has none"):
        read_whole(tmp_path, kind="svmlight", path=str(path), split=split)


@pytest.mark.parametrize(
    ("text", "keys", "message"),
    [
        ("", {}, "is empty"),
        ("1 1:1\n2 1:1\n", {}, "has 2 rows; three splits need at least 3"),
        ("1\n2\n1\n", {}, "has no value at all"),
        ("1 1:1\n2 1:1 2\n", {}, "line 2: '2' is no index:value"),
        ("1 1:1\n2 1:1:1\n", {}, "line 2: '1:1:1' is no index:value"),
        ("1 1:1\n2 1: 1\n", {}, "line 2: '1:' is no index:value"),
        ("1 1:1\n2 1:x\n", {}, "line 2: '1:x' has no number as its value"),
        ("1 1:1\n2 -1:3\n", {}, "line 2: '-1:3' has no index from 0 to"),
        ("1 1:1\n2 1e1:3\n", {}, "line 2: '1e1:3' has no index from 0 to"),
        ("1 1:1\n2 99999999999:3\n", {}, "line 2: '99999999999:3' has no index from 0 to"),
        ("1 1:1\n2 3:1 2:1\n", {}, "line 2: '2:1' does not rise"),
        ("1 1:1\n2 3:1 3:1\n", {}, "line 2: '3:1' does not rise"),
        ("1 1:1\n1:1 3:1\n", {}, "line 2: '1:1' stands where a label should"),
        ("1 1:1\n1,2 3:1\n", {}, "line 2: '1,2' is no label"),
        ("1 1:1\nnan 3:1\n", {}, "line 2: 'nan' is no label"),
        ("1 1:1\n2 1:inf\n", {}, "line 2: column 'value': inf is not a finite number"),
        ("1 1:1\n2 1:é\n", {}, "line 2: '1:é' holds no ASCII"),
        ("1 1:1\n2 0:1\n1 1:1\n", {"index_base": "1"}, "line 2: has an index 0"),
        ("1 1:1\n2 7:1\n1 1:1\n", {"num_features": 6}, "line 2: has an index 7; num_features: 6 allows 6"),
        ("1 1:1\n1 7:1\n1 1:1\n", {}, "every row is of the same class"),
        ("1 qid:x 1:1\n", {}, "line 1: 'qid:x' is no index:value and no qid:NUMBER"),
    ],
)
def test_lines_that_cannot_be_read_are_named(tmp_path, text, keys, message):
    (tmp_path / "a.svm").write_text(text)
    with pytest.raises(InputError, match=rf"a\.svm: .*{message}|a\.svm: {message}"):
        read_whole(tmp_path, kind="svmlight", path=str(tmp_path / "a.svm"), **keys)


def test_only_groups_can_divide():
    with pytest.raises(ValueError, match=r"split\.column: allowed here: qid"):
        load_kind("datasets", "svmlight").model_validate(
            {"kind": "svmlight", "path": "a", "split": {"by": "time", "column": "qid"}}
        )


GOOD = b"".join(b"%d qid:%d 1:0.5 %d:2 9:-1e3 # no %d\n" % (i % 3, i // 4, 2 + i % 5, i) for i in range(16))


@settings(max_examples=220, deadline=None, suppress_health_check=list(HealthCheck))
@given(damaged(GOOD, (b":", b" ", b"\n", b"#", b"qid:", b"0:", b"nan", b"1e999", b"\r", b"\0")))
def test_damaged_files_are_read_whole_or_refused(data):
    read_or_refuse(data, "a.svm", kind="svmlight", split={"by": "grouped", "column": "qid"})
