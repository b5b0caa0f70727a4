"""Tables in text come out as pandas reads them, or are refused with file and line."""

import gzip
import pickle

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings

from headrace.datasets.base import SPLIT_KEY
from headrace.errors import InputError
from headrace.experiments.splits import divide, resolve_split
from headrace.formats import lines
from headrace.registry import load_kind
from headrace.sources.gathering import gather
from headrace.sources.library import Library
from mutations import damaged, read_or_refuse, read_whole

ROWS = 300


@pytest.fixture
def frame():
    generator = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "length": generator.normal(size=ROWS),
            "shape": generator.choice(["round", 'odd, "very"', "two\nlines", "é"], ROWS),
            "count": generator.integers(-5, 5, ROWS),
            "person": generator.choice([f"p{i}" for i in range(20)], ROWS),
            "wet": generator.choice([True, False], ROWS),
            "day": pd.date_range("2020-01-01", periods=ROWS, freq="h")[generator.permutation(ROWS)].astype(str),
            "share": generator.choice(["train", "validation", "test"], ROWS),
            "colour": generator.choice(["red", "blue", "green"], ROWS),
            "price": generator.normal(size=ROWS).round(4),
        }
    )


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(lines, "PART_BYTES", 700)


def coded(column):
    return pd.Categorical(column, categories=sorted(set(column))).codes.astype(np.float32)


def test_a_table_is_what_pandas_reads(tmp_path, frame, small_parts):
    path = tmp_path / "a.csv"
    frame.to_csv(path, index=False)
    columns = ("length", "shape", "count", "wet")
    blocks, source, survey = read_whole(tmp_path, kind="csv", path=str(path), target="colour", columns=columns)
    read = pd.read_csv(path)
    wanted = np.column_stack(
        [read["length"], coded(read["shape"]), read["count"], coded(read["wet"].map({True: "true", False: "false"}))]
    )
    assert len(source.borders) > 20
    assert blocks["inputs"].dtype == np.float32
    np.testing.assert_array_equal(blocks["inputs"], wanted.astype(np.float32))
    names = sorted(set(read["colour"]))
    assert survey.info.class_names == tuple(names)
    assert [names[code] for code in blocks["target"]] == read["colour"].tolist()
    assert survey.info.class_counts == tuple(read["colour"].value_counts()[names])
    assert (survey.index["target"] == blocks["target"]).all()
    assert source.attributes["feature_names"] == list(columns)
    assert source.attributes["categories"]["shape"] == sorted(set(read["shape"]))
    assert survey.info.tasks == ("classification", "density")


def test_rows_come_in_any_order_from_a_copy(tmp_path, frame, small_parts):
    path = tmp_path / "a.csv"
    frame.to_csv(path, index=False)
    blocks, source, _ = read_whole(tmp_path, kind="csv", path=str(path), target="price")
    rows = np.random.default_rng(1).permutation(ROWS)[:50]
    again = gather(pickle.loads(pickle.dumps(source)), rows, ["target", "inputs"])
    for name, values in again.items():
        np.testing.assert_array_equal(values, blocks[name][rows])
    np.testing.assert_array_equal(blocks["target"], frame["price"].astype(np.float32))
    assert blocks["inputs"].shape == (ROWS, 8)


def test_files_packed_or_not_follow_each_other(tmp_path, frame, small_parts):
    frame[:100].to_csv(tmp_path / "1.csv", index=False)
    (tmp_path / "2.csv.gz").write_bytes(gzip.compress(frame[100:].to_csv(index=False).encode()))
    blocks, _, _ = read_whole(
        tmp_path, kind="csv", path=(str(tmp_path / "1.csv"), str(tmp_path / "2.csv.gz")), target="colour"
    )
    frame.to_csv(tmp_path / "3.csv", index=False)
    whole, _, _ = read_whole(tmp_path, kind="csv", path=str(tmp_path / "3.csv"), target="colour")
    for name in whole:
        np.testing.assert_array_equal(blocks[name], whole[name])


