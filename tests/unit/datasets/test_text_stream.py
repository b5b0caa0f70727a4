"""Windows are what slicing the text gives, no character is predicted in two splits, and mistakes are one line."""

import gzip
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from headrace.__main__ import main
from headrace.datasets.base import Source
from headrace.errors import InputError
from headrace.experiments.reading import check_experiment, load_experiment
from headrace.formats import lines, streams
from headrace.planning.plan import Plan, Site
from headrace.registry import load_kind
from headrace.sources import downloads
from headrace.sources.gathering import gather
from mutations import damaged, read_or_refuse, read_whole
from shipped_experiments import ALL, CONFIGS, FETCHED

ENDS = ("\r\n", "\n\n", "\n")
TEXT = "".join(f"Line {i}: café, 5 €\tand 𝄞{ENDS[i % 3]}" for i in range(40))


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "PART_BYTES", 100)
    monkeypatch.setattr(streams, "part_borders", lambda rows, _: np.append(np.arange(0, rows, 7), rows))


def texts_of(inputs: Any, source: Source) -> list[str]:
    characters = source.attributes["characters"]
    return ["".join(characters[code] for code in row) for row in inputs.tolist()]


def windows(text: str, borders: tuple[int, int], context: int, stride: int) -> list[list[str]]:
    """Of each split, from every place where one may begin."""
    edges = (0, *borders, len(text))
    found = []
    for i in range(3):
        step = stride if i == 0 else context
        begins = range(edges[i], edges[i + 1] - context, step)
        found.append([text[begin : begin + context + 1] for begin in begins])
    return found


@pytest.mark.parametrize("stride", [None, 1, 5, 20])
@pytest.mark.parametrize("packed", [False, True])
def test_windows_are_slices_of_the_text(tmp_path: Path, small_parts: None, stride: int | None, packed: bool) -> None:
    path = tmp_path / ("a.txt.gz" if packed else "a.txt")
    path.write_bytes(gzip.compress(TEXT.encode()) if packed else TEXT.encode())
    borders = (700, 850)
    keys = {"kind": "text_stream", "path": str(path), "context": 9, "stride": stride}
    blocks, source, survey = read_whole(tmp_path, **keys, split={"by": "time", "borders": borders})
    expected = windows(TEXT, borders, 9, stride or 9)
    everything = [text for texts in expected for text in texts]
    assert texts_of(blocks["inputs"], source) == everything
    assert source.attributes["characters"] == "".join(sorted(set(TEXT)))
    assert source.attributes["num_characters"] == len(TEXT)
    info = survey.info
    assert (info.tasks, info.shape, info.dims, info.dtype) == (("next_step",), (10,), ("step",), "uint8")
    assert info.num_codes == len(set(TEXT))
    assert info.split_sizes == tuple(map(len, expected))
    assert info.num_samples == len(everything)
    rows = np.random.default_rng(1).permutation(len(everything))[:9]
    again = gather(pickle.loads(pickle.dumps(source)), rows, ["inputs"])
    assert texts_of(again["inputs"], source) == [everything[row] for row in rows]


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(1, 12), st.integers(1, 12), st.floats(0.2, 0.6), st.floats(0.1, 0.3))
def test_every_character_that_is_judged_is_predicted_once(
    tmp_path: Path, context: int, stride: int, train: float, validation: float
) -> None:
    assume(train + validation < 0.85)
    # Every character stands for its own place.
    text = "".join(chr(0x4E00 + i) for i in range(300))
    path = tmp_path / "a.txt"
    path.write_text(text, "utf-8")
    shares = {"train": train, "validation": validation, "test": 1 - train - validation}
    keys = {"kind": "text_stream", "path": str(path), "context": context, "stride": stride, "split": shares}
    blocks, _, survey = read_whole(tmp_path, **keys)
    assert survey.info.dtype == "int32"
    edges = (0, round(300 * train), round(300 * (train + validation)), 300)
    for i in range(3):
        own = np.asarray(blocks["inputs"])[survey.index["split_key"] == i]
        assert edges[i] == own.min()
        assert own.max() < edges[i + 1]
        assert (np.diff(own, axis=1) == 1).all()
        predicted = own[:, 1:].ravel()
        if i == 0:
            assert set(np.diff(own[:, 0]).tolist()) <= {stride}
        else:
            assert predicted.tolist() == list(range(edges[i] + 1, edges[i] + 1 + len(predicted)))
            assert edges[i + 1] - 1 - predicted[-1] < context


def test_a_text_may_be_a_single_line_of_any_length(
    tmp_path: Path, small_parts: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "LONGEST_LINE_BYTES", 200)
    text = TEXT.replace("\n", "").replace("\r", "")
    (tmp_path / "a.txt").write_bytes(text.encode())
    blocks, source, _ = read_whole(tmp_path, kind="text_stream", path=str(tmp_path / "a.txt"), context=9)
    (training, *_) = windows(text, (round(len(text) * 0.7), round(len(text) * 0.85)), 9, 9)
    assert texts_of(blocks["inputs"], source)[: len(training)] == training
    (tmp_path / "b.txt").write_bytes(b"a\n" + text.encode() + b"\xff" + text.encode())
    with pytest.raises(InputError, match=r"b\.txt: line 2: byte 0xff is not utf-8"):
        read_whole(tmp_path, kind="text_stream", path=str(tmp_path / "b.txt"), context=9)


