"""Samples of unit length, against scikit-learn."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.preprocessing import normalize

from headrace.blocks import Block, Ragged
from headrace.datasets.base import DataInfo
from sample_fits import dense_sample, fit_apply, step

NORMS = ("l2", "l1", "max")
EVERYTHING = slice(0, 0)


def apply(block: Block, **parameters: Any) -> Any:
    """It learns nothing, and does not look at where the rows lie."""
    return step("normalize", **parameters).apply(block, {}, EVERYTHING)


def matrix(seed: int, rows: int, columns: int, dtype: Any = np.float64) -> np.ndarray:
    """Half zeros, with a row of nothing else."""
    generator = np.random.default_rng(seed)
    values = generator.normal(size=(rows, columns)) * (generator.uniform(size=(rows, columns)) < 0.5)
    values[0] = 0
    return values.astype(dtype)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(seed=st.integers(0, 1000), rows=st.integers(1, 30), columns=st.integers(1, 9))
@settings(deadline=None, max_examples=25)
def test_dense_rows_match_scikit_learn(norm: str, dtype: Any, seed: int, rows: int, columns: int) -> None:
    values = matrix(seed, rows, columns, dtype)
    found = apply(values, norm=norm)
    assert found.dtype == np.float32
    assert found == pytest.approx(normalize(values.astype(np.float64), norm), abs=1e-7)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(seed=st.integers(0, 1000), rows=st.integers(1, 30), columns=st.integers(1, 9))
@settings(deadline=None, max_examples=25)
def test_sparse_rows_match_scikit_learn_and_keep_their_places(
    norm: str, dtype: Any, seed: int, rows: int, columns: int
) -> None:
    values = sparse.csr_array(matrix(seed, rows, columns, dtype))
    # A stored zero is a place too.
    values.data[: values.nnz // 4] = 0
    found = apply(values, norm=norm)
    assert found.data.dtype == np.float32
    assert np.array_equal(found.indices, values.indices)
    assert np.array_equal(found.indptr, values.indptr)
    assert found.shape == values.shape
    assert found.toarray() == pytest.approx(normalize(values.toarray().astype(np.float64), norm), abs=1e-7)


@pytest.mark.parametrize("norm", NORMS)
def test_places_stored_twice_and_out_of_order_count_once(norm: str) -> None:
    values = sparse.csr_array(
        (np.array([3.0, 1.0, 2.0, -1.0, 5.0]), np.array([2, 0, 0, 1, 1]), np.array([0, 3, 3, 5])), shape=(3, 4)
    )
    before = [array.copy() for array in (values.data, values.indices, values.indptr)]
    found = apply(values, norm=norm)
    dense = np.array([[3.0, 0, 3, 0], [0, 0, 0, 0], [0, 4, 0, 0]])
    assert found.toarray() == pytest.approx(normalize(dense, norm), abs=1e-7)
    assert all(np.array_equal(*pair) for pair in zip(before, (values.data, values.indices, values.indptr), strict=True))


@pytest.mark.parametrize("norm", NORMS)
def test_a_matrix_without_any_number_stays(norm: str) -> None:
    found = apply(sparse.csr_array((4, 3), dtype=np.float32), norm=norm)
    assert found.shape == (4, 3)
    assert found.nnz == 0


@pytest.mark.parametrize("size", [1e-320, 1e-200, 1e-38, 1e38, 1e200, 1e307])
@pytest.mark.parametrize(("norm", "expected"), [("l2", [0.6, -0.8]), ("l1", [3 / 7, -4 / 7]), ("max", [0.75, -1])])
def test_huge_and_tiny_numbers_keep_their_proportions(size: float, norm: str, expected: list[float]) -> None:
    values = size * np.array([[3.0, -4.0], [0.0, 0.0]])
    # At 1e-320 a number has three digits left.
    tolerance = 1e-2 if size < 1e-300 else 1e-7
    assert apply(values, norm=norm) == pytest.approx(np.array([expected, [0, 0]]), abs=tolerance)
    assert apply(sparse.csr_array(values), norm=norm).toarray() == pytest.approx(
        np.array([expected, [0, 0]]), abs=tolerance
    )


@pytest.mark.parametrize("norm", NORMS)
def test_all_numbers_of_an_image_are_taken_together(norm: str) -> None:
    images = np.random.default_rng(0).normal(size=(20, 4, 3, 2)).astype(np.float32)
    expected = normalize(images.reshape(20, -1).astype(np.float64), norm).reshape(images.shape)
    assert fit_apply(step("normalize", norm=norm), images) == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("norm", NORMS)
def test_the_steps_of_dense_samples_can_be_taken_by_themselves(norm: str) -> None:
    values = np.random.default_rng(0).normal(size=(20, 4, 3)).astype(np.float32)
    values[3, 2] = 0
    expected = normalize(values.reshape(80, 3).astype(np.float64), norm).reshape(values.shape)
    assert fit_apply(step("normalize", norm=norm, per="step"), values) == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("norm", NORMS)
@given(lengths=st.lists(st.integers(0, 5), min_size=1, max_size=8), seed=st.integers(0, 100))
@settings(deadline=None, max_examples=25)
def test_sequences_are_taken_as_a_whole_or_step_by_step(norm: str, lengths: list[int], seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=(sum(lengths), 3))
    block = Ragged(values, np.array(lengths, np.int64))
    whole, steps = apply(block, norm=norm), apply(block, norm=norm, per="step")
    assert whole.lengths.tolist() == steps.lengths.tolist() == lengths
    for start, stop in zip(block.offsets[:-1], block.offsets[1:], strict=True):
        if stop > start:
            expected = normalize(values[start:stop].reshape(1, -1), norm).reshape(-1, 3)
            assert whole.values[start:stop] == pytest.approx(expected, abs=1e-7)
            assert steps.values[start:stop] == pytest.approx(normalize(values[start:stop], norm), abs=1e-7)


def test_what_comes_out_lies_where_it_did() -> None:
    info = DataInfo(
        tasks=("density",), num_samples=9, shape=(4,), dims=("feature",), dtype="float64", unit_interval=True
    )
    described = step("normalize").describe(info, 9)
    assert (described.shape, described.dtype, described.unit_interval) == ((4,), "float32", True)


@pytest.mark.parametrize("known", [{"shape": (4,)}, {"shape": (4,), "layout": "sparse"}, {"layout": "ragged"}])
def test_there_must_be_steps_with_several_numbers(known: dict[str, Any]) -> None:
    info = DataInfo(**{"tasks": ("density",), "num_samples": 9, "shape": (), "dims": (), **known})
    with pytest.raises(ValueError, match=r"^per: step needs samples of several steps .*; allowed here: sample$"):
        step("normalize", per="step").describe(info, 9)
    assert step("normalize").describe(info, 9).shape == info.shape


def test_blocks_without_rows_stay_without_rows() -> None:
    assert apply(np.empty((0, 3), np.float32)).shape == (0, 3)
    assert dense_sample(np.ones((3, 2))).apply(step("normalize"), {}, [0, 2]).shape == (3, 2)  # type: ignore[union-attr]