def test_files_of_other_headers_are_refused(tmp_path):
    (tmp_path / "1.csv").write_text("a,b\n1,2\n3,4\n5,6\n")
    (tmp_path / "2.csv").write_text("a,c\n1,2\n")
    with pytest.raises(InputError, match=r"2\.csv: line 1: has another header than .*1\.csv: 'c' and not 'b'"):
        read_whole(tmp_path, kind="csv", path=str(tmp_path / "*.csv"))


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252"])
def test_other_encodings_and_delimiters(tmp_path, frame, small_parts, encoding):
    path = tmp_path / "a.csv"
    frame.to_csv(path, index=False, header=False, sep=";", encoding=encoding)
    keys = {"names": tuple(frame.columns), "delimiter": ";", "target": "colour", "columns": ("shape",)}
    _, source, _ = read_whole(tmp_path, kind="csv", path=str(path), encoding=encoding, **keys)
    assert source.attributes["categories"]["shape"] == sorted(set(frame["shape"]))
    with pytest.raises(InputError, match=r"a\.csv: line \d+: byte 0xe9 is not utf-8"):
        read_whole(tmp_path, kind="csv", path=str(path), **keys)


def test_rows_without_a_value_are_refused_or_dropped(tmp_path, frame, small_parts):
    frame.loc[[7, 100, 250], "length"] = np.nan
    frame["shape"] = frame["shape"].astype(object)
    frame.loc[[8, 251], "shape"] = "?"
    path = tmp_path / "a.csv"
    frame.drop(columns="day").to_csv(path, index=False, lineterminator="\r\n")
    keys = {"kind": "csv", "path": str(path), "target": "colour", "missing_values": ("", "?")}
    line = 2 + 7 + sum(text.count("\n") for text in frame["shape"][:7])
    with pytest.raises(InputError, match=rf"a\.csv: line {line}: column 'length': no value; `missing: drop`"):
        read_whole(tmp_path, **keys)
    blocks, source, survey = read_whole(tmp_path, missing="drop", **keys)
    kept = frame.drop([7, 8, 100, 250, 251])
    assert survey.info.num_samples == source.num_rows == ROWS - 5
    np.testing.assert_array_equal(blocks["inputs"][:, 0], kept["length"].astype(np.float32))
    assert "?" not in source.attributes["categories"]["shape"]
    np.testing.assert_array_equal(source.column("target"), blocks["target"])


def test_blanks_around_fields_mean_nothing(tmp_path):
    (tmp_path / "a.csv").write_text(' x , y,z\n1, "a" ,u\n 2 ,a, v\n3,  b,u \n ? , b,u\n')
    blocks, _, _ = read_whole(
        tmp_path, kind="csv", path=str(tmp_path / "a.csv"), target="z", missing="drop", missing_values=("?",)
    )
    assert blocks["inputs"].tolist() == [[1, 0], [2, 0], [3, 1]]
    assert blocks["target"].tolist() == [0, 1, 0]


def test_a_column_of_numbers_may_become_one_of_names_late(tmp_path, monkeypatch):
    monkeypatch.setattr(lines, "PART_BYTES", 40)
    texts = [str(i % 7) for i in range(80)] + ["A", "B"]
    (tmp_path / "a.csv").write_text("x,y\n" + "".join(f"{text},1.5\n" for text in texts))
    blocks, source, _ = read_whole(tmp_path, kind="csv", path=str(tmp_path / "a.csv"))
    assert source.attributes["categories"] == {"x": ["0", "1", "2", "3", "4", "5", "6", "A", "B"]}
    names = source.attributes["categories"]["x"]
    assert [names[int(code)] for code in blocks["inputs"][:, 0]] == texts


@pytest.mark.parametrize(
    ("text", "keys", "message"),
    [
        ("", {}, r"a\.csv: is empty"),
        ("\n\n", {}, r"a\.csv: line 1: there should be a header"),
        ("a,b\n", {}, "has 0 rows; three splits need at least 3"),
        ("a,b\n1,2\n3,4\n", {}, "has 2 rows"),
        ("a,a\n1,2\n", {}, "line 1: column 'a' comes twice"),
        ("a,b\n1,2\n3\n5,6\n", {}, "line 3: has 1 fields, not 2"),
        ("a,b\n1,2\n3,inf\n5,6\n", {}, "line 3: column 'b': inf is not a finite number"),
        ("a,b\n1,2\n3,1e39\n5,6\n", {}, "line 3: column 'b': 1e\\+39 does not fit into float32"),
        ("a,b\n1,2\n3,NaN\n5,6\n", {}, "line 3: column 'b': no value"),
        ("a,b\n1,2\n3,4\n5,6\n", {"target": "c"}, r"target: .*a\.csv: has no column 'c'; there are: a, b"),
        ("a,b\n1,2\n3,4\n5,6\n", {"columns": ("a", "d")}, "columns: .* has no column 'd'"),
        ("a\n1\n3\n5\n", {"target": "a"}, "has no column besides"),
        ("a,b\n1,x\n3,x\n5,x\n", {"target": "b"}, "every row is of the same class"),
        ("a,b\n1,x\n3,y\n5,2\n", {"target": "b", "task": "regression"}, "line 2: column 'b': 'x' is not a number"),
        ("a,b\n1,x\n3,y\n5,\0\n", {}, "line 4: holds a zero byte"),
    ],
)
def test_files_that_are_no_table_are_refused(tmp_path, text, keys, message):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        read_whole(tmp_path, kind="csv", path=str(tmp_path / "a.csv"), **keys)


