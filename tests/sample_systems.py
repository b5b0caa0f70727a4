"""Linear systems to solve, and a solver that is killed on its way."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from headrace.linalg.krylov import Solution
from headrace.linalg.progress import Progress

Solver = Callable[[Progress], Solution]


def symmetric(eigenvalues: np.ndarray, seed: int = 0) -> np.ndarray:
    """A dense symmetric matrix with these eigenvalues."""
    size = len(eigenvalues)
    vectors, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(size, size)))
    matrix = (vectors * eigenvalues) @ vectors.T
    return (matrix + matrix.T) / 2


def rectangular(num_rows: int, num_columns: int, values: np.ndarray, seed: int = 0) -> np.ndarray:
    """A dense matrix with these singular values."""
    generator = np.random.default_rng(seed)
    left, _ = np.linalg.qr(generator.normal(size=(num_rows, len(values))))
    right, _ = np.linalg.qr(generator.normal(size=(num_columns, len(values))))
    return (left * values) @ right.T


def path_laplacian(size: int) -> Any:
    """Singular: constant vectors are mapped to 0. CSR."""
    diagonal = np.full(size, 2.0)
    diagonal[[0, -1]] = 1
    beside = np.full(size - 1, -1.0)
    return sparse.diags_array([beside, diagonal, beside], offsets=[-1, 0, 1], format="csr")


def relative_error(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest of any column, relative to that column's norm."""
    sizes = np.linalg.norm(expected, axis=0)
    return float((np.linalg.norm(found - expected, axis=0) / np.where(sizes > 0, sizes, 1)).max())


def killed_after(solver: Solver, after: int, folder: Path) -> tuple[Solution, Progress]:
    """What comes out when a solver is killed after some iterations and called again."""
    progress = Progress(folder, every_s=0.0)
    note = progress.note

    def note_and_die(value: float, state: Any) -> None:
        note(value, state)
        if len(progress.trace) == after:
            raise KeyboardInterrupt

    progress.note = note_and_die  # type: ignore[method-assign]
    try:
        solver(progress)
    except KeyboardInterrupt:
        again = Progress(folder, every_s=0.0)
        return solver(again), again
    raise AssertionError(f"ended before {after} iterations")


def assert_same_after_any_kill(solver: Solver, folder: Path) -> None:
    """A solver that is killed, wherever that is, ends in the same bits and with the same trace."""
    progress = Progress()
    expected = solver(progress)
    values = [line["value"] for line in progress.trace]
    assert len(values) > 3
    for after in (1, 2, len(values) // 2, len(values) - 1, len(values)):
        found, again = killed_after(solver, after, folder / str(after))
        assert found.x.tobytes() == expected.x.tobytes()
        assert found.measures.tobytes() == expected.measures.tobytes()
        assert [line["value"] for line in again.trace] == values
