"""Texts come out byte by byte, or are refused with file and line."""

import gzip
import json
import pickle

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from headrace.errors import InputError
from headrace.formats import lines
from headrace.registry import load_kind
from headrace.sources.gathering import gather
from mutations import damaged, read_or_refuse, read_whole

TEXTS = ["hello", "a\tb", " two  words ", "naïve café", "x" * 300, '"quoted', "1", "\u20ac 5"] * 20
LABELS = ["ham", "spam", "ham", "eggs"] * 40


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(lines, "PART_BYTES", 500)


def texts_of(ragged):
    return [
        ragged.values[start:stop].tobytes().decode()
        for start, stop in zip(ragged.offsets[:-1], ragged.offsets[1:], strict=True)
    ]


def check(blocks, source, survey, texts, labels=None):
    assert texts_of(blocks["inputs"]) == texts
    sizes = [len(text.encode()) for text in texts]
    info = survey.info
    assert (info.num_samples, info.num_values, info.longest) == (len(texts), sum(sizes), max(sizes))
    assert (info.layout, info.dtype, info.num_codes, info.shape) == ("ragged", "uint8", 256, ())
    assert source.lengths("inputs").tolist() == sizes
    copy = pickle.loads(pickle.dumps(source))
    assert copy.lengths("inputs").tolist() == sizes
    rows = np.random.default_rng(0).permutation(len(texts))[:50]
    assert texts_of(gather(copy, rows, ["inputs"])["inputs"]) == [texts[row] for row in rows]
    if labels is None:
        assert "target" not in blocks
        assert info.tasks == ("next_step",)
        return
    assert info.tasks == ("classification",)
    assert [info.class_names[code] for code in blocks["target"]] == labels
    assert list(info.class_names) == sorted(set(labels))
    assert (survey.index["target"] == blocks["target"]).all()


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("packed", [False, True])
def test_lines_are_texts(tmp_path, small_parts, end, packed):
    text = "".join(f"{line}{end}{end if i % 7 == 0 else ''}" for i, line in enumerate(TEXTS)).rstrip("\r\n")
    data = text.encode()
    path = tmp_path / ("a.txt.gz" if packed else "a.txt")
    path.write_bytes(gzip.compress(data) if packed else data)
    blocks, source, survey = read_whole(tmp_path, kind="text_lines", path=str(path))
    assert len(source.borders) > 5
    assert source.attributes["empty_lines"] == len(range(0, len(TEXTS), 7))
    check(blocks, source, survey, TEXTS)


def test_labels_stand_before_a_tab(tmp_path, small_parts):
    path = tmp_path / "a.tsv"
    path.write_text("".join(f"{label}\t{text}\n" for label, text in zip(LABELS, TEXTS, strict=True)), "utf-8")
    check(*read_whole(tmp_path, kind="text_lines", path=str(path), format="tab"), TEXTS, LABELS)


def test_objects_hold_texts_and_labels(tmp_path, small_parts):
    path = tmp_path / "a.jsonl"
    rows = [{"body": text, "of": label, "day": i} for i, (text, label) in enumerate(zip(TEXTS, LABELS, strict=True))]
    path.write_text("\n".join(json.dumps(row, ensure_ascii=i % 2 == 0) for i, row in enumerate(rows)), "utf-8")
    keys = {"kind": "text_lines", "path": str(path), "format": "json", "text": "body"}
    check(*read_whole(tmp_path, target="of", **keys), TEXTS, LABELS)
    check(*read_whole(tmp_path, **keys), TEXTS)
    _, _, survey = read_whole(tmp_path, split={"by": "time", "column": "day"}, **keys)
    assert survey.index["split_key"].tolist() == list(range(len(TEXTS)))
    assert survey.info.split_sizes == (112, 24, 24)


def test_labels_in_json_may_be_numbers_and_truth_values(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps({"text": "a", "y": y}) + "\n" for y in (10, 9, True, "x")))
    blocks, _, survey = read_whole(tmp_path, kind="text_lines", path=str(path), format="json", target="y")
    assert survey.info.class_names == ("10", "9", "true", "x")
    assert blocks["target"].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252"])
