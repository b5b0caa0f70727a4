"""LSQR against scipy, numpy and the blocked matrix."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.sparse import linalg
from threadpoolctl import threadpool_limits

from headrace.linalg.blocks import RowBlocks
from headrace.linalg.krylov import Solution
from headrace.linalg.lsqr import Held, Operator, lsqr
from headrace.linalg.matrix import Matrix
from headrace.linalg.progress import Progress
from sample_fits import row_blocks
from sample_systems import assert_same_after_any_kill, rectangular, relative_error


@pytest.fixture(scope="module", autouse=True)
def one_blas_thread() -> Iterator[None]:
    with threadpool_limits(1):
        yield


def run(
    operator: Operator | np.ndarray | sparse.csr_array,
    right: np.ndarray,
    *,
    damping: float = 0.0,
    tolerance: float = 1e-13,
    max_iterations: int = 5000,
    progress: Progress | None = None,
) -> Solution:
    return lsqr(
        Held(sparse.csr_array(operator)) if isinstance(operator, np.ndarray | sparse.csr_array) else operator,
        right,
        damping=damping,
        tolerance=tolerance,
        max_iterations=max_iterations,
        progress=progress or Progress(),
    )


def least_squares(matrix: np.ndarray, right: np.ndarray, damping: float) -> np.ndarray:
    """By a dense decomposition: the shortest of all best x."""
    left, values, rows = np.linalg.svd(matrix, full_matrices=False)
    kept = values > 1e-13 * values.max(initial=1e-300)
    shares = np.where(kept, values, 0) / np.where(kept, values**2 + damping**2, 1)
    return rows.T @ (shares[:, None] * (left.T @ right))


def gradients(matrix: np.ndarray, right: np.ndarray, x: np.ndarray, damping: float) -> np.ndarray:
    """What is measured, written out anew."""
    stacked = np.vstack([matrix, damping * np.eye(matrix.shape[1])])
    residual = np.vstack([right, np.zeros((matrix.shape[1], right.shape[1]))]) - stacked @ x
    sizes = np.linalg.norm(residual, axis=0)
    normal = np.linalg.norm(stacked.T @ residual, axis=0) / np.linalg.norm(stacked) / sizes
    return np.minimum(sizes / np.linalg.norm(right, axis=0), normal)


@pytest.mark.parametrize("damping", [0.0, 1e-2, 3.0])
@pytest.mark.parametrize("shape", [(90, 40), (40, 90), (50, 50)])
@pytest.mark.parametrize("condition", [1.0, 30.0, 1e3])
def test_solutions_match_scipy_and_numpy(shape: tuple[int, int], condition: float, damping: float) -> None:
    matrix = rectangular(*shape, np.geomspace(1, 1 / condition, min(shape)))
    scale = np.array([1, 1e-5, 1e8, 1])
    right = np.random.default_rng(1).normal(size=(shape[0], 4))
    found = run(matrix, right * scale, damping=damping, tolerance=1e-14)
    assert relative_error(found.x, least_squares(matrix, right * scale, damping)) < 1e-8
    reference = [
        linalg.lsqr(matrix, column, damp=damping, atol=1e-15, btol=1e-15, iter_lim=10_000)[0] for column in right.T
    ]
    assert relative_error(found.x, np.stack(reference, axis=1) * scale) < 1e-8


def test_an_ill_conditioned_system_is_solved_with_damping() -> None:
    matrix = rectangular(80, 60, np.geomspace(1, 1e-10, 60))
    right = np.random.default_rng(0).normal(size=(80, 3))
    for damping in (1e-3, 1e-2, 0.3):
        found = run(matrix, right, damping=damping, tolerance=1e-14)
        assert relative_error(found.x, least_squares(matrix, right, damping)) < 1e-8


@given(
    num_rows=st.integers(1, 40),
    num_columns=st.integers(1, 40),
    rank=st.integers(0, 12),
    columns=st.integers(1, 4),
    damping=st.sampled_from([0.0, 0.1, 2.0]),
    empty=st.integers(0, 3),
    seed=st.integers(0, 2**32 - 1),
)
@settings(deadline=None, max_examples=40)
def test_any_rank_gives_the_shortest_least_squares(
    num_rows: int, num_columns: int, rank: int, columns: int, damping: float, empty: int, seed: int
) -> None:
    rank = min(rank, num_rows, num_columns)
    matrix = rectangular(num_rows, num_columns, np.linspace(1, 3, rank), seed)
    matrix[:empty], matrix[:, num_columns - empty :] = 0, 0
    right = np.random.default_rng(seed).normal(size=(num_rows, columns))
    right[:, 0] *= columns > 2
    expected = least_squares(matrix, right, damping)
    found = run(matrix, right, damping=damping, tolerance=1e-13)
    assert (found.measures <= 1e-13).all() or relative_error(found.x, expected) < 1e-8
    if np.linalg.norm(matrix) and np.linalg.cond(matrix[np.ix_(matrix.any(1), matrix.any(0))]) < 1e3:
        assert relative_error(found.x, expected) < 1e-8


@pytest.mark.parametrize("damping", [0.0, 0.5])
def test_what_is_said_is_computed_from_the_matrix(damping: float) -> None:
    matrix = rectangular(70, 30, np.geomspace(1, 1e-3, 30))
    right = np.random.default_rng(0).normal(size=(70, 2))
    for iterations in (1, 5, 12):
        progress = Progress()
        found = run(matrix, right, damping=damping, max_iterations=iterations, tolerance=1e-13, progress=progress)
        expected = gradients(matrix, right, found.x, damping)
        assert found.measures == pytest.approx(expected, rel=1e-6, abs=1e-15)
        # The recurrence of Paige and Saunders says the same, without damping and with it.
        assert progress.trace[-1]["value"] == pytest.approx(expected.max(), rel=1e-6, abs=1e-13)


def test_each_iteration_is_that_of_scipy() -> None:
    matrix, right = rectangular(30, 20, np.geomspace(1, 0.01, 20)), np.random.default_rng(0).normal(size=(30, 1))
    for damping in (0.0, 0.2):
        for iterations in range(1, 8):
            found = run(matrix, right, damping=damping, max_iterations=iterations)
            x, *_ = linalg.lsqr(matrix, right[:, 0], damp=damping, atol=0, btol=0, iter_lim=iterations)
            assert found.x[:, 0] == pytest.approx(x, rel=1e-9, abs=1e-11)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("layout", ["dense", "sparse"])
def test_blocks_on_disk_give_what_a_matrix_in_memory_does(layout: str, dtype: type) -> None:
    values = np.random.default_rng(0).normal(size=(61, 9)).astype(dtype)
    values[np.abs(values) < 0.7] = 0
    right = np.random.default_rng(1).normal(size=(61, 3))
    found = run(Matrix(row_blocks(values if layout == "dense" else sparse.csr_array(values))), right, damping=0.1)
    expected = least_squares(values.astype(np.float64), right, 0.1)
    assert relative_error(found.x, expected) < 1e-9
    assert relative_error(run(values.astype(np.float64), right, damping=0.1).x, expected) < 1e-9


def test_a_matrix_in_memory_multiplies_from_both_sides() -> None:
    values = np.random.default_rng(0).normal(size=(7, 4))
    held, blocks = Held(sparse.csr_array(values)), Matrix(RowBlocks([lambda: values]))
    right, left = np.ones((4, 2)), np.ones((7, 3))
    assert held.shape == blocks.shape
    assert held.matmul(right) == pytest.approx(values @ right)
    assert held.rmatmul(left) == pytest.approx(values.T @ left)
    assert held.frobenius_norm() == pytest.approx(np.linalg.norm(values))


@pytest.mark.parametrize("damping", [0.0, 0.1])
def test_a_column_has_the_same_bits_whatever_stands_beside_it(damping: float) -> None:
    matrix = sparse.random_array((60, 45), density=0.1, rng=np.random.default_rng(0), format="csr")
    right = np.random.default_rng(0).normal(size=(60, 6))
    right[:, 3] = 0
    together = run(matrix, right, damping=damping, tolerance=1e-9)
    for chosen in ([0], [2], [1, 3], [5, 4, 3]):
        alone = run(matrix, right[:, chosen], damping=damping, tolerance=1e-9)
        assert alone.x.tobytes() == together.x[:, chosen].tobytes()


@pytest.mark.parametrize("matrix", [np.zeros((5, 3)), np.array([[1.0, 2], [0, 0], [0, 0]])])
def test_what_no_x_can_change_is_done_at_once(matrix: np.ndarray) -> None:
    progress, right = Progress(), np.zeros((len(matrix), 2))
    right[1:] = 1
    found = run(matrix, right, progress=progress)
    assert not found.x.any()
    assert not found.measures.any()
    assert not progress.trace


def test_what_rounding_does_not_allow_is_not_tried_for_ever() -> None:
    matrix, progress = rectangular(60, 30, np.geomspace(1, 0.01, 30)), Progress()
    right = np.random.default_rng(0).normal(size=(60, 3))
    found = run(matrix, right, tolerance=1e-300, max_iterations=100_000, progress=progress)
    assert len(progress.trace) < 3000
    assert relative_error(found.x, least_squares(matrix, right, 0)) < 1e-11


@pytest.mark.parametrize("damping", [0.0, 0.1])
def test_a_solver_that_was_killed_goes_on_to_the_same_bits(tmp_path: Path, damping: float) -> None:
    matrix, right = rectangular(30, 16, np.linspace(1, 3, 16)), np.random.default_rng(0).normal(size=(30, 3))
    right[:, 1] = matrix[:, 0]

    def solver(progress: Progress) -> Solution:
        return run(matrix, right, damping=damping, tolerance=1e-10, progress=progress)

    assert_same_after_any_kill(solver, tmp_path)
