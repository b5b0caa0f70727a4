"""Hashed n-grams, against the same hash in plain Python and scikit-learn's CountVectorizer."""

from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.feature_extraction.text import CountVectorizer

from headrace import tokens
from headrace.blocks import Ragged
from headrace.datasets.base import DataInfo
from headrace.preprocessing.hash_vectorize import _splitmix
from headrace.stores.arrays import load_arrays, save_arrays
from sample_fits import step

TEXTS = ["The cat saw the dog.", "A DOG! a cat?", "no_one saw Ärger, ärger", "", "42 cats; 42 dögs", "the  cat saw"]
HOSTILE = st.lists(st.text("abÄß_1 \t\u0301\U0001f600\ufe0f中,", max_size=12), min_size=1, max_size=10)


def texts_of(*texts: str) -> Ragged:
    return Ragged.of([np.frombuffer(text.encode(), np.uint8) for text in texts], "uint8")


def info_of(block: Ragged, num_codes: int = 256) -> DataInfo:
    return DataInfo(
        tasks=("next_step",),
        num_samples=len(block),
        shape=(),
        dims=(),
        layout="ragged",
        dtype=block.values.dtype.name,
        num_codes=num_codes,
        num_values=len(block.values),
        longest=int(block.lengths.max(initial=0)),
    )


def counts_of(block: Ragged, **parameters: object) -> sparse.csr_array:
    found = step("hash_vectorize", **parameters).apply(block, {}, slice(0, len(block)))
    assert isinstance(found, sparse.csr_array)
    return found


def splitmix(seed: int, position: int) -> int:
    """As published, a step after the other."""
    state = seed
    for _ in range(position + 1):
        state = (state + 0x9E3779B97F4A7C15) % 2**64
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) % 2**64
    return state ^ (state >> 31)


def combine(units: list[int]) -> int:
    return sum(splitmix(unit, position) for position, unit in enumerate(units)) % 2**64


def units_of(text: str, unit: str) -> list[int]:
    if unit == "codes":
        return list(text.encode())
    found = tokens.take_apart(texts_of(text), unit, lowercase=True)  # type: ignore[arg-type]
    edges = found.spelling.offsets
    spelled = [found.spelling.values[a:b].tolist() for a, b in pairwise(edges)]
    return [points[0] if unit == "characters" else combine(points) for points in spelled]


def test_the_generator_is_the_published_one() -> None:
    # The first outputs for this seed are those that the authors' C code gives.
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    assert _splitmix(np.full(4, 1234567, np.uint64), np.arange(4, dtype=np.uint64)).tolist() == expected
    assert [splitmix(1234567, i) for i in range(4)] == expected


@given(
    texts=HOSTILE,
    unit=st.sampled_from(["words", "characters", "codes"]),
    shortest=st.integers(1, 3),
    more=st.integers(0, 2),
    log_features=st.integers(1, 12),
    signed=st.booleans(),
    piece=st.integers(1, 60),
)
@settings(deadline=None, max_examples=40)
def test_counts_are_those_of_the_same_hash_in_plain_python(
    texts: list[str], unit: str, shortest: int, more: int, log_features: int, signed: bool, piece: int
) -> None:
    expected = np.zeros((len(texts), 2**log_features))
    for row, text in enumerate(texts):
        units = units_of(text, unit)
        for n in range(shortest, shortest + more + 1):
            for start in range(len(units) - n + 1):
                value = combine(units[start : start + n])
                expected[row, value % 2**log_features] += -1 if signed and value >= 2**63 else 1
    parameters = {"unit": unit, "ngrams": [shortest, shortest + more], "num_features": 2**log_features}
    block = texts_of(*texts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tokens, "PIECE_STEPS", piece)
        found = counts_of(block, signed=signed, **parameters)
    assert found.dtype == np.float32
    assert np.array_equal(found.toarray(), expected)
    assert found.nnz == np.count_nonzero(expected)
    assert found.has_canonical_format
    assert found.nnz <= step("hash_vectorize", **parameters).describe(info_of(block), 1).num_values


@pytest.mark.parametrize("ngrams", [(1, 1), (1, 2), (2, 3)])
@pytest.mark.parametrize("unit", ["words", "characters"])
def test_counts_are_those_of_scikit_learn_where_nothing_shares_a_column(unit: str, ngrams: tuple[int, int]) -> None:
    options = {"token_pattern": r"(?u)\w+"} if unit == "words" else {"analyzer": "char"}
    # It takes two spaces for one.
    given = TEXTS if unit == "words" else [" ".join(text.split()) for text in TEXTS]
    vectorizer = CountVectorizer(ngram_range=ngrams, **options)
    expected = vectorizer.fit_transform(given).toarray()
    parameters = {"unit": unit, "ngrams": list(ngrams), "num_features": 2**20}
    terms = vectorizer.get_feature_names_out()
    lengths = [len(term.split()) if unit == "words" else len(term) for term in terms]
    columns = [
        counts_of(texts_of(term), **{**parameters, "ngrams": [length, length]}).indices.tolist()
        for term, length in zip(terms, lengths, strict=True)
    ]
    assert all(len(found) == 1 for found in columns)
    flat = [column for found in columns for column in found]
    assert len(set(flat)) == len(flat)
    found = counts_of(texts_of(*given), **parameters)
    assert np.array_equal(found[:, flat].toarray(), expected)
    assert found.sum() == expected.sum()


