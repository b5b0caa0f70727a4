"""Singular values by blocks narrower than the rank: copies, exhausted spaces, restarts, kills."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from headrace.linalg import svd
from headrace.linalg.progress import Progress

RANK = 40


@pytest.fixture(scope="module", autouse=True)
def one_blas_thread() -> Iterator[None]:
    with threadpool_limits(1):
        yield


class Diagonal:
    """A'A with the squared singular values on its diagonal, scrambled by reflections."""

    def __init__(self, squares: np.ndarray) -> None:
        self.squares, self.num_columns, self.widths = squares, len(squares), list[int]()
        mirror = np.random.default_rng(9).normal(size=len(squares))
        self.mirror = mirror / np.linalg.norm(mirror)

    def reflect(self, columns: np.ndarray) -> np.ndarray:
        return columns - 2 * np.outer(self.mirror, self.mirror @ columns)

    def gram_matmul(self, right: np.ndarray) -> np.ndarray:
        self.widths.append(right.shape[1])
        return self.reflect(self.squares[:, None] * self.reflect(right))


def decompose(matrix: Any, rank: int = RANK, **options: Any) -> tuple[np.ndarray, np.ndarray, float]:
    options = {"tolerance": 1e-9, "max_iterations": 100, "seed": 0, "progress": Progress(), **options}
    return svd.leading_right_singular_vectors(matrix, rank, **options)


def check(squares: np.ndarray, rank: int = RANK, **options: Any) -> Diagonal:
    """Values are right, vectors are orthonormal, and what is said of the residual is true."""
    matrix = Diagonal(squares)
    values, vectors, residual = decompose(matrix, rank, **options)
    expected = np.sqrt(np.sort(squares)[::-1][:rank])
    assert np.abs(values - expected).max() <= 1e-6 * expected[0]
    assert np.abs(vectors @ vectors.T - np.eye(rank)).max() < 1e-9
    widths = list(matrix.widths)
    errors = matrix.gram_matmul(vectors.T) - vectors.T * values**2
    assert np.abs(errors).max() <= (1.01 * residual + 1e-13) * max(squares.max(), 1e-300)
    matrix.widths = widths
    return matrix


def test_blocks_are_narrow_and_fewer_vectors_are_multiplied() -> None:
    matrix = check(1 / np.arange(1.0, 501))
    assert set(matrix.widths) == {24}
    assert sum(matrix.widths) < 7 * (RANK + svd.OVERSAMPLING)


def test_more_copies_than_a_block_has_columns_are_all_found() -> None:
    matrix = check(np.concatenate([np.ones(30), 0.5 ** np.arange(1, 300)]))
    # A narrow block has found 24 of them, and then all began anew.
    assert matrix.widths[0] == 24
    assert max(matrix.widths) == RANK + svd.OVERSAMPLING


def test_more_copies_than_are_wanted_end_the_search() -> None:
    check(np.concatenate([np.ones(60), np.linspace(0.5, 0, 600)]))


def test_copies_in_the_middle_are_all_found() -> None:
    check(np.concatenate([[4.0, 3.0, 2.5], np.full(35, 2.0), np.linspace(1, 0.1, 300)]))


def test_as_many_copies_as_fit_a_block_need_no_second_try() -> None:
    matrix = check(np.concatenate([np.full(20, 2.0), 0.9 ** np.arange(300)]))
    assert max(matrix.widths) == 24


@given(
    st.integers(41, 150),
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 60)), min_size=1, max_size=6),
)
@example(48, [(0, 60)])
@example(150, [(3, 30)])
@settings(deadline=None, max_examples=40)
def test_few_values_with_many_copies(num_columns: int, drawn: list[tuple[int, int]]) -> None:
    squares = np.concatenate([np.full(copies, 0.3**power) for power, copies in drawn])[:num_columns]
    check(np.concatenate([squares, np.zeros(num_columns - len(squares))]))


def test_a_matrix_of_lower_rank_than_asked_for() -> None:
    check(np.concatenate([np.linspace(2, 1, 10), np.zeros(200)]))


def test_few_passes_are_made_with_wide_blocks() -> None:
    matrix = Diagonal(0.9 ** np.arange(400))
    values, _, _ = decompose(matrix, max_iterations=3, tolerance=1e-15)
    assert matrix.widths == [RANK + svd.OVERSAMPLING] * 3
    assert values == pytest.approx(0.9 ** (np.arange(RANK) / 2), rel=1e-3)


def test_a_basis_without_room_is_restarted_and_still_converges() -> None:
    squares = np.concatenate([np.linspace(1, 0.9, 12), np.linspace(0.89, 0, 1500)])
    matrix = check(squares, rank=12, tolerance=1e-8)
    most = 4 * 12 + 8 * max(matrix.widths)
    assert sum(matrix.widths) > 1.5 * most


class KilledError(Exception):
    pass


class Killing(Diagonal):
    """Breaks off in one of its products."""

    def __init__(self, squares: np.ndarray, after: int) -> None:
        super().__init__(squares)
        self.after = after

    def gram_matmul(self, right: np.ndarray) -> np.ndarray:
        if len(self.widths) == self.after:
            raise KilledError
        return super().gram_matmul(right)


@pytest.mark.parametrize(
    "squares",
    [
        np.concatenate([np.ones(60), 0.5 ** np.arange(1, 100)]),
        np.concatenate([np.linspace(1, 0.8, 40), np.linspace(0.78, 0, 600)]),
        np.eye(1, 200)[0],
    ],
    ids=["begins anew", "restarts", "rank 1"],
)
def test_a_kill_at_any_iteration_changes_no_bit(squares: np.ndarray, tmp_path: Path) -> None:
    untouched = Progress()
    whole = decompose(Diagonal(squares), tolerance=1e-6, progress=untouched)
    passes = len(untouched.trace)
    assert passes > 1
    for after in range(1, passes, max(1, passes // 5)):
        folder = tmp_path / str(after)
        with pytest.raises(KilledError):
            decompose(Killing(squares, after), tolerance=1e-6, progress=Progress(folder, every_s=0))
        resumed = Progress(folder, every_s=0)
        again = decompose(Diagonal(squares), tolerance=1e-6, progress=resumed)
        assert [line["value"] for line in resumed.trace] == [line["value"] for line in untouched.trace]
        assert (again[0].tobytes(), again[1].tobytes(), again[2]) == (whole[0].tobytes(), whole[1].tobytes(), whole[2])


def test_a_fit_that_had_converged_multiplies_no_more(tmp_path: Path) -> None:
    squares = 0.5 ** np.arange(200)
    first = decompose(Diagonal(squares), progress=Progress(tmp_path, every_s=0))
    matrix = Diagonal(squares)
    again = decompose(matrix, progress=Progress(tmp_path, every_s=0))
    assert matrix.widths == []
    assert again[1].tobytes() == first[1].tobytes()
