"""Tf-idf against scikit-learn's TfidfTransformer."""

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.feature_extraction.text import TfidfTransformer

from headrace.datasets.base import DataInfo
from sample_fits import Sample, as_dense, dense_sample, step

COMBINATIONS = [
    {"sublinear": sublinear, "smooth": smooth, "norm": norm}
    for sublinear, smooth, norm in itertools.product([False, True], [False, True], ["l2", "l1", "none"])
]
every_combination = pytest.mark.parametrize("parameters", COMBINATIONS, ids=str)


def sample_of(counts: Any, num_train: int | None = None) -> Sample:
    if isinstance(counts, np.ndarray):
        return dense_sample(counts, num_train)
    info = DataInfo(("density",), counts.shape[0], counts.shape[1:], ("term",), layout="sparse", num_values=counts.nnz)
    return Sample(counts, info, counts.shape[0] if num_train is None else num_train)


def transformed(counts: Any, parameters: dict[str, Any], num_train: int | None = None, num_blocks: int = 4) -> Any:
    sample = sample_of(counts, num_train)
    spec = step("tfidf", **parameters)
    return sample.apply(spec, spec.fit(sample.fit_data(num_blocks)))


def expected_of(counts: np.ndarray, parameters: dict[str, Any], num_train: int | None = None) -> np.ndarray:
    transformer = TfidfTransformer(
        norm=None if parameters["norm"] == "none" else parameters["norm"],
        smooth_idf=parameters["smooth"],
        sublinear_tf=parameters["sublinear"],
    )
    exact = sparse.csr_array(counts.astype(np.float64))
    found: np.ndarray = transformer.fit(exact[:num_train]).transform(exact).toarray()
    return found


