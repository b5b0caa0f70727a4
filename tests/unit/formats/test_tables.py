"""Columns become inputs, classes and divisions by rules that hold over all rows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.datasets.csv import Spec
from headrace.errors import InputError
from headrace.formats.columns import Names, Numbers, names_of, parse_numbers, sort_names, value_of
from headrace.formats.delimited import Dialect, Parser, record_starts
from headrace.formats.labels import LabelSurvey, class_codes, codes_of
from headrace.formats.lines import Lines
from headrace.formats.split_keys import SplitKeys, read_times
from headrace.formats.table_arrays import TableArrays
from headrace.formats.tables import TableSurvey

DIALECT = Dialect(",", True, ("", "NA"))


def where(row: int) -> str:
    return f"f.csv: line {row + 2}"


def names(*texts: str) -> Names:
    return names_of(np.arange(len(texts)), texts, ("", "NA"))


def numbers(*values: float) -> Numbers:
    return Numbers(np.array(values, float), np.isnan(values))


def labels(task, *blocks):
    survey = LabelSurvey("y", task)
    for block in blocks:
        survey.add(block, where)
    return survey.finish()


@settings(deadline=None)
@given(st.floats(allow_nan=False), st.sampled_from(["{}", "{:.3f}", "{:e}", "+{}"]))
def test_numbers_are_read_as_python_reads_them(value, form):
    text = form.format(abs(value))
    found, good = parse_numbers([text])
    assert good[0]
    assert found[0] == float(text)


@pytest.mark.parametrize("text", ["", " 1", "1,0", "0x10", "1_000", "1d5", "--1", "e5", ".", "one", "١"])
def test_what_is_no_number_is_told_apart(text):
    assert not parse_numbers([text])[1][0]


def test_names_are_sorted_by_value_where_they_have_one():
    assert sort_names(["10", "9", "-1"]) == ["-1", "9", "10"]
    assert sort_names(["10", "9", "b"]) == ["10", "9", "b"]
    assert sort_names(["b", "B", "a"]) == ["B", "a", "b"]
    assert [value_of(text) for text in ("1.0", "01", "0.5", "inf", "x")] == [1, 1, 0.5, "inf", "x"]


def test_text_and_whole_numbers_are_classes():
    text = labels("auto", names("no", "yes"), names("no", "maybe"))
    assert text.class_names == ("maybe", "no", "yes")
    assert text.codes.tolist() == [1, 2, 1, 0]
    assert text.counts == (1, 2, 1)
    whole = labels("auto", names("10", "9", "9.0"), numbers(10, -1))
    assert whole.class_names == ("-1", "9", "10")
    assert whole.codes.tolist() == [2, 1, 1, 2, 0]
    large = labels("auto", names(str(2**60), str(2**60 + 1)))
    assert large.class_names == (str(2**60), str(2**60 + 1))


def test_fractions_are_numbers_unless_told_otherwise():
    assert labels("auto", numbers(1, 2.5)).codes is None
    assert labels("auto", names("1", "2.5")).codes is None
    assert labels("regression", names("1", "2")).codes is None
    assert labels("classification", numbers(1, 2.5)).class_names == ("1", "2.5")


def test_many_whole_numbers_need_to_be_told():
    many = numbers(*range(101))
    with pytest.raises(InputError, match=r"101 different whole numbers .* `task: regression` or `task: class"):
        labels("auto", many)
    assert len(labels("classification", many).class_names) == 101
    assert labels("regression", many).codes is None
    assert len(labels("auto", numbers(*range(100))).class_names) == 100


@pytest.mark.parametrize(
    ("task", "blocks", "message"),
    [
        ("regression", [numbers(1, 2), names("3", "x")], r"line 3: column 'y': 'x' is not a number"),
        ("regression", [names("1", "inf")], "line 3: .* is not a finite number"),
        ("auto", [names("a", "a")], "every row is of the same class"),
        ("auto", [names(*map(str, range(300)), "x")], "line 302: column 'y': 'x' is not a number, and nearly all"),
        ("auto", [names(*(f"n{i}" for i in range(10_001)))], "more than 10000 different classes"),
        ("auto", [numbers(1, 1e39)], "line 3: .* does not fit into float32"),
    ],
)
def test_a_target_that_cannot_be_one_is_refused(task, blocks, message):
    with pytest.raises(InputError, match=message):
        labels(task, *blocks)


@given(st.lists(st.sampled_from(["1", "2", "1.0", "x", "y", "-3", "0.5"]), min_size=2), st.integers(1, 5))
def test_classes_do_not_depend_on_how_rows_are_cut(texts, size):
    if len({value_of(text) for text in texts}) < 2:
        return
    whole = labels("classification", names(*texts))
    cut = labels("classification", *(names(*texts[i : i + size]) for i in range(0, len(texts), size)))
    assert whole.class_names == cut.class_names
    assert (whole.codes == cut.codes).all()
    assert (codes_of(names(*texts), class_codes(whole.class_names), "y", where) == whole.codes).all()


def test_times_are_numbers_or_timestamps():
    assert read_times(["3", "-1"])[:1] == ("whole numbers",)
    assert read_times([str(10**17 + 1)])[1].tolist() == [10**17 + 1]
    form, keys, bad = read_times(["2020-01-01", "2020-01-01T01:00:00Z", "2020-01-01 01:00:00.5+01:00", "soon", "now"])
    assert form == "timestamps"
    assert bad.tolist() == [False, False, False, True, True]
    assert ((keys[1:3] - keys[0]) / 1e9).tolist() == [3600, 0.5]
    with pytest.raises(InputError, match="between the years 1677 and 2262"):
        read_times(["9999-01-01", "1000-01-01"])


@pytest.mark.parametrize(
    ("by", "blocks", "message"),
    [
        ("source", [names("train", "holdout")], "line 3: column 'c': 'holdout'; allowed: train, validation, test"),
        ("time", [names("2020-01-01", "x")], "line 3: column 'c': 'x' is no number and no ISO 8601 time"),
        ("time", [names("1"), names("2020-01-01")], "timestamps after whole numbers"),
    ],
)
def test_split_columns_are_held_to_what_they_should_say(by, blocks, message):
    keys = SplitKeys(by, "c")
    for block in blocks[:-1]:
        keys.add(block, where)
    with pytest.raises(InputError, match=message):
        keys.add(blocks[-1], where)


def test_groups_keep_their_number_over_blocks():
    keys = SplitKeys("grouped", "c")
    keys.add(names("a", "b", "a"), where)
    keys.add(names("c", "a"), where)
    found = keys.finish()
    assert found.dtype == np.int64
    assert found[0] == found[2] == found[4]
    assert len(set(found.tolist())) == 3
    source = SplitKeys("source", "c")
    source.add(names("Train", "test", "val", "1"), where)
    assert source.finish().tolist() == [0, 2, 1, 1]


def survey_of(blocks, **keys):
    spec = Spec.model_validate({"kind": "csv", "path": "f.csv", **keys})
    survey = TableSurvey(spec, ["a"], typed=False, file="f.csv")
    first = 0
    for block in blocks:
        survey.add({"a": block}, lambda row, first=first: where(row + first))
        first += len(block)
    return survey


def test_text_among_numbers_is_a_mistake_or_a_category():
    few = survey_of([names(*map(str, range(50)), "x")])
    assert few.finish({}).attributes["categories"]["a"][:2] == ["0", "1"]
    many = survey_of([numbers(*range(150)), names("x", "7")])
    with pytest.raises(InputError, match=r"f\.csv: line 152: column 'a': 'x' is not a number; 151 of the 152 rows"):
        many.incomplete()
    with pytest.raises(InputError, match="line 4: column 'a': 'x' is not a number; allowed"):
        survey_of([names("1", "2", "x")], numbers=("a",)).incomplete()
    codes = survey_of([names("02", "1", "02")], categories=("a",))
    assert codes.incomplete() == []
    assert codes.finish({}).attributes["categories"] == {"a": ["1", "02"]}


def test_names_that_were_passed_over_are_asked_for_again():
    survey = survey_of([names("1", "2", "3"), names("x", "y", "z")])
    assert survey.incomplete() == ["a"]
    again = survey.restarted(["a"])
    assert again.numbers() == set()
    for block in (names("1", "2", "3"), names("x", "y", "z")):
        again.add({"a": block}, where)
    assert again.incomplete() == []
    assert again.finish({}).attributes["categories"]["a"] == ["1", "2", "3", "x", "y", "z"]


def test_too_many_names_are_refused():
    with pytest.raises(InputError, match="column 'a': more than 10000 different names"):
        survey_of([names(*(f"n{i}" for i in range(10_001)))]).incomplete()


def test_arrays_are_coded_as_they_were_settled():
    survey = survey_of([names("b", "a", "b")]).finish({})
    arrays = TableArrays(survey.info, survey.attributes, None, "error")
    assert arrays.blocks({"a": names("a", "b")}, where, ["inputs"])["inputs"].tolist() == [[0], [1]]
    with pytest.raises(InputError, match="line 3: column 'a': a name that was not there before"):
        arrays.blocks({"a": names("a", "c")}, where, ["inputs"])


def parse(text, columns=("a", "b"), numbers=(), dialect=DIALECT):
    block = Lines("f.csv", 0, 0, 1, text.encode())
    found, place = Parser(columns, dialect, columns).parse(block, numbers)
    return [[column.names[code] for code in column.codes] for column in found.values()], place


def test_fields_in_quotes_hold_anything():
    found, place = parse('1, "x,""y""\nz"\n\n 2 ,w \r\n"3" , "" \n')
    assert found == [["1", "2", "3"], ['x,"y"\nz', "w", ""]]
    assert [place(row) for row in range(3)] == ["f.csv: line 1", "f.csv: line 4", "f.csv: line 5"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2\n3\n", r"f\.csv: line 2: has 1 fields, not 2"),
        ('1,"2\n3"\n\n3,4,5\n', r"f\.csv: line 4: has 3 fields, not 2"),
        ('1,2\n3,5" wide\n', "line 2: a quote within a field"),
        ('1,2\n3,"5" wide\n', "line 2: a quote within a field"),
        ('1,2\n3,"5\n', "line 2: a quote that is never closed"),
        ("1,2\r3,4\r", "line 1: a carriage return within a line"),
    ],
)
def test_lines_that_are_no_rows_are_named(text, message):
    with pytest.raises(InputError, match=message):
        parse(text)


def test_a_quote_may_be_a_character_as_any_other():
    found, _ = parse('1,5" wide\n2,"x\n', dialect=Dialect(",", False, ()))
    assert found == [["1", "2"], ['5" wide', '"x']]


@given(st.lists(st.text(alphabet='a, "\n1', min_size=1, max_size=6), min_size=1, max_size=8))
def test_what_a_writer_quotes_comes_back(fields):
    text = "".join(f'0,"{field.replace(chr(34), chr(34) * 2)}"\n' for field in fields)
    found, _ = parse(text, dialect=Dialect(",", True, ()))
    assert found == [["0"] * len(fields), [field.strip(" ") for field in fields]]
    assert len(record_starts(text.encode(), True)) == len(fields)


def test_numbers_come_out_the_same_by_either_way():
    text = "1,2\n +3.5 ,1e3\n NA,4\n"
    block = Lines("f.csv", 0, 0, 1, text.encode())
    fast, _ = Parser(("a", "b"), DIALECT, ("a", "b")).parse(block, {"a", "b"})
    slow, _ = Parser(("a", "b"), DIALECT, ("a", "b")).parse(block)
    for name in ("a", "b"):
        assert isinstance(fast[name], Numbers)
        again, _ = slow[name].as_numbers()
        assert (fast[name].missing == again.missing).all()
        assert (fast[name].values == again.values)[~again.missing].all()