def test_a_packed_file_that_was_cut_off_is_refused(tmp_path, frame):
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(frame.to_csv().encode())[:-50])
    with pytest.raises(InputError, match=r"a\.csv\.gz: is not a whole gzip file"):
        read_whole(tmp_path, kind="csv", path=str(tmp_path / "a.csv.gz"))


@pytest.mark.parametrize(
    "keys",
    [
        {"target": "a", "columns": ["a"]},
        {"columns": ["a", "a"]},
        {"numbers": ["a"], "categories": ["a"]},
        {"delimiter": ",,"},
        {"delimiter": '"'},
        {"target": "a", "split": {"by": "source", "column": "a"}},
        {"missing": "fill"},
    ],
)
def test_keys_that_contradict_each_other_are_refused(keys):
    with pytest.raises(ValueError, match=r"columns|categories|delimiter|target|missing"):
        load_kind("datasets", "csv").model_validate_json(pd.Series({"kind": "csv", "path": "a", **keys}).to_json())


def divided(tmp_path, split, target="colour"):
    keys = {"kind": "csv", "path": str(tmp_path / "a.csv"), "split": split}
    spec = load_kind("datasets", "csv").model_validate({**keys, **({"target": target} if target else {})})
    library = Library(tmp_path)
    info = library.look_up(spec).info
    _, survey = library.open(spec, tmp_path, library.look_up(spec).sha256)
    labels = survey.index.get("target")
    division = divide(info.num_samples, labels, resolve_split(spec.split, info), survey.index.get(SPLIT_KEY))
    sizes = tuple(division.sizes.values())
    assert info.split_sizes in (None, sizes)
    return np.split(division.order, np.cumsum(sizes)[:-1]), survey


def test_groups_stay_together(tmp_path, frame, small_parts):
    frame.to_csv(tmp_path / "a.csv", index=False)
    parts, survey = divided(tmp_path, {"by": "grouped", "column": "person"})
    people = [set(frame["person"][rows]) for rows in parts]
    assert sum(map(len, people)) == len(set(frame["person"])) == len(people[0] | people[1] | people[2])
    assert "person" not in survey.attributes["feature_names"]


@pytest.mark.parametrize("form", ["day", "count"])
def test_later_rows_are_tested_on(tmp_path, frame, small_parts, form):
    frame.to_csv(tmp_path / "a.csv", index=False)
    parts, _ = divided(tmp_path, {"by": "time", "column": form})
    order = [frame[form][rows].tolist() for rows in parts]
    assert order == [sorted(part) for part in order]
    assert max(order[0]) <= min(order[1]) <= max(order[1]) <= min(order[2])


def test_the_file_says_which_split_a_row_is_in(tmp_path, frame, small_parts):
    frame.to_csv(tmp_path / "a.csv", index=False)
    parts, _ = divided(tmp_path, {"by": "source", "column": "share"})
    for name, rows in zip(("train", "validation", "test"), parts, strict=True):
        assert rows.tolist() == np.flatnonzero(frame["share"] == name).tolist()


GOOD = b'x,y,"colour"\n' + b"".join(
    b"%d.5, %s ,%s\n" % (i, [b"left", b'"right, far"', b"7"][i % 3], [b"red", b"blue"][i % 2]) for i in range(12)
)
WORDS = (b'"', b",", b"\n", b"\r", b"NA", b"inf", b"1e999", b'""', b"\xff", b"\0")


