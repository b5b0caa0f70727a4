"""Products of one block, sorted by columns or as it is, against numpy and scipy."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import sparse

from headrace.linalg import compiled, kernels, residence
from headrace.linalg.matrix import Matrix
from headrace.running.workers import Workers
from sample_fits import row_blocks


def make_rows(rows: int, columns: int, stored: int, seed: int, dtype: str = "float32") -> sparse.csr_array:
    """Whole numbers in places in any order, some of them twice."""
    generator = np.random.default_rng(seed)
    borders = np.concatenate([[0], np.bincount(generator.integers(0, rows, stored), minlength=rows).cumsum()])
    places = generator.integers(0, columns, stored).astype(np.int32)
    values = generator.integers(-4, 5, stored).astype(dtype)
    return sparse.csr_array((values, places, borders.astype(np.int32)), shape=(rows, columns))


def whole_numbers(rows: int, columns: int) -> np.ndarray:
    return np.random.default_rng(1).integers(-5, 6, (rows, columns)).astype(np.float64)


@given(
    st.integers(1, 60),
    st.integers(1, 30),
    st.integers(0, 400),
    st.sampled_from([1, 7, 8, 23, 24, 25, 50]),
    st.sampled_from(["float32", "float64", "int64"]),
    st.integers(0, 2**32 - 1),
)
@example(1, 1, 400, 24, "float64", 0)
@example(60, 30, 30, 24, "float64", 0)
@settings(deadline=None, max_examples=60)
def test_gram_products_are_those_of_the_whole(
    rows: int, columns: int, stored: int, width: int, dtype: str, seed: int
) -> None:
    block = make_rows(rows, columns, stored, seed, dtype)
    whole, right = block.toarray().astype(float), whole_numbers(columns, width)
    # Whole numbers: no order of sums changes them.
    expected = whole.T @ (whole @ right)
    for form in (block, kernels.by_columns(block), block.toarray()):
        assert np.array_equal(kernels.gram_times(form, right), expected)


def test_rows_are_sorted_some_thousands_at_a_time() -> None:
    block = make_rows(10_000, 40, 60_000, 0)
    found = kernels.by_columns(block)
    assert (found.most, found.ends.shape) == (kernels.SORTED_ROWS, (3, 40))
    for part, ends in enumerate(found.ends):
        own = block[part * found.most : (part + 1) * found.most].tocoo()
        begin = found.ends[part - 1, -1] if part else 0
        order = np.argsort(own.col, kind="stable")
        assert np.array_equal(found.rows[begin : ends[-1]], own.row[order])
        assert np.array_equal(found.values[begin : ends[-1]], own.data[order])
        assert np.array_equal(ends - begin, np.bincount(own.col, minlength=40).cumsum())
    right = whole_numbers(40, 24)
    assert np.array_equal(kernels.gram_times(found, right), block.T @ (block @ right))


def test_more_rows_are_sorted_where_columns_are_hardly_filled_and_no_more_than_two_bytes_count() -> None:
    assert kernels.by_columns(make_rows(9000, 9000, 18_000, 0)).most == 9000
    assert kernels.by_columns(make_rows(70_000, 70_000, 80_000, 0)).most == kernels.MOST_ROWS


def test_what_is_not_worth_sorting_stays_as_it_is() -> None:
    dense, hardly_filled = np.ones((3, 4)), make_rows(9, 50, 49, 0)
    assert kernels.by_columns(dense) is dense
    assert kernels.by_columns(hardly_filled) is hardly_filled
    assert isinstance(kernels.by_columns(make_rows(9, 50, 50, 0)), kernels.ByColumns)


def test_a_sorted_block_takes_less_room() -> None:
    block = make_rows(8000, 100, 80_000, 0)
    assert residence.num_bytes(kernels.by_columns(block)) < residence.num_bytes(block)


def test_blocks_are_as_wide_as_what_is_multiplied_at_once() -> None:
    from headrace.linalg import svd

    assert svd.NARROWEST == compiled.PANEL


@pytest.mark.parametrize("is_dense", [True, False], ids=["dense", "sparse"])
def test_workers_give_the_same_bits(one_worker: Workers, two_workers: Workers, is_dense: bool) -> None:
    generator = np.random.default_rng(0)
    matrix = sparse.random_array((900, 60), density=0.1, format="csr", rng=generator, dtype=np.float32)
    block = matrix.toarray() if is_dense else matrix
    right = generator.normal(size=(60, 30))
    found = set()
    for workers in (None, one_worker, two_workers):
        for mib in (0, 10):
            blocked = Matrix(row_blocks(block, num_blocks=7, workers=workers, mib=mib))
            for _ in range(2):
                found.add(blocked.gram_matmul(right).tobytes())
    assert len(found) == 1
    assert np.frombuffer(found.pop()).reshape(60, 30) == pytest.approx(matrix.T @ (matrix @ right), abs=1e-4)


@given(st.integers(1, 60), st.integers(1, 30), st.integers(0, 400), st.sampled_from(["float32", "float64", "int64"]))
@settings(deadline=None, max_examples=40)
def test_products_with_vectors_are_those_of_the_whole(rows: int, columns: int, stored: int, dtype: str) -> None:
    block = make_rows(rows, columns, stored, 0, dtype)
    whole = block.toarray().astype(float)
    right, left = whole_numbers(columns, 1)[:, 0], whole_numbers(rows, 1)[:, 0]
    for form in (block, block.toarray()):
        assert np.array_equal(kernels.times(form, right), whole @ right)
        assert np.array_equal(kernels.transposed_times(form, left), whole.T @ left)