def test_columns_and_signs_are_even() -> None:
    words = " ".join(f"w{i}" for i in range(40_000))
    counts = counts_of(texts_of(words), num_features=64).toarray()[0]
    # 625 each: chi squared with 63 degrees of freedom is below 127 but for one time in a million.
    assert ((counts - 625) ** 2 / 625).sum() < 127
    signs = counts_of(texts_of(words), num_features=2**30, signed=True).data
    assert abs(signs.sum()) < 5 * 200
    assert set(np.unique(np.abs(signs)).tolist()) <= {1.0, 2.0}


def test_the_order_within_an_ngram_counts() -> None:
    two = counts_of(texts_of("a b", "b a", "ab", "ba"), ngrams=[2, 2], num_features=2**20)
    assert two.indices.tolist()[0] != two.indices.tolist()[1]
    assert two.sum(axis=1).tolist() == [1, 1, 0, 0]
    one = counts_of(texts_of("ab", "ba", "aab", "abb"), num_features=2**20)
    assert len(set(one.indices.tolist())) == 4


def test_ngrams_end_with_the_text() -> None:
    apart = counts_of(texts_of("a b", "c d"), ngrams=[2, 2])
    assert apart.sum() == 2
    assert counts_of(texts_of("a", "b", "c"), ngrams=[2, 3]).nnz == 0


def test_codes_of_any_kind_are_counted() -> None:
    generator = np.random.default_rng(0)
    lengths = generator.integers(0, 30, 50)
    codes = Ragged(generator.integers(0, 9, lengths.sum()).astype(np.int32), lengths)
    columns = counts_of(Ragged(np.arange(9, dtype=np.int32), np.ones(9, np.int64)), unit="codes").indices
    assert len(set(columns.tolist())) == 9
    found = counts_of(codes, unit="codes")[:, columns].toarray()
    rows = [Counter(codes.values[a:b].tolist()) for a, b in pairwise(codes.offsets)]
    assert found.tolist() == [[row[code] for code in range(9)] for row in rows]
    assert np.array_equal(
        counts_of(Ragged(codes.values.astype(np.int64), lengths), unit="codes")[:, columns].toarray(), found
    )


def test_bytes_that_are_no_text_have_codes() -> None:
    assert counts_of(Ragged.of([np.frombuffer(b"\xff\xfe\xff", np.uint8)]), unit="codes").data.tolist() in (
        [1, 2],
        [2, 1],
    )


def test_capitals_are_kept_where_that_is_wished() -> None:
    assert counts_of(texts_of("Ä ä")).data.tolist() == [2]
    assert counts_of(texts_of("Ä ä"), lowercase=False).data.tolist() == [1, 1]


def test_no_rows_give_none() -> None:
    assert counts_of(texts_of()).shape == (0, 2**14)


def test_nothing_is_learned_and_that_can_be_kept(tmp_path: Path) -> None:
    state = step("hash_vectorize").fit(None)  # type: ignore[arg-type]
    save_arrays(tmp_path / "state.safetensors", state)
    assert load_arrays(tmp_path / "state.safetensors") == state == {}


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"num_features": 1000}, "num_features\n.* should be a power of two"),
        ({"num_features": 1}, "num_features\n.* greater than or equal to 2"),
        ({"num_features": 2**31}, "num_features\n.* less than or equal to"),
        ({"ngrams": [2, 1]}, r"ngrams: \[2, 1\] begins with the longer one; allowed: "),
        ({"ngrams": [0, 1]}, "ngrams"),
    ],
)
def test_parameters_are_bounded(parameters: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        step("hash_vectorize", **parameters)


def test_what_cannot_be_read_is_refused() -> None:
    series = DataInfo(("density",), 10, (3,), ("channel",), layout="ragged")
    with pytest.raises(ValueError, match=r"^kind: hash_vectorize reads sequences of codes; allowed: texts, "):
        step("hash_vectorize").describe(series, 8)
    codes = DataInfo(("density",), 10, (), (), layout="ragged", num_codes=256, dtype="int32")
    with pytest.raises(ValueError, match=r"^unit: words are found in texts, and these are codes; allowed: codes$"):
        step("hash_vectorize").describe(codes, 8)
    described = step("hash_vectorize", unit="codes").describe(codes, 8)
    assert (described.layout, described.shape, described.dims) == ("sparse", (2**14,), ("term",))
    assert (described.num_codes, described.longest, described.dtype) == (0, 0, "float32")


def test_a_feed_forward_network_reads_the_counts() -> None:
    import torch

    from headrace.models.base import ModelSpec, Shapes
    from headrace.registry import restore

    block = texts_of(*TEXTS)
    described = step("hash_vectorize", num_features=64).describe(info_of(block), 4)
    model = restore("models", {"kind": "fnn"}, ModelSpec)
    assert described.layout in model.reads
    model.check(described)
    module = model.build(Shapes(described.shape, 2, "classification", described.layout, described.num_codes))
    outputs = module(torch.from_numpy(counts_of(block, num_features=64).toarray()))
    assert outputs.shape == (len(TEXTS), 2)
