"""Codes of tokens, against Python's Counter and scikit-learn's CountVectorizer."""

import pickle
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import CountVectorizer

from headrace import tokens
from headrace.blocks import Ragged
from headrace.datasets.base import DataInfo
from headrace.errors import StageError
from headrace.preprocessing import tokenize
from headrace.preprocessing.base import State, StepSpec
from sample_fits import Sample, row_blocks, step

ALPHABET = "abcÄä_1 \u0301\U0001f600é中, "
TEXTS = ["The cat saw the dog.", "A DOG! a cat?", "no_one saw Ärger, ärger", "--- ...", "42 cats; 42 dögs", "the end"]


def texts_of(*texts: str) -> Ragged:
    return Ragged.of([np.frombuffer(text.encode(), np.uint8) for text in texts], "uint8")


def info_of(block: Ragged, **known: object) -> DataInfo:
    known = {"num_values": len(block.values), "longest": int(block.lengths.max(initial=0)), **known}
    return DataInfo(
        tasks=("next_step",),
        num_samples=len(block),
        shape=(),
        dims=(),
        layout="ragged",
        dtype="uint8",
        num_codes=256,
        **known,  # type: ignore[arg-type]
    )


def sample_of(*texts: str, num_train: int | None = None) -> Sample:
    block = texts_of(*texts)
    return Sample(block, info_of(block), len(texts) if num_train is None else num_train)


def vocabulary_of(state: State) -> list[str]:
    edges = state["offsets"].tolist()
    return [state["tokens"][a:b].tobytes().decode() for a, b in pairwise(edges)]


def rows_of(block: object) -> list[list[int]]:
    assert isinstance(block, Ragged)
    return [block.values[a:b].tolist() for a, b in pairwise(block.offsets)]


def reference(texts: list[str], unit: str) -> list[list[str]]:
    """The words or characters of each text, of a block by itself."""
    found = tokens.take_apart(texts_of(*texts), unit, lowercase=True)  # type: ignore[arg-type]
    spelled = tokens.encode(found.spelling)
    edges = spelled.offsets.tolist()
    each = iter([spelled.values[a:b].tobytes().decode() for a, b in pairwise(edges)])
    return [[next(each) for _ in range(count)] for count in found.counts]


def test_codes_count_what_scikit_learn_counts() -> None:
    sample = sample_of(*TEXTS)
    spec = step("tokenize", max_tokens=100)
    state = spec.fit(sample.fit_data())
    vectorizer = CountVectorizer(token_pattern=r"(?u)\w+")
    expected = vectorizer.fit_transform(TEXTS).toarray()
    vocabulary = vocabulary_of(state)
    assert sorted(vocabulary) == sorted(vectorizer.get_feature_names_out())
    codes = rows_of(sample.apply(spec, state))
    assert codes[3] == [0]
    found = np.array([np.bincount(row, minlength=len(vocabulary) + 1)[1:] for row in codes])
    assert np.array_equal(found, expected[:, [vectorizer.vocabulary_[word] for word in vocabulary]])


def test_the_most_frequent_come_first_and_then_those_with_the_lower_bytes() -> None:
    state = step("tokenize").fit(sample_of("b a b a z", "é Z é _ 中", "z b").fit_data(2))
    # b and z are there three times, a and é twice; in UTF-8, é begins with 0xc3 and 中 with 0xe4.
    assert vocabulary_of(state) == ["b", "z", "a", "é", "_", "中"]


@given(
    texts=st.lists(st.text(ALPHABET, max_size=15), min_size=1, max_size=15),
    unit=st.sampled_from(["words", "characters"]),
    max_tokens=st.integers(2, 8),
    max_length=st.one_of(st.none(), st.integers(1, 5)),
    num_blocks=st.integers(1, 5),
    piece=st.integers(1, 40),
)
@settings(deadline=None, max_examples=40)
def test_codes_spell_the_text_again(
    texts: list[str], unit: str, max_tokens: int, max_length: int | None, num_blocks: int, piece: int
) -> None:
    sample = sample_of(*texts)
    spec = step("tokenize", unit=unit, max_tokens=max_tokens, max_length=max_length)
    expected = reference(texts, unit)
    counted = Counter(token for text in expected for token in text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tokens, "PIECE_STEPS", piece)
        if not counted:
            with pytest.raises(StageError, match=r"^tokenize: the texts of the training split have no "):
                spec.fit(sample.fit_data(num_blocks))
            return
        state = spec.fit(sample.fit_data(num_blocks))
        applied = sample.apply(spec, state)
    ordered = sorted(counted, key=lambda token: (-counted[token], token.encode()))[: max_tokens - 1]
    assert vocabulary_of(state) == ordered
    codes = {token: code for code, token in enumerate(ordered, start=1)}
    assert rows_of(applied) == [[codes.get(token, 0) for token in text][:max_length] or [0] for text in expected]
    assert isinstance(applied, Ragged)
    assert applied.values.dtype == np.int32
    described = spec.describe(sample.info, sample.num_train)
    assert applied.lengths.max() <= max(1, described.longest)
    assert len(applied.values) <= described.num_values + texts.count("")


def test_words_of_other_splits_are_unknown() -> None:
    sample = sample_of("one two", "two", "three two", num_train=2)
    spec = step("tokenize")
    state = spec.fit(sample.fit_data())
    assert vocabulary_of(state) == ["two", "one"]
    assert rows_of(sample.apply(spec, state)) == [[2, 1], [1], [0, 1]]


