"""Conjugate gradients against scipy, numpy and themselves."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.linalg import hilbert
from scipy.sparse.linalg import cg, spsolve
from threadpoolctl import threadpool_limits

from headrace.errors import StageError
from headrace.linalg.conjugate import _Conjugate, conjugate_gradients, jacobi
from headrace.linalg.krylov import Multiply, Solution, dots
from headrace.linalg.progress import Progress
from sample_systems import assert_same_after_any_kill, path_laplacian, relative_error, symmetric


@pytest.fixture(scope="module", autouse=True)
def one_blas_thread() -> Iterator[None]:
    with threadpool_limits(1):
        yield


def shifted(size: int, shift: float) -> sparse.csr_array:
    return (path_laplacian(size) + shift * sparse.eye_array(size)).tocsr()


def run(
    matrix: np.ndarray | sparse.csr_array,
    right: np.ndarray,
    *,
    tolerance: float = 1e-12,
    max_iterations: int = 3000,
    progress: Progress | None = None,
    precondition: Multiply | None = None,
    scaled: bool = True,
) -> Solution:
    return conjugate_gradients(
        lambda columns: matrix @ columns,
        right,
        diagonal=matrix.diagonal() if scaled else None,
        precondition=precondition,
        tolerance=tolerance,
        max_iterations=max_iterations,
        progress=progress or Progress(),
    )


@pytest.mark.parametrize("scaled", [True, False])
@pytest.mark.parametrize("condition", [1.0, 10.0, 1e4, 1e6])
def test_solutions_match_scipy_and_numpy(condition: float, scaled: bool) -> None:
    matrix = symmetric(np.geomspace(1, 1 / condition, 60))
    right = np.random.default_rng(1).normal(size=(60, 5)) * np.array([1, 1e-5, 1e8, 1, 1])
    # The residual that double precision allows grows with the condition.
    found = run(matrix, right, tolerance=max(1e-14, 1e-15 * condition), scaled=scaled)
    assert relative_error(found.x, np.linalg.solve(matrix, right)) < 1e-8
    reference = np.stack([cg(matrix, column, rtol=1e-14, maxiter=10_000)[0] for column in right.T], axis=1)
    assert relative_error(found.x, reference) < 1e-8
    left = np.linalg.norm(right - matrix @ found.x, axis=0) / np.linalg.norm(right, axis=0)
    assert found.measures == pytest.approx(left, rel=1e-2, abs=1e-15 + 1e-17 * condition)


@given(
    size=st.integers(1, 60),
    columns=st.integers(1, 6),
    shift=st.floats(1e-3, 10),
    zeros=st.integers(0, 5),
    seed=st.integers(0, 2**32 - 1),
)
@settings(deadline=None, max_examples=40)
def test_sparse_systems_match_a_direct_solver(size: int, columns: int, shift: float, zeros: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    lower = sparse.random_array((size, size), density=0.2, rng=generator, format="csr")
    matrix = (lower @ lower.T + shift * sparse.eye_array(size)).tocsr()
    right = generator.normal(size=(size, columns))
    right[:, :zeros] = 0
    found = run(matrix, right, tolerance=1e-12)
    assert relative_error(found.x, spsolve(matrix.tocsc(), right).reshape(size, -1)) < 1e-8
    assert not found.x[:, :zeros].any()
    assert (found.measures <= 1e-12).all()


def test_a_column_has_the_same_bits_whatever_stands_beside_it() -> None:
    matrix = shifted(80, 0.01)
    right = np.random.default_rng(0).normal(size=(80, 7))
    right[:, 2] = matrix[:, [4]].toarray()[:, 0]
    right[:, 3] = 0
    together = run(matrix, right, tolerance=1e-9)
    for chosen in ([0], [2], [1, 3], [6, 5, 4], [2, 2]):
        assert run(matrix, right[:, chosen], tolerance=1e-9).x.tobytes() == together.x[:, chosen].tobytes()


@given(rows=st.integers(1, 300), columns=st.integers(1, 9), seed=st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=40)
def test_inner_products_do_not_depend_on_the_columns_beside(rows: int, columns: int, seed: int) -> None:
    left, right = np.random.default_rng(seed).normal(size=(2, rows, columns))
    products = dots(left, right)
    assert products == pytest.approx((left * right).sum(axis=0), rel=1e-12, abs=1e-12)
    for i in range(columns):
        assert dots(left[:, [i]], right[:, [i]])[0] == products[i]
    assert dots(np.asfortranarray(left), right).tobytes() == products.tobytes()


def test_columns_that_are_done_are_multiplied_no_more() -> None:
    matrix, widths = shifted(200, 1e-4), []

    def multiply(columns: np.ndarray) -> np.ndarray:
        widths.append(columns.shape[1])
        return matrix @ columns

    hard = np.random.default_rng(0).normal(size=200)
    easy = matrix @ np.cos(np.pi * (np.arange(200) + 0.5) * 150 / 200)
    progress = Progress()
    conjugate_gradients(
        multiply, np.stack([hard, easy], axis=1), tolerance=1e-10, max_iterations=1000, progress=progress
    )
    assert widths[:2] == [2, 2]
    # An eigenvector is solved for by one step, and then looked at once more; all columns are at the end.
    assert widths[2:-1].count(1) >= len(progress.trace)
    assert widths[-1] == 2


def test_a_better_preconditioner_takes_fewer_iterations() -> None:
    matrix = shifted(300, 1e-3)
    right = np.random.default_rng(0).normal(size=(300, 2))
    inverse = np.linalg.inv(matrix.toarray())
    plain, perfect = Progress(), Progress()
    expected = run(matrix, right, progress=plain).x
    found = run(matrix, right, progress=perfect, precondition=lambda columns: inverse @ columns).x
    assert relative_error(found, expected) < 1e-8
    assert len(perfect.trace) <= 3 < len(plain.trace)


def test_numbers_of_any_size_are_solved_for() -> None:
    matrix = shifted(30, 0.1)
    right = np.random.default_rng(0).normal(size=(30, 1)) * np.array([1e-300, 1e-180, 1.0, 1e180, 1e300])
    assert (
        relative_error(
            run(matrix, right).x / np.array([1e-300, 1e-180, 1.0, 1e180, 1e300]),
            np.repeat(spsolve(matrix.tocsc(), right[:, 2])[:, None], 5, axis=1),
        )
        < 1e-8
    )


def test_jacobi_undoes_a_bad_scale() -> None:
    scale = np.geomspace(1, 1e-8, 50)
    matrix = scale[:, None] * symmetric(np.linspace(1, 2, 50)) * scale
    expected = np.random.default_rng(0).normal(size=(50, 1)) / scale[:, None]
    few, many = Progress(), Progress()
    found = run(matrix, matrix @ expected, progress=few, tolerance=1e-13)
    run(matrix, matrix @ expected, progress=many, scaled=False, max_iterations=200)
    assert len(few.trace) < 40 < len(many.trace)
    assert (scale[:, None] * found.x) == pytest.approx(scale[:, None] * expected, rel=1e-6, abs=1e-8)


def test_a_recurrence_that_runs_away_from_the_truth_starts_again() -> None:
    matrix = symmetric(np.geomspace(1, 1e-5, 80))
    right = np.random.default_rng(0).normal(size=(80, 3))
    calls = 0

    def multiply(columns: np.ndarray) -> np.ndarray:
        # Of the first products each is a little wrong, as if rounding were worse than it is.
        nonlocal calls
        calls += 1
        return matrix @ columns * (1 + 1e-6 if calls % 7 == 3 and calls < 150 else 1)

    found = conjugate_gradients(multiply, right, tolerance=1e-10, max_iterations=3000, progress=Progress())
    assert (np.linalg.norm(right - matrix @ found.x, axis=0) <= 1.01e-10 * np.linalg.norm(right, axis=0)).all()


def test_what_rounding_does_not_allow_is_not_tried_for_ever() -> None:
    matrix, progress = shifted(50, 0.01), Progress()
    right = np.random.default_rng(0).normal(size=(50, 3))
    found = run(matrix, right, tolerance=1e-300, max_iterations=100_000, progress=progress)
    assert len(progress.trace) < 3000
    assert (found.measures > 1e-300).all()
    assert relative_error(found.x, spsolve(matrix.tocsc(), right)) < 1e-11


def test_iterations_stop_at_the_limit_and_the_rest_is_said() -> None:
    matrix, progress = shifted(300, 1e-5), Progress()
    right = np.random.default_rng(0).normal(size=(300, 2))
    found = run(matrix, right, max_iterations=7, progress=progress)
    assert len(progress.trace) == 7
    left = np.linalg.norm(right - matrix @ found.x, axis=0) / np.linalg.norm(right, axis=0)
    assert found.measures == pytest.approx(left, rel=1e-10)
    assert (found.measures > 1e-12).all()


def test_a_solver_that_was_killed_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    matrix = shifted(60, 0.01)
    right = np.random.default_rng(0).normal(size=(60, 4))
    right[:, 1] = matrix @ np.cos(np.pi * (np.arange(60) + 0.5) * 50 / 60)
    right[:, 2] = 0
    assert_same_after_any_kill(lambda progress: run(matrix, right, tolerance=1e-10, progress=progress), tmp_path)


INDEFINITE = symmetric(np.r_[np.linspace(1, 2, 19), -0.5])
NO_SOLUTION = r"^the matrix is not positive definite, or too close to a singular one: .*p'Ap / p'Mp = [-0-9.e]+ and"


@pytest.mark.parametrize(
    ("matrix", "right", "why"),
    [
        (INDEFINITE, np.ones((20, 2)), NO_SOLUTION),
        (-np.eye(3), np.ones((3, 1)), "^the matrix is not positive definite: number 1 of its diagonal is -1$"),
        (np.diag([1.0, 0.0]), np.ones((2, 1)), "^the matrix is not positive definite: number 2 of its diagonal is 0$"),
        (path_laplacian(30), np.ones((30, 1)), NO_SOLUTION),
        (path_laplacian(30), np.random.default_rng(0).normal(size=(30, 2)), NO_SOLUTION),
        (path_laplacian(200), np.random.default_rng(0).normal(size=(200, 2)), NO_SOLUTION),
        (np.eye(3), np.array([[1.0], [np.nan], [0]]), "^a right-hand side holds what is no finite number"),
        (np.full((3, 3), np.nan), np.ones((3, 1)), "^the matrix is not positive definite: number 1 .* nan$"),
    ],
)
def test_what_is_not_positive_definite_is_refused_in_one_line(
    matrix: np.ndarray | sparse.csr_array, right: np.ndarray, why: str
) -> None:
    with pytest.raises(StageError, match=why) as caught:
        run(matrix, right)
    assert "\n" not in str(caught.value)


def test_directions_are_measured_in_the_scale_of_the_preconditioner() -> None:
    matrix = symmetric(np.geomspace(1, 100, 30))
    diagonal = np.random.default_rng(0).uniform(0.5, 3, 30)
    method = _Conjugate(lambda columns: matrix @ columns, jacobi(diagonal), 30)
    arrays, largest = method.begin(np.random.default_rng(1).normal(size=(30, 2)), {}), np.zeros(2)
    for _ in range(8):
        direction = arrays["direction"]
        size = (direction**2 * diagonal[:, None]).sum(axis=0)
        assert arrays["size"] == pytest.approx(size, rel=1e-9)
        arrays = method.advance(arrays).arrays
        largest = np.maximum(largest, (direction * (matrix @ direction)).sum(axis=0) / size)
        assert arrays["largest"] == pytest.approx(largest, rel=1e-9)


def test_an_indefinite_preconditioner_is_refused() -> None:
    with pytest.raises(StageError, match=r"^the preconditioner is not positive definite: r'Mr is -2"):
        run(np.eye(2), np.ones((2, 1)), precondition=lambda columns: -2 * columns)


def test_a_singular_matrix_is_solved_where_it_can_be() -> None:
    matrix = path_laplacian(40)
    right = matrix @ np.random.default_rng(0).normal(size=(40, 2))
    found = run(matrix, right, tolerance=1e-10)
    assert relative_error(matrix @ found.x, right) <= 1e-10


def test_hilbert_matrix_is_not_taken_for_a_singular_one() -> None:
    matrix = hilbert(10)
    right = matrix @ np.ones((10, 1))
    assert run(matrix, right, tolerance=1e-9).measures[0] <= 1e-9
