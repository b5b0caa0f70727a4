"""Products and moments of a blocked matrix, against numpy and scipy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from headrace.linalg.matrix import Matrix
from headrace.running.workers import Workers
from sample_fits import row_blocks


@st.composite
def matrices(draw: st.DrawFn) -> tuple[sparse.csr_array, int]:
    """CSR with places in any order, some of them twice, and with empty rows and columns."""
    rows, columns = draw(st.integers(1, 40)), draw(st.integers(1, 20))
    stored = draw(st.integers(0, 120))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    row = np.sort(generator.integers(0, rows, stored))
    indptr = np.concatenate([[0], np.bincount(row, minlength=rows).cumsum()])
    indices = generator.integers(0, columns, stored).astype(np.int32)
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    values = generator.integers(-4, 5, stored).astype(dtype)
    return sparse.csr_array((values, indices, indptr), shape=(rows, columns)), draw(st.integers(1, 9))


@given(matrices(), st.booleans(), st.booleans())
@settings(deadline=None, max_examples=60)
def test_products_are_those_of_the_whole(drawn: tuple[sparse.csr_array, int], is_dense: bool, is_vector: bool) -> None:
    matrix, num_blocks = drawn
    whole = matrix.toarray().astype(float)
    blocked = Matrix(row_blocks(matrix.toarray() if is_dense else matrix, num_blocks=num_blocks))
    assert blocked.shape == whole.shape
    generator = np.random.default_rng(0)
    right, left = (generator.normal(size=n if is_vector else (n, 3)) for n in reversed(whole.shape))
    assert blocked.matmul(right) == pytest.approx(whole @ right, abs=1e-12)
    assert blocked.rmatmul(left) == pytest.approx(whole.T @ left, abs=1e-12)
    assert blocked.gram_matmul(right) == pytest.approx(whole.T @ (whole @ right), abs=1e-10)
    assert blocked.frobenius_norm() == pytest.approx(np.linalg.norm(whole))
    moments = blocked.moments()
    assert moments.count == len(whole)
    assert moments.mean == pytest.approx(whole.mean(axis=0), abs=1e-12)
    assert moments.squares / len(whole) == pytest.approx(whole.var(axis=0), abs=1e-10)


def test_workers_give_the_same_bits_and_keep_their_blocks(one_worker: Workers, two_workers: Workers) -> None:
    generator = np.random.default_rng(0)
    matrix = sparse.random_array((500, 60), density=0.1, format="csr", rng=generator, dtype=np.float32)
    right = generator.normal(size=(60, 4))
    found = set()
    for workers in (None, one_worker, two_workers):
        for mib in (0, 10):
            blocked = Matrix(row_blocks(matrix, num_blocks=7, workers=workers, mib=mib))
            for _ in range(2):
                found.add(blocked.gram_matmul(right).tobytes())
    assert len(found) == 1