def test_files_follow_each_other(tmp_path: Path, small_parts: None) -> None:
    for name, text in (("1.txt", TEXT[:400]), ("2.txt", TEXT[400:]), ("whole.txt", TEXT)):
        (tmp_path / name).write_bytes(text.encode())
    paths = (str(tmp_path / "1.txt"), str(tmp_path / "2.txt"))
    one, _, _ = read_whole(tmp_path, kind="text_stream", path=paths, context=9)
    two, _, _ = read_whole(tmp_path, kind="text_stream", path=str(tmp_path / "whole.txt"), context=9)
    np.testing.assert_array_equal(one["inputs"], two["inputs"])


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252"])
def test_other_encodings_give_the_same_characters(tmp_path: Path, encoding: str) -> None:
    text = "Garçon, où êtes-vous?\n" * 9
    (tmp_path / "a.txt").write_bytes(text.encode(encoding))
    path = str(tmp_path / "a.txt")
    _, source, _ = read_whole(tmp_path, kind="text_stream", path=path, context=5, encoding=encoding)
    assert source.attributes["characters"] == "".join(sorted(set(text)))
    with pytest.raises(InputError, match=r"a\.txt: line 1: byte 0xe7 is not utf-8; allowed under `encoding`"):
        read_whole(tmp_path, kind="text_stream", path=path, context=5)


@pytest.mark.parametrize(
    ("data", "keys", "message"),
    [
        (b"", {}, r"a\.txt: is empty"),
        (b"aaaaaaaaaaaaaaaaaaaaa", {}, r"a\.txt: holds the same character throughout"),
        (b"ab\ncd\0\n", {}, r"a\.txt: line 2: holds a zero byte"),
        (b"abcdefghij" * 3, {"context": 25}, r"split\.train: .*a\.txt: 21 of 30 characters leave train without a"),
        (b"abcdefghij" * 3, {}, r"split\.validation: .*a\.txt: 5 of 30 characters leave validation .* of 5 \+ 1 char"),
        (b"abcdefghij" * 3, {"split": {"by": "time", "borders": (10, 30)}}, r"a\.txt: has 30 characters; allowed: bo"),
        (b"abcdefghij" * 3, {"split": {"by": "time", "borders": (9, 25)}}, r"borders: .*a\.txt: 5 of 30 characters"),
    ],
)
def test_texts_that_cannot_be_cut_are_named(tmp_path: Path, data: bytes, keys: dict[str, Any], message: str) -> None:
    (tmp_path / "a.txt").write_bytes(data)
    with pytest.raises(InputError, match=message):
        read_whole(tmp_path, **{"kind": "text_stream", "path": str(tmp_path / "a.txt"), "context": 5, **keys})


@pytest.mark.parametrize("by", ["random", "stratified", "grouped"])
def test_a_text_is_not_torn_apart(by: str) -> None:
    split = {"by": by, **({"column": "x"} if by == "grouped" else {})}
    with pytest.raises(ValueError, match=f"split.by: {by} would tear the text apart; allowed: time"):
        load_kind("datasets", "text_stream").model_validate(
            {"kind": "text_stream", "path": "a", "context": 5, "split": split}
        )


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("kind: fnn", "fnn serves classification and regression, which does not fit every dataset"),
        ("kind: vae", "vae serves density, which does not fit every dataset"),
        ("kind: rnn, bidirectional: true", "bidirectional: true reads the steps that are to be predicted"),
        ("kind: transformer, features: numbers", "transformer predicts which code comes next, and these features are"),
        ("kind: rnn, features: scaled", "kind: standardize reads measurements, not codes"),
    ],
)
def test_what_does_not_fit_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, model: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.txt").write_text(TEXT, "utf-8")
    Path("mine.yaml").write_text(
        "name: mine\ndatasets: {text: {kind: text_stream, path: a.txt, context: 8}}\n"
        f"features: {{numbers: [{{kind: one_hot}}], scaled: [{{kind: standardize}}]}}\nmodels: [{{{model}}}]\n"
    )
    assert main(["check", "mine.yaml"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert message in line


def test_a_model_is_told_how_many_codes_there_are(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(TEXT, "utf-8")
    dataset = {"kind": "text_stream", "path": str(tmp_path / "a.txt"), "context": 8}
    experiment = check_experiment(
        {"name": "x", "datasets": {"text": dataset}, "models": [{"kind": "rnn"}]}, artifacts=tmp_path
    )
    (run,) = Plan(experiment, Site(device="cpu")).runs
    num_codes = len(set(TEXT))
    assert run.train.spec["shapes"] == {
        "inputs": [9], "outputs": num_codes, "task": "next_step", "layout": "dense", "num_codes": num_codes
    }  # fmt: skip


def test_the_shipped_experiment_can_be_planned_once_its_text_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the text itself only the digest is known here."""
    assert [path.stem for path in FETCHED] == ["shakespeare"]
    assert len(ALL) > len(FETCHED)
    shutil.copy(CONFIGS / "data/plays.txt", tmp_path / "input.txt")
    monkeypatch.setattr(downloads, "fetch", lambda *_: tmp_path)
    experiment = load_experiment(FETCHED[0], tmp_path / "artifacts")
    assert len(Plan(experiment, Site(device="cpu")).runs) == 1
    resolved = experiment.resolved()
    assert check_experiment(yaml.safe_load(yaml.safe_dump(resolved)), artifacts=tmp_path / "artifacts").resolved() == (
        resolved
    )


WORDS = (b"\n", b"\r\n", b"\0", b"\xff", b"\xe2\x82", b"\xef\xbb\xbf")


@settings(max_examples=220, deadline=None, suppress_health_check=list(HealthCheck))
@given(damaged(TEXT[:200].encode(), WORDS))
def test_damaged_texts_are_read_whole_or_refused(data: bytes) -> None:
    read_or_refuse(data, "a.txt", kind="text_stream", context=4)
