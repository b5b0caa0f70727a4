"""LSQR for rectangular matrices and damped least squares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from headrace.linalg import krylov
from headrace.linalg.krylov import ROUNDING, Arrays, Solution, Step, norms, ratio

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from headrace.linalg.progress import Progress


class Operator(Protocol):
    """A matrix (num_rows, num_columns) that can be multiplied from both sides, as linalg.matrix.Matrix."""

    @property
    def shape(self) -> tuple[int, int]:
        """(num_rows, num_columns)"""

    def matmul(self, right: np.ndarray) -> np.ndarray:
        """A X: (num_columns, k) to (num_rows, k)."""

    def rmatmul(self, left: np.ndarray) -> np.ndarray:
        """A' Y: (num_rows, k) to (num_columns, k)."""

    def frobenius_norm(self) -> float:
        """The root of the sum of all squares."""


@dataclass(frozen=True)
class Held:
    """A sparse matrix in memory, float64, as an operator."""

    matrix: csr_array

    @property
    def shape(self) -> tuple[int, int]:
        """(num_rows, num_columns)"""
        return self.matrix.shape[0], self.matrix.shape[1]

    def matmul(self, right: np.ndarray) -> np.ndarray:
        """A X: (num_columns, k) to (num_rows, k)."""
        product: np.ndarray = self.matrix @ right
        return product

    def rmatmul(self, left: np.ndarray) -> np.ndarray:
        """A' Y: (num_rows, k) to (num_columns, k)."""
        product: np.ndarray = self.matrix.T @ left
        return product

    def frobenius_norm(self) -> float:
        """The root of the sum of all squares."""
        return float(np.sqrt(self.matrix.data @ self.matrix.data))


def lsqr(
    operator: Operator,
    right: np.ndarray,
    *,
    damping: float = 0.0,
    tolerance: float,
    max_iterations: int,
    progress: Progress,
) -> Solution:
    """The x (num_columns, k) that make |b - A x|^2 + damping^2 |x|^2 least, for the columns of `right` (num_rows, k).

    Paige and Saunders (1982), doi:10.1145/355984.355989. With r = b - A x and g = A'r - damping^2 x, what is measured
    is the smaller of |(r, damping x)| / |b| and |g| / (|A|_F |(r, damping x)|): the first says that x solves the
    system, the second that nothing solves it better (their criteria 1 and 2). Damping is a block below the matrix,
    which has the same iterates as their rotations and lets a column start again anywhere.
    """
    method = _LeastSquares(operator, damping)
    return krylov.solve(method, right, tolerance=tolerance, max_iterations=max_iterations, progress=progress)


class _LeastSquares:
    """Of the matrix with `damping` times the identity below it."""

    def __init__(self, operator: Operator, damping: float) -> None:
        self.operator, self.damping = operator, damping
        self.num_rows, self.num_unknowns = operator.shape
        self.norm = float(np.hypot(operator.frobenius_norm(), damping * np.sqrt(self.num_unknowns)))

    def matmul(self, right: np.ndarray) -> np.ndarray:
        image = self.operator.matmul(right)
        return np.concatenate([image, self.damping * right]) if self.damping else image

    def rmatmul(self, left: np.ndarray) -> np.ndarray:
        image = self.operator.rmatmul(left[: self.num_rows])
        return image + self.damping * left[self.num_rows :] if self.damping else image

    def residual(self, x: np.ndarray, right: np.ndarray) -> np.ndarray:
        residual = -self.matmul(x)
        residual[: self.num_rows] += right
        return residual

    def measure(self, residual: np.ndarray) -> np.ndarray:
        return self._smaller(norms(residual), norms(self.rmatmul(residual)))

    def begin(self, residual: np.ndarray, before: Arrays) -> Arrays:
        size = norms(residual)
        left = residual / size
        image = self.rmatmul(left)
        width = norms(image)
        right = ratio(image, width)
        # `corner` and `remaining` are the newest number on the diagonal and on the right of the bidiagonal system.
        return {
            "left": left,
            "right": right,
            "way": right,
            "width": width,
            "corner": width,
            "remaining": size,
        }

    def advance(self, arrays: Arrays) -> Step:
        left, right, width = arrays["left"], arrays["right"], arrays["width"]
        image = self.matmul(right) - width * left
        height = norms(image)
        next_left = ratio(image, height)
        image = self.rmatmul(next_left) - height * right
        next_width = norms(image)
        next_right = ratio(image, next_width)
        size = np.hypot(arrays["corner"], height)
        cosine, sine = ratio(arrays["corner"], size), ratio(height, size)
        remaining = sine * arrays["remaining"]
        change = ratio(cosine * arrays["remaining"], size) * arrays["way"]
        carried = {
            "left": next_left,
            "right": next_right,
            "way": next_right - ratio(sine * next_width, size) * arrays["way"],
            "width": next_width,
            "corner": -cosine * next_width,
            "remaining": remaining,
        }
        estimate = self._smaller(remaining, next_width * np.abs(cosine) * remaining)
        ended = np.minimum(height, next_width) <= ROUNDING * self.norm
        return Step(change, estimate, ended, carried)

    def _smaller(self, residual: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        smaller: np.ndarray = np.minimum(residual, ratio(gradient, self.norm * residual))
        return smaller