@settings(max_examples=220, deadline=None, suppress_health_check=list(HealthCheck))
@given(damaged(GOOD, WORDS))
def test_damaged_files_are_read_whole_or_refused(data):
    read_or_refuse(data, "a.csv", kind="csv", target="colour", missing="drop")


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(damaged(gzip.compress(GOOD * 3, mtime=0)))
def test_damaged_packed_files_are_read_whole_or_refused(data):
    read_or_refuse(data, "a.csv.gz", kind="csv")


def test_groups_are_the_names_that_pandas_reads(tmp_path, frame, small_parts):
    path = tmp_path / "a.csv"
    frame.to_csv(path, index=False)
    keys = {"kind": "csv", "path": str(path), "target": "colour", "columns": ("length", "count")}
    blocks, source, survey = read_whole(tmp_path, **keys, groups="shape")
    names = survey.attributes["group_names"]
    assert names == sorted(set(frame["shape"]))
    assert [names[code] for code in blocks["group"]] == frame["shape"].tolist()
    assert source.attributes["group_column"] == "shape"
    assert blocks["inputs"].shape == (ROWS, 2)
    # Numbers name groups as well, sorted by value, and stay what they are where they are inputs too.
    blocks, _, survey = read_whole(tmp_path, **keys, groups="count")
    assert survey.attributes["group_names"] == [str(value) for value in range(-5, 5)]
    np.testing.assert_array_equal(blocks["group"] - 5, frame["count"])
    np.testing.assert_array_equal(blocks["inputs"][:, 1], frame["count"].astype(np.float32))


def test_a_column_of_groups_is_no_input_unless_it_is_named(tmp_path, frame):
    path = tmp_path / "a.csv"
    frame[["length", "shape", "colour"]].to_csv(path, index=False)
    keys = {"kind": "csv", "path": str(path), "target": "colour", "groups": "shape"}
    assert read_whole(tmp_path, **keys)[2].attributes["feature_names"] == ["length"]
    both = read_whole(tmp_path, **keys, columns=("shape", "length"))[0]
    np.testing.assert_array_equal(both["inputs"][:, 0], coded(frame["shape"]))
    np.testing.assert_array_equal(both["inputs"][:, 0], both["group"])


def test_rows_without_a_group_are_dropped_or_refused(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("x,y,g\n" + "".join(f"{i},{i % 2},{'ab'[i % 2] if i != 7 else ''}\n" for i in range(12)))
    keys = {"kind": "csv", "path": str(path), "target": "y", "groups": "g"}
    for rule in ("error", "keep"):
        with pytest.raises(InputError, match=r"line 9: column 'g': no value"):
            read_whole(tmp_path, **keys, missing=rule)
    with pytest.raises(InputError, match=r"line 9: column 'g': no value"):
        read_whole(tmp_path, **keys, missing="keep", columns=("x", "g"))
    blocks, _, _ = read_whole(tmp_path, **keys, missing="drop")
    assert blocks["group"].tolist() == [i % 2 for i in range(12) if i != 7]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"groups": "sexe"}, r"^groups: .*a.csv: has no column 'sexe'; there are: x, y, g, n$"),
        ({"groups": "n"}, r"^groups: .*a.csv: line 2: column 'n': more than 50 different names$"),
        ({"groups": "g"}, r"^groups: .*a.csv: column 'g': every row is of the same group$"),
    ],
)
def test_columns_that_make_no_groups_are_refused(tmp_path, keys, message):
    path = tmp_path / "a.csv"
    path.write_text("x,y,g,n\n" + "".join(f"{i},{i % 2},same,n{i}\n" for i in range(60)))
    with pytest.raises(InputError, match=message):
        read_whole(tmp_path, kind="csv", path=str(path), target="y", **keys)


@pytest.mark.parametrize("keys", [{"groups": "y", "target": "y"}, {"groups": "y"}])
def test_groups_need_a_target_beside_them(keys):
    with pytest.raises(ValueError, match=r"groups: .*allowed: a column beside that of the target"):
        load_kind("datasets", "csv").model_validate({"kind": "csv", "path": "a.csv", **keys})


@pytest.mark.parametrize("key", ["numbers", "categories"])
def test_what_a_column_of_groups_holds_is_told_only_where_it_is_an_input(key):
    keys = {"kind": "csv", "path": "a.csv", "target": "y", "groups": "g", key: ("g",)}
    with pytest.raises(ValueError, match="groups: 'g' is an input only where `columns` names it"):
        load_kind("datasets", "csv").model_validate(keys)
    assert load_kind("datasets", "csv").model_validate({**keys, "columns": ("x", "g")}).groups == "g"