def test_other_encodings_become_utf8(tmp_path, small_parts, encoding):
    texts = [text for text in TEXTS if "\u20ac" not in text or encoding == "cp1252"]
    (tmp_path / "a.txt").write_bytes("\n".join(texts).encode(encoding))
    keys = {"kind": "text_lines", "path": str(tmp_path / "a.txt")}
    check(*read_whole(tmp_path, encoding=encoding, **keys), texts)
    with pytest.raises(InputError, match=r"a\.txt: line 4: byte 0xef is not utf-8"):
        read_whole(tmp_path, **keys)


@pytest.mark.parametrize(
    ("text", "keys", "message"),
    [
        (b"", {}, "is empty"),
        (b"\n\n\n\n", {}, "has 0 rows; three splits need at least 3"),
        (b"a\nb\n", {}, "has 2 rows"),
        (b"a\nb\0\nc\n", {}, "line 2: holds a zero byte"),
        (b"x\ta\nx\tb\nc d\n", {"format": "tab"}, "line 3: has no tab between a label and a text"),
        (b"x\ta\ny\t\ny\tc\n", {"format": "tab"}, "line 2: has no text behind the label"),
        (b"x\ta\n\ta\ny\tc\n", {"format": "tab"}, "line 2: has no label before the tab"),
        (b"x\ta\nx\tb\nx\tc\n", {"format": "tab"}, "every row is of the same class"),
        (b'{"text": "a"}\n{"text": }\n', {"format": "json"}, "line 2: is no JSON"),
        (b'{"text": "a"}\n["text"]\n', {"format": "json"}, "line 2: should be an object"),
        (b'{"text": "a"}\n{"text": 3}\n', {"format": "json"}, "line 2: has no text under the key 'text'"),
        (b'{"text": "a"}\n{"text": ""}\n', {"format": "json"}, "line 2: has no text under the key 'text'"),
        (b'{"text": "a"}\n{"text": "\\ud800"}\n', {"format": "json"}, "line 2: is no JSON"),
        (b'{"text": "a"}\n' + b"[" * 100_000, {"format": "json"}, "line 2: is no JSON"),
        (b'{"text": "a"}\n{"text": ' + b"9" * 5000 + b"}", {"format": "json"}, "line 2: is no JSON"),
        (b'{"text": "a", "y": null}\n', {"format": "json", "target": "y"}, "line 1: y: 'null' is neither text"),
    ],
)
def test_lines_that_cannot_be_read_are_named(tmp_path, text, keys, message):
    (tmp_path / "a.txt").write_bytes(text)
    with pytest.raises(InputError, match=rf"a\.txt: {message}|column 'label': {message}"):
        read_whole(tmp_path, kind="text_lines", path=str(tmp_path / "a.txt"), **keys)


@pytest.mark.parametrize("keys", [{"target": "y"}, {"text": "y"}, {"split": {"by": "grouped", "column": "y"}}])
def test_keys_of_json_mean_nothing_elsewhere(keys):
    with pytest.raises(ValueError, match="means nothing with format: tab; allowed with json"):
        load_kind("datasets", "text_lines").model_validate({"kind": "text_lines", "path": "a", "format": "tab", **keys})


WORDS = (b"\t", b"\n", b"\r\n", b"\0", b"\xff", b'"', b"{", b"}", b"\\u", b"null")
TAB = b"".join(b"%s\tsome text %d\n" % ([b"ham", b"spam"][i % 2], i) for i in range(12))
JSON = b"".join(b'{"text": "some text %d", "y": "%s"}\n' % (i, [b"ham", b"spam"][i % 2]) for i in range(12))


@settings(max_examples=220, deadline=None, suppress_health_check=list(HealthCheck))
@given(damaged(TAB, WORDS))
def test_damaged_tables_are_read_whole_or_refused(data):
    read_or_refuse(data, "a.txt", kind="text_lines", format="tab")


@settings(max_examples=220, deadline=None, suppress_health_check=list(HealthCheck))
@given(damaged(JSON, WORDS))
def test_damaged_objects_are_read_whole_or_refused(data):
    read_or_refuse(data, "a.txt", kind="text_lines", format="json", target="y")


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(damaged(TAB, WORDS))
def test_damaged_lines_are_read_whole_or_refused(data):
    read_or_refuse(data, "a.txt", kind="text_lines")
