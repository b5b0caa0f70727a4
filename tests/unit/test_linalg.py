"""Row blocks and the blocked singular value decomposition, against numpy, scipy and scikit-learn."""

import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.sparse.linalg import svds
from sklearn.decomposition import TruncatedSVD
from threadpoolctl import threadpool_limits

from headrace.linalg.blocks import RowBlocks
from headrace.linalg.svd import leading_right_singular_vectors
from headrace.workers import Workers


@pytest.fixture(scope="module", autouse=True)
def one_blas_thread() -> Iterator[None]:
    """As in every stage: the bits of a product depend on the number of threads."""
    with threadpool_limits(1):
        yield


def readers_of(blocks: Sequence[np.ndarray]) -> list[Callable[[], np.ndarray]]:
    # Closures travel to workers by value.
    return [lambda block=block: block for block in blocks]


def split(matrix: np.ndarray, borders: Sequence[int]) -> list[np.ndarray]:
    return [block for block in np.split(matrix, sorted(set(borders))) if len(block)]


def make_matrix(num_rows: int, num_columns: int, spectrum: np.ndarray, seed: int = 0) -> np.ndarray:
    """A matrix with the singular values of `spectrum`."""
    generator = np.random.default_rng(seed)
    left, _ = np.linalg.qr(generator.normal(size=(num_rows, len(spectrum))))
    right, _ = np.linalg.qr(generator.normal(size=(num_columns, len(spectrum))))
    return (left * spectrum) @ right.T


# Row blocks


def test_map_keeps_the_order_of_the_blocks() -> None:
    blocks = RowBlocks(readers_of([np.full((2, 1), i) for i in range(9)]))
    assert blocks.map(lambda block, factor: int(block[0, 0]) * factor, 10) == list(range(0, 90, 10))


def test_sum_adds_in_the_order_of_the_blocks() -> None:
    blocks = RowBlocks(readers_of([np.array([value]) for value in (1e16, 1.0, -1e16, 1.0)]))
    assert blocks.sum(lambda block: block[0]) == 1.0


def test_no_blocks_are_refused() -> None:
    with pytest.raises(ValueError, match="no blocks"):
        RowBlocks([])


def test_workers_finish_in_any_order_and_sum_in_one(two_workers: Workers) -> None:
    def slowest_first(block: np.ndarray) -> float:
        time.sleep(0.3 if block[0] == 1e16 else 0)
        return float(block[0])

    blocks = RowBlocks(readers_of([np.array([value]) for value in (1e16, 1.0, -1e16, 1.0)]), two_workers)
    assert blocks.map(slowest_first) == [1e16, 1.0, -1e16, 1.0]
    assert blocks.sum(slowest_first) == 1.0


def test_arguments_reach_every_block(two_workers: Workers) -> None:
    blocks = RowBlocks(readers_of([np.full((3, 4), i) for i in range(5)]), two_workers)
    products = blocks.map(lambda block, weights, name: (name, float((block @ weights).sum())), np.ones(4), "all")
    assert products == [("all", 12.0 * i) for i in range(5)]


@pytest.mark.usefixtures("sockets_may_leak")
@pytest.mark.parametrize("workers", ["one_worker", "two_workers"])
def test_a_worker_killed_in_the_middle_changes_nothing(
    workers: str, request: pytest.FixtureRequest, tmp_path: Path, run_with_limit: Callable[..., Any]
) -> None:
    opened: Workers = request.getfixturevalue(workers)
    num_workers = len(opened.addresses)
    marker = tmp_path / "killed"

    def kill_once(block: np.ndarray, weights: np.ndarray) -> np.ndarray:
        if block[0, 0] == 3 and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return block @ weights / 3

    readers = readers_of([np.full((2, 3), float(i)) for i in range(8)])
    weights = np.array([0.1, 0.2, 0.7])
    expected = sum(np.full((2, 3), float(i)) @ weights / 3 for i in range(8))
    try:
        total = run_with_limit(lambda: RowBlocks(readers, opened).sum(kill_once, weights), seconds=60)
    finally:
        opened.client.wait_for_workers(num_workers, timeout=30)
    assert marker.exists()
    assert total.tobytes() == expected.tobytes()


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
    blocks = RowBlocks(readers_of(split(matrix, borders)))
    values, vectors, residuals = leading_right_singular_vectors(
        blocks, matrix.shape[1], rank, tolerance=1e-13, max_iterations=50, seed=0
    )
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
    values, vectors, residuals = leading_right_singular_vectors(
        RowBlocks(readers_of(np.array_split(matrix, 9))), 150, 10, tolerance=1e-9, max_iterations=50, seed=1
    )
    assert residuals[-1] <= 1e-9
    assert values == pytest.approx(np.sort(svds(matrix, 10, return_singular_vectors=False))[::-1], rel=1e-9)
    reference = TruncatedSVD(10, algorithm="arpack", random_state=0).fit(matrix)
    assert values == pytest.approx(reference.singular_values_, rel=1e-9)
    cosines = np.abs((vectors * reference.components_).sum(axis=1))
    assert cosines == pytest.approx(np.ones(10), abs=1e-7)


def test_the_default_tolerance_gives_six_digits() -> None:
    matrix = make_matrix(400, 120, 1 / np.arange(1, 121))
    values, _, _ = leading_right_singular_vectors(
        RowBlocks(readers_of(np.array_split(matrix, 4))), 120, 8, tolerance=1e-6, max_iterations=50, seed=0
    )
    assert values == pytest.approx(1 / np.arange(1, 9), rel=1e-6)


def test_close_singular_values_are_told_apart() -> None:
    spectrum = np.concatenate([[1 + 1e-6, 1.0, 1 - 1e-6], np.full(40, 0.5)])
    matrix = make_matrix(200, 90, spectrum)
    values, vectors, _ = leading_right_singular_vectors(
        RowBlocks(readers_of([matrix])), 90, 3, tolerance=1e-13, max_iterations=60, seed=0
    )
    assert values == pytest.approx(spectrum[:3], rel=1e-12)
    assert np.abs(vectors @ vectors.T - np.eye(3)).max() < 1e-12


def test_iterations_stop_at_the_limit() -> None:
    matrix = make_matrix(300, 200, np.linspace(1, 0.9, 200))
    *_, residuals = leading_right_singular_vectors(
        RowBlocks(readers_of([matrix])), 200, 4, tolerance=1e-15, max_iterations=3, seed=0
    )
    assert len(residuals) == 3
    assert residuals[-1] > 1e-15


def test_images_are_read_as_rows_of_numbers() -> None:
    images = np.random.default_rng(0).normal(size=(40, 3, 4)).astype(np.float32)
    values, _, _ = leading_right_singular_vectors(
        RowBlocks(readers_of(np.split(images, 4))), 12, 5, tolerance=1e-12, max_iterations=20, seed=0
    )
    assert values == pytest.approx(np.linalg.svd(images.reshape(40, 12).astype(float), compute_uv=False)[:5], rel=1e-10)


def test_workers_give_the_same_bits_as_this_process(one_worker: Workers, two_workers: Workers) -> None:
    matrix = make_matrix(300, 60, 0.8 ** np.arange(60)).astype(np.float32)
    readers = readers_of(np.array_split(matrix, 7))
    here, alone, together = (
        leading_right_singular_vectors(RowBlocks(readers, opened), 60, 6, tolerance=1e-8, max_iterations=20, seed=5)
        for opened in (None, one_worker, two_workers)
    )
    for other in (alone, together):
        assert other[0].tobytes() == here[0].tobytes()
        assert other[1].tobytes() == here[1].tobytes()
        assert other[2] == here[2]
