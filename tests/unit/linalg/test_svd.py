"""The blocked singular value decomposition, against numpy, scipy and scikit-learn."""

from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.sparse.linalg import svds
from sklearn.decomposition import TruncatedSVD
from threadpoolctl import threadpool_limits

from headrace.linalg.blocks import RowBlocks
from headrace.linalg.matrix import Matrix
from headrace.linalg.progress import Progress
from headrace.linalg.svd import leading_right_singular_vectors
from headrace.running.workers import Workers


@pytest.fixture(scope="module", autouse=True)
def one_blas_thread() -> Iterator[None]:
    """As in every stage: the bits of a product depend on the number of threads."""
    with threadpool_limits(1):
        yield


Found = tuple[np.ndarray, np.ndarray, list[float]]


def decompose(blocks: Sequence[np.ndarray], rank: int, workers: Workers | None = None, **options: float) -> Found:
    """Values, vectors, and the residual after each iteration."""
    rows = RowBlocks([lambda block=block: block for block in blocks], workers, sizes=[len(b) for b in blocks])
    progress = Progress()
    values, vectors, residual = leading_right_singular_vectors(Matrix(rows), rank, progress=progress, **options)  # type: ignore[arg-type]
    residuals = [line["value"] for line in progress.trace]
    assert residual == residuals[-1]
    return values, vectors, residuals


def split(matrix: np.ndarray, borders: Sequence[int]) -> list[np.ndarray]:
    return [block for block in np.split(matrix, sorted(set(borders))) if len(block)]


def make_matrix(num_rows: int, num_columns: int, spectrum: np.ndarray, seed: int = 0) -> np.ndarray:
    """A matrix with the singular values of `spectrum`."""
    generator = np.random.default_rng(seed)
    left, _ = np.linalg.qr(generator.normal(size=(num_rows, len(spectrum))))
    right, _ = np.linalg.qr(generator.normal(size=(num_columns, len(spectrum))))
    return (left * spectrum) @ right.T


# Singular values: absolute errors stay below 1e-7 of the largest one (the Gram matrix squares the condition number,
# so half of the digits are left for a value of zero), relative ones below 1e-9 for values within a factor of 100.


@st.composite
def matrices(draw: st.DrawFn) -> tuple[np.ndarray, int, list[int]]:
    num_rows, num_columns = draw(st.integers(1, 50)), draw(st.integers(1, 30))
    true_rank = draw(st.integers(0, min(num_rows, num_columns)))
    scale = 10.0 ** draw(st.integers(-6, 6))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    matrix = generator.normal(size=(num_rows, true_rank)) @ generator.normal(size=(true_rank, num_columns)) * scale
    borders = draw(st.lists(st.integers(1, num_rows), max_size=5))
    return matrix, draw(st.integers(1, num_columns)), borders


@given(matrices())
@example((np.zeros((6, 4)), 4, [3]))
@example((np.ones((1, 12)), 1, []))
@example((np.ones((1, 12)), 12, []))
@example((np.eye(20), 20, [7, 9]))
@example((np.ones((40, 3)), 2, list(range(1, 40))))
@settings(deadline=None, max_examples=80)
def test_singular_values_and_vectors_match_numpy(drawn: tuple[np.ndarray, int, list[int]]) -> None:
    matrix, rank, borders = drawn
    values, vectors, residuals = decompose(split(matrix, borders), rank, tolerance=1e-13, max_iterations=50, seed=0)
    expected = np.zeros(rank)
    true_values = np.linalg.svd(matrix, compute_uv=False)[:rank]
    expected[: len(true_values)] = true_values
    largest = expected[0]
    assert np.abs(values - expected).max() <= 1e-7 * largest
    large = expected > 0.01 * largest
    assert np.abs(values[large] / expected[large] - 1).max(initial=0) <= 1e-9
    assert np.abs(vectors @ vectors.T - np.eye(rank)).max() < 1e-9
    assert np.abs(matrix.T @ (matrix @ vectors.T) - vectors.T * values**2).max() <= 1e-10 * max(largest**2, 1e-300)
    assert (vectors[np.arange(rank), np.abs(vectors).argmax(axis=1)] > 0).all()
    assert all(np.isfinite(residuals))


def test_a_decaying_spectrum_matches_scipy_and_scikit_learn() -> None:
    matrix = make_matrix(600, 150, 0.9 ** np.arange(150))
    values, vectors, residuals = decompose(np.array_split(matrix, 9), 10, tolerance=1e-9, max_iterations=50, seed=1)
    assert residuals[-1] <= 1e-9
    assert values == pytest.approx(np.sort(svds(matrix, 10, return_singular_vectors=False))[::-1], rel=1e-9)
    reference = TruncatedSVD(10, algorithm="arpack", random_state=0).fit(matrix)
    assert values == pytest.approx(reference.singular_values_, rel=1e-9)
    cosines = np.abs((vectors * reference.components_).sum(axis=1))
    assert cosines == pytest.approx(np.ones(10), abs=1e-7)


def test_the_default_tolerance_gives_six_digits() -> None:
    matrix = make_matrix(400, 120, 1 / np.arange(1, 121))
    values, _, _ = decompose(np.array_split(matrix, 4), 8, tolerance=1e-6, max_iterations=50, seed=0)
    assert values == pytest.approx(1 / np.arange(1, 9), rel=1e-6)


def test_close_singular_values_are_told_apart() -> None:
    spectrum = np.concatenate([[1 + 1e-6, 1.0, 1 - 1e-6], np.full(40, 0.5)])
    matrix = make_matrix(200, 90, spectrum)
    values, vectors, _ = decompose([matrix], 3, tolerance=1e-13, max_iterations=60, seed=0)
    assert values == pytest.approx(spectrum[:3], rel=1e-12)
    assert np.abs(vectors @ vectors.T - np.eye(3)).max() < 1e-12


def test_iterations_stop_at_the_limit() -> None:
    matrix = make_matrix(300, 200, np.linspace(1, 0.9, 200))
    *_, residuals = decompose([matrix], 4, tolerance=1e-15, max_iterations=3, seed=0)
    assert len(residuals) == 3
    assert residuals[-1] > 1e-15


def test_images_are_read_as_rows_of_numbers() -> None:
    images = np.random.default_rng(0).normal(size=(40, 3, 4)).astype(np.float32)
    values, _, _ = decompose(np.split(images, 4), 5, tolerance=1e-12, max_iterations=20, seed=0)
    assert values == pytest.approx(np.linalg.svd(images.reshape(40, 12).astype(float), compute_uv=False)[:5], rel=1e-10)


def test_workers_give_the_same_bits_as_this_process(one_worker: Workers, two_workers: Workers) -> None:
    matrix = make_matrix(300, 60, 0.8 ** np.arange(60)).astype(np.float32)
    blocks = np.array_split(matrix, 7)
    here, alone, together = (
        decompose(blocks, 6, opened, tolerance=1e-8, max_iterations=20, seed=5)
        for opened in (None, one_worker, two_workers)
    )
    for other in (alone, together):
        assert other[0].tobytes() == here[0].tobytes()
        assert other[1].tobytes() == here[1].tobytes()
        assert other[2] == here[2]
