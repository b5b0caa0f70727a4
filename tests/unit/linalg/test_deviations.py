"""Products of deviations from the mean, dense and sparse, against numpy in more digits than it needs."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from headrace.linalg.deviations import CentredMatrix, Comoments, block_comoments
from headrace.running.workers import Workers
from sample_fits import row_blocks


def comoments(values: Any, num_blocks: int = 4) -> Comoments:
    found: Comoments = row_blocks(values, num_blocks=num_blocks).sum(block_comoments)
    return found


def expected_of(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    exact = values.astype(np.longdouble)
    deviations = exact - exact.mean(axis=0)
    return exact.mean(axis=0).astype(float), (deviations.T @ deviations).astype(float)


def assert_near(found: Comoments, values: np.ndarray, digits: float = 1e-12) -> None:
    """Relative to the deviations of the two columns, beyond what the rounding of their means leaves."""
    mean, products = expected_of(values)
    size = np.sqrt(np.diag(products))
    # A mean is off by its last digits, and every deviation from it by as much.
    rounding = 4 * np.finfo(np.float64).eps * np.sqrt(len(values)) * np.abs(mean)
    rounded = np.outer(rounding, size) + np.outer(size, rounding)
    assert found.count == len(values)
    assert found.mean == pytest.approx(mean, rel=1e-12, abs=1e-15)
    assert (np.abs(found.products - products) <= digits * np.outer(size, size) + rounded + 1e-25).all()


@st.composite
def tables(draw: st.DrawFn) -> tuple[np.ndarray, int]:
    num_rows, num_columns = draw(st.integers(1, 60)), draw(st.integers(1, 9))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    values = generator.normal(size=(num_rows, num_columns))
    values[generator.uniform(size=values.shape) > draw(st.sampled_from([0.1, 0.5, 1.0]))] = 0
    values[:, 0] += draw(st.sampled_from([0.0, 3.0, 1e3]))
    if draw(st.booleans()):
        values[:, -1] = 0
    return values.astype(draw(st.sampled_from([np.float32, np.float64]))), draw(st.integers(1, 9))


def as_sparse(values: np.ndarray, *, twice: bool = False) -> sparse.csr_array:
    """Rows whose indices run backwards; each number may be stored as two that add up to it."""
    rows = [np.flatnonzero(row)[::-1] for row in values]
    parts = 2 if twice else 1
    indices = np.concatenate([np.tile(row, parts) for row in rows]).astype(np.int32)
    data = np.concatenate([np.tile(line[row] / parts, parts) for line, row in zip(values, rows, strict=True)])
    edges = np.concatenate([[0], np.cumsum([parts * len(row) for row in rows])]).astype(np.int32)
    return sparse.csr_array((data.astype(values.dtype), indices, edges), shape=values.shape)


@given(tables(), st.booleans())
@settings(deadline=None, max_examples=40)
def test_dense_and_sparse_give_the_deviations_of_numpy(drawn: tuple[np.ndarray, int], twice: bool) -> None:
    values, num_blocks = drawn
    assert_near(comoments(values, num_blocks), values)
    rows = as_sparse(values, twice=twice)
    before = rows.data.copy()
    assert_near(comoments(rows, num_blocks), values)
    assert np.array_equal(rows.data, before)
    right = np.random.default_rng(0).normal(size=(values.shape[1], 3))
    mean, products = expected_of(values)
    bound = 1e-12 * np.diag(products).max() * np.abs(right).sum() + 1e-25
    for matrix in (values, rows):
        centered = CentredMatrix(row_blocks(matrix, num_blocks=num_blocks), mean)
        assert centered.num_columns == values.shape[1]
        assert np.abs(centered.gram_matmul(right) - products @ right).max() <= bound


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_array])
@pytest.mark.parametrize("offset", [1e3, 1e6, -1e8])
def test_a_large_offset_costs_no_digits_but_those_of_the_numbers(form: Any, offset: float) -> None:
    digits = 1e-12 + 4 * np.finfo(float).eps * abs(offset)
    values = np.random.default_rng(0).normal(size=(500, 4))
    values[:, 1:3] += offset
    values[:, 3] *= np.arange(500) % 3 == 0
    assert_near(comoments(form(values), 5), values, digits=digits)
    mean, products = expected_of(values)
    images = CentredMatrix(row_blocks(form(values), num_blocks=5), mean).gram_matmul(np.eye(4))
    assert np.abs(images - products).max() <= digits * products.max()


def test_a_sparse_block_is_never_filled_up(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = sparse.random_array((2000, 50), density=0.01, format="csr", rng=np.random.default_rng(0))
    expected = expected_of(rows.toarray())
    largest = 0

    def noted(make: Any) -> Any:
        def made(*arguments: Any, **options: Any) -> np.ndarray:
            nonlocal largest
            array: np.ndarray = make(*arguments, **options)
            largest = max(largest, array.size)
            return array

        return made

    for form in (sparse.csr_array, sparse.csc_array):
        for name in ("toarray", "todense"):
            monkeypatch.setattr(form, name, noted(getattr(form, name)))
    found = comoments(rows, 2)
    assert found.products == pytest.approx(expected[1], abs=1e-12)
    images = CentredMatrix(row_blocks(rows, num_blocks=2), found.mean).gram_matmul(np.eye(50))
    assert images == pytest.approx(expected[1], abs=1e-12)
    assert largest == 50 * 50


def test_workers_give_the_same_bits_as_this_process(one_worker: Workers, two_workers: Workers) -> None:
    rows = sparse.random_array((300, 20), density=0.2, format="csr", rng=np.random.default_rng(0))
    here, *there = (
        row_blocks(rows, num_blocks=7, workers=workers).sum(block_comoments)
        for workers in (None, one_worker, two_workers)
    )
    for other in there:
        assert other.mean.tobytes() == here.mean.tobytes()
        assert other.products.tobytes() == here.products.tobytes()