def counts_of(rows: int, columns: int, seed: int) -> np.ndarray:
    """Counts with empty rows; every column is held by a row."""
    generator = np.random.default_rng(seed)
    counts = generator.poisson(0.4, (rows, columns)) * generator.integers(1, 9, (rows, columns))
    counts[:: max(2, rows // 3)] = 0
    counts[1 + np.arange(columns) % (rows - 1), np.arange(columns)] += 1
    return counts


@every_combination
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("layout", ["dense", "sparse"])
def test_it_is_that_of_scikit_learn(parameters: dict[str, Any], dtype: type, layout: str) -> None:
    counts = counts_of(41, 23, 0)
    given = counts.astype(dtype) if layout == "dense" else sparse.csr_array(counts.astype(dtype))
    found = transformed(given, parameters)
    assert found.dtype == np.float32
    assert (layout == "sparse") == isinstance(found, sparse.csr_array)
    expected = expected_of(counts, parameters)
    assert as_dense(found) == pytest.approx(expected, rel=1e-6, abs=1e-6)


@given(
    rows=st.integers(2, 30),
    columns=st.integers(1, 12),
    num_blocks=st.integers(1, 7),
    seed=st.integers(0, 1000),
    parameters=st.sampled_from(COMBINATIONS),
)
@settings(deadline=None, max_examples=40)
def test_neither_duplicates_nor_zeros_nor_their_order_count(
    rows: int, columns: int, num_blocks: int, seed: int, parameters: dict[str, Any]
) -> None:
    counts = counts_of(rows, columns, seed)
    generator = np.random.default_rng(seed)
    stored: list[list[tuple[int, float]]] = []
    for row in counts:
        parts = [(column, float(value)) for column, value in enumerate(row) if value]
        parts += [(int(generator.integers(columns)), 0.0), (column := int(generator.integers(columns)), 2.0)]
        parts += [(column, -3.0), (column, 1.0)]
        stored.append([parts[i] for i in generator.permutation(len(parts))])
    given = sparse.csr_array(
        (
            np.array([value for row in stored for _, value in row], np.float32),
            np.array([column for row in stored for column, _ in row], np.int32),
            np.cumsum([0, *map(len, stored)]).astype(np.int32),
        ),
        shape=counts.shape,
    )
    before = [part.tobytes() for part in (given.data, given.indices, given.indptr)]
    spec = step("tfidf", **parameters)
    found = spec.apply(given, spec.fit(sample_of(given).fit_data(num_blocks)), slice(0, rows))
    assert isinstance(found, sparse.csr_array)
    assert found.toarray() == pytest.approx(expected_of(counts, parameters), rel=1e-6, abs=1e-6)
    assert found.nnz == np.count_nonzero(counts)
    assert found.has_canonical_format
    assert [part.tobytes() for part in (given.data, given.indices, given.indptr)] == before


@every_combination
@pytest.mark.parametrize("layout", ["dense", "sparse"])
def test_frequencies_are_those_of_the_training_split(parameters: dict[str, Any], layout: str) -> None:
    counts = counts_of(40, 9, 3)
    counts[:25] += counts_of(25, 9, 4)
    counts[25:] *= 7
    given = counts.astype(np.float32) if layout == "dense" else sparse.csr_array(counts.astype(np.float32))
    found = as_dense(transformed(given, parameters, num_train=25))
    assert found == pytest.approx(expected_of(counts, parameters, 25), rel=1e-6, abs=1e-6)
    alone = step("tfidf", **parameters).fit(sample_of(given[:25]).fit_data())
    assert (
        alone["weights"].tobytes()
        == step("tfidf", **parameters).fit(sample_of(given, 25).fit_data())["weights"].tobytes()
    )


@pytest.mark.parametrize("smooth", [False, True])
def test_a_term_that_was_never_seen_has_a_finite_weight(smooth: bool) -> None:
    counts = sparse.csr_array(np.array([[1, 0, 1], [1, 0, 0], [1, 2, 1]], np.float32))
    sample = sample_of(counts, num_train=2)
    weights = step("tfidf", smooth=smooth).fit(sample.fit_data())["weights"]
    assert weights.tolist() == pytest.approx(
        [1, 1 + np.log(3), 1 + np.log(1.5)] if smooth else [1, 1 + np.log(2), 1 + np.log(2)]
    )


def test_signed_counts_keep_their_signs() -> None:
    counts = np.array([[-3.0, 0, 4], [1, -1, 0]], np.float32)
    for block in (counts, sparse.csr_array(counts)):
        found = as_dense(transformed(block, {"sublinear": True, "smooth": False, "norm": "none"}))
        weight = 1 + np.log(2)
        expected = [[-(1 + np.log(3)), 0, (1 + np.log(4)) * weight], [1, -weight, 0]]
        assert found == pytest.approx(np.array(expected), rel=1e-6)
        assert np.abs(as_dense(transformed(block, {"norm": "l1"}))).sum(axis=1) == pytest.approx(1, rel=1e-6)


def test_samples_of_any_shape_are_divided_as_a_whole() -> None:
    counts = counts_of(12, 20, 1).astype(np.float32)
    found = transformed(counts.reshape(12, 4, 5), {"norm": "l2"})
    assert found.shape == (12, 4, 5)
    assert found.reshape(12, 20) == pytest.approx(transformed(counts, {"norm": "l2"}), rel=1e-6)


@pytest.mark.parametrize("num_blocks", [1, 3, 12])
def test_the_cut_of_the_blocks_changes_no_bit(num_blocks: int) -> None:
    counts = sparse.csr_array(counts_of(12, 5, 1).astype(np.float32))
    states = [step("tfidf").fit(sample_of(counts).fit_data(num))["weights"].tobytes() for num in (2, num_blocks)]
    assert states[0] == states[1]


def test_the_shape_stays_and_the_range_does_not() -> None:
    info = DataInfo(("density",), 9, (4, 5), ("height", "width"), unit_interval=True, dtype="float64")
    described = step("tfidf").describe(info, 5)
    assert (described.shape, described.unit_interval, described.dtype) == ((4, 5), False, "float32")


def test_no_rows_give_none() -> None:
    spec = step("tfidf")
    state = spec.fit(sample_of(sparse.csr_array(np.eye(3, dtype=np.float32))).fit_data())
    for none in (np.empty((0, 3), np.float32), sparse.csr_array((0, 3), dtype=np.float32)):
        assert spec.apply(none, state, slice(0, 0)).shape == (0, 3)