def test_capitals_are_kept_where_that_is_wished() -> None:
    sample = sample_of("Ä ä Ä")
    assert vocabulary_of(step("tokenize", lowercase=False).fit(sample.fit_data())) == ["Ä", "ä"]
    assert vocabulary_of(step("tokenize").fit(sample.fit_data())) == ["ä"]


def test_no_rows_give_no_codes() -> None:
    spec = step("tokenize")
    state = spec.fit(sample_of("a").fit_data())
    none = spec.apply(texts_of(), state, slice(0, 0))
    assert rows_of(none) == []
    assert isinstance(none, Ragged)
    assert none.values.dtype == np.int32


def test_texts_without_words_say_what_to_do() -> None:
    with pytest.raises(StageError, match=r"^tokenize: .* training split have no words; say unit: characters$"):
        step("tokenize").fit(sample_of("...", " \t", "!", "word", num_train=3).fit_data())


def test_what_a_block_counts_travels_and_holds_nothing_of_arrow() -> None:
    counted = tokenize._count(texts_of("b a b"), "words", True)
    back = pickle.loads(pickle.dumps(counted))
    assert {bytes(row).decode(): count for row, count in zip(rows_of(back.tokens), back.counts, strict=True)} == {
        "a": 1,
        "b": 2,
    }
    assert isinstance(back.tokens.values, np.ndarray)


@pytest.mark.parametrize("num_blocks", [1, 7])
@pytest.mark.parametrize("shape", ["steep", "even"])
def test_counts_of_too_many_tokens_are_short_by_no_more_than_is_said(
    shape: str, num_blocks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = np.random.default_rng(0)
    steep, even = np.minimum(generator.zipf(1.3, (200, 20)), 10_000), generator.integers(0, 300, (200, 20))
    even[:, :2] = 0
    numbers = steep if shape == "steep" else even
    texts = [" ".join(f"w{number}" for number in row) for row in numbers]
    true = Counter(word for text in texts for word in text.split())
    most = 60
    assert len(true) > 3 * most
    monkeypatch.setattr(tokenize, "MOST_DISTINCT", most)
    monkeypatch.setattr(tokens, "PIECE_STEPS", 300)
    found = row_blocks(texts_of(*texts), num_blocks=num_blocks).reduce(
        tokenize._count, "words", True, combine=tokenize._merge
    )
    counts = {bytes(row).decode(): int(count) for row, count in zip(rows_of(found.tokens), found.counts, strict=True)}
    assert 0 < len(counts) <= most
    assert 0 < found.short <= numbers.size / (most + 1)
    assert all(true[word] - found.short <= count <= true[word] for word, count in counts.items())
    assert all(count <= found.short for word, count in true.items() if word not in counts)


def test_the_fit_says_when_counts_are_short(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(tokenize, "MOST_DISTINCT", 2)
    monkeypatch.setattr("headrace.logs.logger.propagate", True)
    state = step("tokenize").fit(sample_of("a a a b b c").fit_data())
    assert vocabulary_of(state) == ["a", "b"]
    assert "more than 2 different words; counts may be short by up to 1" in caplog.text


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({}, {"longest": 6, "num_values": 15, "num_codes": 20_000}),
        ({"unit": "characters"}, {"longest": 11, "num_values": 20, "num_codes": 20_000}),
        ({"max_length": 2, "max_tokens": 9}, {"longest": 2, "num_values": 15, "num_codes": 9}),
        ({"unit": "characters", "max_length": 1}, {"longest": 1, "num_values": 10}),
    ],
)
def test_what_comes_out_is_known_before(parameters: dict[str, object], expected: dict[str, int]) -> None:
    info = DataInfo(
        ("next_step",), 10, (), (), layout="ragged", dtype="uint8", num_codes=256, num_values=20, longest=11
    )
    described = step("tokenize", **parameters).describe(info, 8)
    assert {name: getattr(described, name) for name in expected} == expected
    assert (described.layout, described.shape, described.dtype) == ("ragged", (), "int32")


@pytest.mark.parametrize(
    "known",
    [
        {"shape": (3,), "dims": ("channel",), "layout": "ragged"},
        {"shape": (), "dims": (), "layout": "ragged", "num_codes": 20, "dtype": "int32"},
        {"shape": (5,), "dims": ("step",), "layout": "dense", "num_codes": 256, "dtype": "uint8"},
    ],
)
def test_what_is_no_text_is_refused(known: dict[str, object]) -> None:
    info = DataInfo(tasks=("density",), num_samples=10, **known)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^kind: tokenize reads texts, .*; allowed: "):
        step("tokenize").describe(info, 8)


@pytest.mark.parametrize(("parameter", "value"), [("max_tokens", 1), ("max_length", 0), ("unit", "sentences")])
def test_parameters_are_bounded(parameter: str, value: object) -> None:
    with pytest.raises(ValueError, match=parameter):
        step("tokenize", **{parameter: value})


def test_a_recurrent_network_reads_the_codes() -> None:
    import torch

    from headrace.batching.batches import Padded
    from headrace.models.base import ModelSpec, Shapes
    from headrace.registry import restore

    sample = sample_of("one two three", "...", "two")
    spec: StepSpec = step("tokenize", max_tokens=3)
    codes = rows_of(sample.apply(spec, spec.fit(sample.fit_data())))
    described = spec.describe(sample.info, 3)
    model = restore("models", {"kind": "rnn"}, ModelSpec)
    assert described.layout in model.reads
    model.check(described)
    shapes = Shapes(described.shape, 2, "classification", described.layout, described.num_codes)
    values = torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in codes], batch_first=True)
    outputs = model.build(shapes)(Padded(values, torch.tensor([len(row) for row in codes])))
    assert outputs.shape == (3, 2)
    assert torch.isfinite(outputs).all()
