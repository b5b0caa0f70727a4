"""Parquet tables come out as pandas reads them, or are refused with file and row."""

import pickle

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings

from headrace.datasets.base import SPLIT_KEY
from headrace.errors import InputError
from headrace.experiments.splits import divide, resolve_split
from headrace.formats import parquet_tables
from headrace.registry import load_kind
from headrace.sources.library import Library
from mutations import damaged, read_or_refuse, read_whole

ROWS = 400


@pytest.fixture
def frame():
    generator = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "length": generator.normal(size=ROWS),
            "count": generator.integers(-5, 5, ROWS).astype(np.int16),
            "shape": generator.choice(["round", "odd", "é"], ROWS),
            "size": pd.Categorical(generator.choice(["s", "m"], ROWS), categories=["never", "s", "m"]),
            "wet": generator.choice([True, False], ROWS),
            "level": pd.Categorical(generator.choice([10, 9, 8], ROWS)),
            "when": pd.date_range("2020-01-01", periods=ROWS, freq="ms")[generator.permutation(ROWS)],
            "person": generator.choice(np.arange(20) + 2**60, ROWS),
            "grade": generator.integers(0, 4, ROWS),
            "price": generator.normal(size=ROWS).round(4),
        }
    )


def coded(column, names):
    return np.array([names.index(value) for value in column], np.float32)


@pytest.mark.parametrize("part_bytes", [2**24, 4 * 8 * 60, 4 * 8 * 7], ids=["groups", "slices", "cut up"])
def test_a_table_is_what_pandas_reads(tmp_path, frame, monkeypatch, part_bytes):
    monkeypatch.setattr(parquet_tables, "PART_BYTES", part_bytes)
    path = tmp_path / "a.parquet"
    frame.to_parquet(path, row_group_size=150)
    columns = ("length", "count", "shape", "size", "wet", "level", "person")
    keys = {"target": "grade", "columns": columns, "categories": ("level",)}
    blocks, source, survey = read_whole(tmp_path, kind="parquet", path=str(path), **keys)
    read = pd.read_parquet(path)
    wanted = [
        read["length"].astype(np.float32),
        read["count"],
        coded(read["shape"], ["odd", "round", "é"]),
        coded(read["size"], ["m", "s"]),
        read["wet"],
        coded(read["level"], [8, 9, 10]),
        read["person"].astype(np.float32),
    ]
    np.testing.assert_array_equal(blocks["inputs"], np.column_stack(wanted).astype(np.float32))
    np.testing.assert_array_equal(blocks["target"], read["grade"])
    assert survey.info.class_names == ("0", "1", "2", "3")
    assert (survey.index["target"] == read["grade"]).all()
    assert source.attributes["categories"]["size"] == ["m", "s"]
    assert source.attributes["categories"]["wet"] == ["false", "true"]
    assert len(source.borders) == {2**24: 4, 4 * 8 * 60: 9, 4 * 8 * 7: 60}[part_bytes]
    copy = pickle.loads(pickle.dumps(source))
    np.testing.assert_array_equal(copy.read(2, ["target"])["target"], source.read(2, ["target"])["target"])


def test_text_may_be_read_as_numbers(tmp_path, frame):
    frame["price"] = frame["price"].astype(str)
    frame.to_parquet(tmp_path / "a.parquet")
    keys = {"kind": "parquet", "path": str(tmp_path / "a.parquet"), "columns": ("price", "count")}
    blocks, _, _ = read_whole(tmp_path, numbers=("price",), **keys)
    np.testing.assert_array_equal(blocks["inputs"][:, 0], frame["price"].astype(float).astype(np.float32))
    named, source, _ = read_whole(tmp_path, **keys)
    assert sorted(source.attributes["categories"]) == ["price"]
    assert len(source.attributes["categories"]["price"]) == frame["price"].nunique()
    assert named["inputs"].shape == blocks["inputs"].shape


def test_files_follow_each_other(tmp_path, frame):
    frame[:130].to_parquet(tmp_path / "1.parquet")
    frame[130:].to_parquet(tmp_path / "2.parquet", compression="gzip")
    keys = {"kind": "parquet", "path": str(tmp_path / "*.parquet"), "target": "price", "columns": ("shape", "size")}
    blocks, _, survey = read_whole(tmp_path, **keys)
    np.testing.assert_array_equal(blocks["target"], frame["price"].astype(np.float32))
    np.testing.assert_array_equal(blocks["inputs"][:, 0], coded(frame["shape"], ["odd", "round", "é"]))
    assert survey.info.tasks == ("regression", "density")
    frame.assign(shape=1.0).to_parquet(tmp_path / "3.parquet")
    with pytest.raises(InputError, match=r"3\.parquet: column 'shape' holds numbers, but names in .*1\.parquet"):
        read_whole(tmp_path, **keys)
    frame.drop(columns="size").to_parquet(tmp_path / "3.parquet")
    with pytest.raises(InputError, match=r"3\.parquet: has no column 'size'"):
        read_whole(tmp_path, **keys)


@pytest.mark.parametrize("part_bytes", [2**24, 4 * 3 * 10])
def test_rows_without_a_value_are_refused_or_dropped(tmp_path, frame, monkeypatch, part_bytes):
    monkeypatch.setattr(parquet_tables, "PART_BYTES", part_bytes)
    frame["length"] = frame["length"].where(~frame.index.isin([7, 300]))
    frame["shape"] = frame["shape"].where(~frame.index.isin([8, 399]))
    path = tmp_path / "a.parquet"
    frame.to_parquet(path)
    keys = {"kind": "parquet", "path": str(path), "target": "wet", "columns": ("shape", "length")}
    with pytest.raises(InputError, match=r"a\.parquet: row 7 \(counted from 0\): column 'length': no value"):
        read_whole(tmp_path, **keys)
    blocks, source, _ = read_whole(tmp_path, missing="drop", **keys)
    kept = frame.drop([7, 8, 300, 399])
    np.testing.assert_array_equal(blocks["inputs"][:, 1], kept["length"].astype(np.float32))
    np.testing.assert_array_equal(source.column("target"), kept["wet"])
    assert source.attributes["categories"] == {"shape": ["odd", "round", "é"]}


