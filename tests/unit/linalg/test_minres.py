"""MINRES against scipy, numpy and its own promises."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.sparse import linalg
from threadpoolctl import threadpool_limits

from headrace.errors import StageError
from headrace.linalg.krylov import Solution
from headrace.linalg.minres import minres
from headrace.linalg.progress import Progress
from sample_systems import assert_same_after_any_kill, path_laplacian, relative_error, symmetric


@pytest.fixture(scope="module", autouse=True)
def one_blas_thread() -> Iterator[None]:
    with threadpool_limits(1):
        yield


def run(
    matrix: np.ndarray | sparse.csr_array,
    right: np.ndarray,
    *,
    tolerance: float = 1e-12,
    max_iterations: int = 5000,
    progress: Progress | None = None,
) -> Solution:
    return minres(
        lambda columns: matrix @ columns,
        right,
        tolerance=tolerance,
        max_iterations=max_iterations,
        progress=progress or Progress(),
    )


def indefinite(condition: float, size: int = 60) -> np.ndarray:
    return symmetric(np.geomspace(1, 1 / condition, size) * np.where(np.arange(size) % 2, -1, 1))


@pytest.mark.parametrize("condition", [1.0, 10.0, 1e4, 1e6])
def test_solutions_match_scipy_and_numpy(condition: float) -> None:
    matrix = indefinite(condition)
    right = np.random.default_rng(1).normal(size=(60, 4))
    found = run(matrix, right * np.array([1, 1e-5, 1e8, 1]), tolerance=max(1e-14, 1e-15 * condition))
    expected = np.linalg.solve(matrix, right) * np.array([1, 1e-5, 1e8, 1])
    assert relative_error(found.x, expected) < 1e-8
    reference = np.stack([linalg.minres(matrix, column, rtol=1e-16, maxiter=10_000)[0] for column in right.T], axis=1)
    assert relative_error(found.x, reference * np.array([1, 1e-5, 1e8, 1])) < 1e-8


@given(
    size=st.integers(1, 50),
    columns=st.integers(1, 5),
    shift=st.sampled_from([0.0, 1e-3, 1.0, -0.5, -2.0]),
    zeros=st.integers(0, 4),
    seed=st.integers(0, 2**32 - 1),
)
@settings(deadline=None, max_examples=40)
def test_sparse_systems_match_a_direct_solver(size: int, columns: int, shift: float, zeros: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    half = sparse.random_array((size, size), density=0.3, rng=generator, format="csr")
    matrix = (half + half.T + shift * sparse.eye_array(size)).tocsr()
    right = matrix @ generator.normal(size=(size, columns))
    right[:, :zeros] = 0
    # Nearly singular matrices are drawn too: what can be said of all of them is the residual.
    found = run(matrix, right, tolerance=1e-8)
    left = np.linalg.norm(right - matrix @ found.x, axis=0)
    assert (left <= 1.01e-8 * np.linalg.norm(right, axis=0)).all()
    assert not found.x[:, :zeros].any()
    if np.linalg.cond(matrix.toarray()) < 1e3:
        assert relative_error(run(matrix, right).x, np.linalg.solve(matrix.toarray(), right)) < 1e-8


def test_residuals_never_grow() -> None:
    progress = Progress()
    run(indefinite(1e3), np.random.default_rng(0).normal(size=(60, 1)), tolerance=1e-9, progress=progress)
    values = [line["value"] for line in progress.trace]
    assert all(after <= before * (1 + 1e-9) for before, after in pairwise(values))


def test_each_iteration_is_the_best_of_its_krylov_space() -> None:
    matrix, right = indefinite(50, 20), np.random.default_rng(0).normal(size=(20, 1))
    space = right
    for iterations in range(1, 8):
        found = run(matrix, right, max_iterations=iterations)
        basis, _ = np.linalg.qr(space)
        _, squares, *_ = np.linalg.lstsq(matrix @ basis, right)
        assert found.measures[0] == pytest.approx(np.sqrt(squares[0]) / np.linalg.norm(right), rel=1e-8)
        space = np.hstack([space, matrix @ space[:, -1:]])


def test_a_column_has_the_same_bits_whatever_stands_beside_it() -> None:
    matrix = (path_laplacian(80) - 0.8 * sparse.eye_array(80)).tocsr()
    right = np.random.default_rng(0).normal(size=(80, 6))
    right[:, 3] = 0
    together = run(matrix, right, tolerance=1e-9)
    for chosen in ([0], [2], [1, 3], [5, 4, 3]):
        assert run(matrix, right[:, chosen], tolerance=1e-9).x.tobytes() == together.x[:, chosen].tobytes()


@pytest.mark.parametrize("size", [5, 20, 200])
def test_a_singular_matrix_gives_least_squares(size: int) -> None:
    matrix, progress = path_laplacian(size), Progress()
    right = np.random.default_rng(size).normal(size=(size, 3))
    found = run(matrix, right, tolerance=1e-10, progress=progress)
    least = np.abs(right.mean(axis=0)) * np.sqrt(size) / np.linalg.norm(right, axis=0)
    assert found.measures == pytest.approx(least, rel=1e-8)
    assert len(progress.trace) < 2 * size + 10
    solvable = right - right.mean(axis=0)
    assert (run(matrix, solvable, tolerance=1e-10).measures <= 1e-10).all()


@pytest.mark.parametrize("seed", range(20))
def test_what_rounding_leaves_of_a_singular_matrix_is_not_divided_by(seed: int) -> None:
    matrix = symmetric(np.r_[np.linspace(1, 2, 9), 0.0], seed)
    right, progress = np.random.default_rng(seed).normal(size=(10, 3)), Progress()
    found = run(matrix, right, tolerance=1e-10, progress=progress)
    _, vectors = np.linalg.eigh(matrix)
    least = np.abs(vectors[:, 0] @ right) / np.linalg.norm(right, axis=0)
    assert found.measures == pytest.approx(least, rel=1e-6)
    assert np.abs(found.x).max() < 1e6
    assert len(progress.trace) < 30


@pytest.mark.parametrize("matrix", [np.zeros((4, 4)), path_laplacian(4)])
def test_what_the_matrix_maps_to_zero_is_given_up_at_once(matrix: np.ndarray | sparse.csr_array) -> None:
    progress = Progress()
    found = run(matrix, np.ones((4, 2)), progress=progress)
    assert not found.x.any()
    assert found.measures == pytest.approx([1, 1])
    assert len(progress.trace) == 1


def test_what_rounding_does_not_allow_is_not_tried_for_ever() -> None:
    matrix, progress = indefinite(100), Progress()
    right = np.random.default_rng(0).normal(size=(60, 3))
    found = run(matrix, right, tolerance=1e-300, max_iterations=100_000, progress=progress)
    assert len(progress.trace) < 3000
    assert relative_error(found.x, np.linalg.solve(matrix, right)) < 1e-11


def test_iterations_stop_at_the_limit_and_the_rest_is_said() -> None:
    matrix, progress = indefinite(1e4), Progress()
    right = np.random.default_rng(0).normal(size=(60, 2))
    found = run(matrix, right, max_iterations=9, progress=progress)
    assert len(progress.trace) == 9
    left = np.linalg.norm(right - matrix @ found.x, axis=0) / np.linalg.norm(right, axis=0)
    assert found.measures == pytest.approx(left, rel=1e-10)


def test_a_solver_that_was_killed_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    matrix, right = indefinite(10, 24), np.random.default_rng(0).normal(size=(24, 3))
    right[:, 1] = np.linalg.eigh(matrix)[1][:, 0]
    assert_same_after_any_kill(lambda progress: run(matrix, right, tolerance=1e-10, progress=progress), tmp_path)


def test_numbers_that_are_none_are_refused() -> None:
    with pytest.raises(StageError, match=r"^the product with the matrix is no finite number$"):
        run(np.full((3, 3), np.nan), np.ones((3, 1)))
