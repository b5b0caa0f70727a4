"""The block Krylov iteration for symmetric operators, against numpy and scipy."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.sparse.linalg import eigsh
from threadpoolctl import threadpool_limits

from headrace.linalg.eigen import MOST_VECTORS, leading_eigenvectors
from headrace.linalg.progress import Progress


@pytest.fixture(scope="module", autouse=True)
def one_blas_thread() -> Iterator[None]:
    """As in every stage: the bits of a product depend on the number of threads."""
    with threadpool_limits(1):
        yield


Found = tuple[np.ndarray, np.ndarray, float]


def decompose(matrix: Any, rank: int, progress: Progress | None = None, **options: Any) -> Found:
    options = {"tolerance": 1e-9, "max_iterations": 300, "seed": 0, "apart": np.empty((matrix.shape[0], 0)), **options}
    return leading_eigenvectors(
        lambda columns: matrix @ columns, matrix.shape[0], rank, progress=progress or Progress(), **options
    )


def with_spectrum(values: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A symmetric matrix with these eigenvalues, and its eigenvectors."""
    vectors, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(len(values), len(values))))
    matrix = (vectors * values) @ vectors.T
    return (matrix + matrix.T) / 2, vectors


@st.composite
def spectra(draw: st.DrawFn) -> tuple[np.ndarray, int, int]:
    """Eigenvalues of which many are equal, a rank, and how many of the eigenvectors are known."""
    size = draw(st.integers(1, 60))
    choices = draw(st.lists(st.integers(-4, 4), min_size=1, max_size=6))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    values = np.sort(generator.choice(choices, size) * 10.0 ** draw(st.integers(-6, 6)))[::-1]
    known = draw(st.integers(0, min(2, size - 1)))
    return values, draw(st.integers(1, size - known)), known


@given(spectra())
@example((np.zeros(5), 3, 1))
@example((-np.arange(1.0, 21), 19, 1))
@example((np.ones(40), 7, 0))
@example((np.ones(1), 1, 0))
@example((np.r_[1.0, np.zeros(39)], 3, 1))
@example((np.r_[1.0, np.full(11, -0.1)], 11, 1))
@settings(deadline=None, max_examples=40)
def test_values_and_vectors_match_numpy(drawn: tuple[np.ndarray, int, int]) -> None:
    spectrum, rank, known = drawn
    matrix, eigenvectors = with_spectrum(spectrum)
    values, vectors, residual = decompose(matrix, rank, apart=eigenvectors[:, :known], tolerance=1e-10)
    scale = np.abs(spectrum).max() or 1.0
    assert np.abs(values - spectrum[known:][:rank]).max() <= 1e-8 * scale
    assert np.abs(vectors.T @ vectors - np.eye(rank)).max() < 1e-9
    assert np.abs(matrix @ vectors - vectors * values).max() <= 1e-8 * scale
    assert np.abs(eigenvectors[:, :known].T @ vectors).max(initial=0) < 1e-9
    assert (vectors[np.abs(vectors).argmax(axis=0), np.arange(rank)] > 0).all()
    assert np.isfinite(residual)


def sparse_operator(size: int = 900) -> sparse.csr_array:
    edges = sparse.random_array((size, size), density=6 / size, format="csr", rng=np.random.default_rng(3))
    return sparse.csr_array(edges + edges.T)


@pytest.mark.parametrize("rank", [1, 6, 30])
def test_the_largest_values_of_a_sparse_matrix_match_scipy(rank: int) -> None:
    matrix = sparse_operator()
    values, vectors, residual = decompose(matrix, rank, tolerance=1e-8)
    expected, basis = eigsh(matrix, rank, which="LA", tol=1e-12)
    assert residual <= 1e-8
    assert values == pytest.approx(expected[::-1], rel=1e-9)
    cosines = np.linalg.svd(vectors.T @ basis, compute_uv=False)
    assert cosines == pytest.approx(np.ones(rank), abs=1e-8)


def test_the_largest_are_wanted_and_not_those_of_largest_size() -> None:
    matrix, vectors = with_spectrum(np.r_[3.0, 2.0, 1.0, np.zeros(40), -5.0, -9.0])
    values, found, _ = decompose(matrix, 3)
    assert values == pytest.approx([3, 2, 1], rel=1e-9)
    assert np.abs(np.diag(found.T @ vectors[:, :3])) == pytest.approx(np.ones(3), abs=1e-8)


def slow_matrix() -> np.ndarray:
    """So little between its values that the basis is restarted many times."""
    return with_spectrum(np.cos(np.linspace(0, np.pi, 400)), seed=5)[0]


def test_a_basis_that_grew_too_wide_goes_on_from_its_leading_vectors() -> None:
    matrix, progress, widths = slow_matrix(), Progress(), []
    note = progress.note

    def measured(value: float, state: Any) -> None:
        note(value, state)
        widths.append(state()["vectors"].shape[1])

    progress.note = measured  # type: ignore[method-assign]
    values, vectors, residual = decompose(matrix, 4, progress, tolerance=1e-7)
    assert residual <= 1e-7
    assert max(widths) <= MOST_VECTORS
    assert len(widths) * 12 > 2 * MOST_VECTORS
    expected, basis = np.linalg.eigh(matrix)
    assert values == pytest.approx(expected[::-1][:4], abs=1e-10)
    assert np.linalg.svd(vectors.T @ basis[:, -4:], compute_uv=False) == pytest.approx(np.ones(4), abs=1e-6)


@pytest.mark.parametrize("every", [1, 3])
def test_one_that_is_killed_again_and_again_ends_in_the_same_bits(every: int, tmp_path: Path) -> None:
    matrix, whole = slow_matrix(), Progress()
    expected = decompose(matrix, 4, whole, tolerance=1e-6)
    assert len(whole.trace) * 12 > 2 * MOST_VECTORS
    for _ in range(len(whole.trace) + 2):
        progress = Progress(tmp_path, every_s=0.0)
        note, begun = progress.note, []

        def killed(value: float, state: Any, *, note: Any = note, begun: list[float] = begun) -> None:
            note(value, state)
            begun.append(value)
            if len(begun) == every:
                raise KeyboardInterrupt

        progress.note = killed  # type: ignore[method-assign]
        try:
            found = decompose(matrix, 4, progress, tolerance=1e-6)
        except KeyboardInterrupt:
            continue
        break
    assert [line["value"] for line in progress.trace] == [line["value"] for line in whole.trace]
    assert found[0].tobytes() == expected[0].tobytes()
    assert found[1].tobytes() == expected[1].tobytes()
    assert found[2] == expected[2]


def test_the_residual_is_that_of_the_vectors_returned() -> None:
    matrix = sparse_operator(300)
    progress = Progress()
    values, vectors, residual = decompose(matrix, 5, progress, tolerance=1e-12, max_iterations=8)
    scale = np.abs(eigsh(matrix, 1, which="LM", return_eigenvectors=False)[0])
    errors = np.linalg.norm(matrix @ vectors - vectors * values, axis=0).max()
    assert len(progress.trace) == 8
    assert residual == pytest.approx(errors / scale, rel=0.01)
    assert residual == pytest.approx(progress.trace[-1]["value"], rel=1e-6)
    assert residual > 1e-12


def test_another_seed_finds_the_same_space() -> None:
    matrix = sparse_operator(300)
    spaces = [decompose(matrix, 3, seed=seed)[1] for seed in (0, 1)]
    assert spaces[0].tobytes() != spaces[1].tobytes()
    assert spaces[0] == pytest.approx(spaces[1], abs=1e-7)