@pytest.mark.parametrize(
    ("change", "keys", "message"),
    [
        ({}, {}, "column 'when' holds timestamp.*; allowed: numbers, text, booleans"),
        ({}, {"target": "cost"}, "target: .* has no column 'cost'; there are: length, count"),
        ({"length": np.inf}, {"columns": ("length",)}, "row 0 .*: column 'length': inf is not a finite number"),
        ({"length": [[1.0]] * ROWS}, {"columns": ("length",)}, "column 'length' holds list"),
        ({"length": 1e300}, {"columns": ("length",)}, "does not fit into float32"),
        ({}, {"columns": ("count",), "target": "person", "task": "auto"}, None),
        ({"grade": np.arange(ROWS)}, {"columns": ("count",), "target": "grade"}, "400 different whole numbers"),
        ({"grade": "a"}, {"columns": ("count",), "target": "grade"}, "every row is of the same class"),
    ],
)
def test_tables_that_cannot_be_used_are_refused(tmp_path, frame, change, keys, message):
    frame.assign(**change).to_parquet(tmp_path / "a.parquet")
    if message is None:
        _, _, survey = read_whole(tmp_path, kind="parquet", path=str(tmp_path / "a.parquet"), **keys)
        assert survey.info.class_names == tuple(str(2**60 + i) for i in range(20))
        return
    with pytest.raises(InputError, match=message):
        read_whole(tmp_path, kind="parquet", path=str(tmp_path / "a.parquet"), **keys)


@pytest.mark.parametrize("data", [b"", b"PAR1", b"PAR1\xff\xff\xff\x7fPAR1", b"x" * 100])
def test_files_that_are_no_parquet_are_refused(tmp_path, data):
    (tmp_path / "a.parquet").write_bytes(data)
    with pytest.raises(InputError, match=r"a\.parquet: cannot be read as Parquet"):
        read_whole(tmp_path, kind="parquet", path=str(tmp_path / "a.parquet"))


def test_too_few_rows_are_refused(tmp_path, frame):
    frame[["length"]][:2].to_parquet(tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"a\.parquet: has 2 rows; three splits need at least 3"):
        read_whole(tmp_path, kind="parquet", path=str(tmp_path / "a.parquet"))


@pytest.mark.parametrize(("by", "column"), [("grouped", "person"), ("time", "when"), ("time", "price")])
def test_columns_divide_the_rows(tmp_path, frame, by, column):
    frame.to_parquet(tmp_path / "a.parquet", row_group_size=90)
    keys = {"kind": "parquet", "path": str(tmp_path / "a.parquet"), "columns": ("length",)}
    spec = load_kind("datasets", "parquet").model_validate({**keys, "split": {"by": by, "column": column}})
    library = Library(tmp_path)
    known = library.look_up(spec)
    _, survey = library.open(spec, tmp_path, known.sha256)
    division = divide(ROWS, None, resolve_split(spec.split, known.info), survey.index[SPLIT_KEY])
    assert known.info.split_sizes == tuple(division.sizes.values())
    parts = np.split(division.order, np.cumsum(known.info.split_sizes)[:-1])
    values = [frame[column].to_numpy()[rows] for rows in parts]
    if by == "grouped":
        assert sum(len(np.unique(part)) for part in values) == 20
    else:
        assert max(values[0]) <= min(values[1])
        assert max(values[1]) <= min(values[2])


def good_file() -> bytes:
    sink = pa.BufferOutputStream()
    columns = {"x": np.arange(40) / 4, "name": ["left", "right"] * 20, "y": [1, 2, 3, 4] * 10, "b": [True, False] * 20}
    pq.write_table(pa.table(columns), sink, row_group_size=15)
    return sink.getvalue().to_pybytes()


@settings(max_examples=220, deadline=None, suppress_health_check=list(HealthCheck))
@given(damaged(good_file()))
def test_damaged_files_are_read_whole_or_refused(data):
    read_or_refuse(data, "a.parquet", kind="parquet", target="y")


@pytest.mark.parametrize("column", ["shape", "size", "wet", "grade"])
def test_groups_are_the_names_that_pandas_reads(tmp_path, frame, monkeypatch, column):
    monkeypatch.setattr(parquet_tables, "PART_BYTES", 4 * 8 * 60)
    path = tmp_path / "a.parquet"
    frame.to_parquet(path, row_group_size=150)
    keys = {"kind": "parquet", "path": str(path), "target": "price", "columns": ("length",), "groups": column}
    blocks, _, survey = read_whole(tmp_path, **keys)
    names = survey.attributes["group_names"]
    read = [str(value).lower() if column == "wet" else str(value) for value in frame[column]]
    assert [names[code] for code in blocks["group"]] == read
    assert len(names) == frame[column].nunique()


def test_fractions_name_groups_too(tmp_path):
    path = tmp_path / "a.parquet"
    frame = pd.DataFrame({"x": np.arange(12.0), "y": np.arange(12) % 2, "dose": np.tile([0.5, 2.0, 10.0], 4)})
    frame.to_parquet(path)
    keys = {"kind": "parquet", "path": str(path), "target": "y", "groups": "dose"}
    blocks, _, survey = read_whole(tmp_path, **keys)
    assert survey.attributes["group_names"] == ["0.5", "2", "10"]
    assert blocks["group"].tolist() == [0, 1, 2] * 4
