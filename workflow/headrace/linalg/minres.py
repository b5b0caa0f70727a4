"""MINRES for symmetric matrices that need not be definite."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.linalg import krylov
from headrace.linalg.krylov import Arrays, Multiply, Solution, Step, dots, norms, ratio

if TYPE_CHECKING:
    from headrace.linalg.progress import Progress

SLACK = 2.0**-30
"""What is below this share of the matrix counts as nothing: rounding leaves less of what is singular, and must not be
divided by. So residuals are not reduced in directions that the matrix shrinks by more."""


def minres(
    multiply: Multiply, right: np.ndarray, *, tolerance: float, max_iterations: int, progress: Progress
) -> Solution:
    """A x = b for the columns of `right` (n, k) and a symmetric A: the least residual in the Krylov space.

    Paige and Saunders (1975), doi:10.1137/0712047: Lanczos' process, whose tridiagonal matrix is made triangular by a
    rotation an iteration. What is measured is |b - A x| / |b|.
    """
    method = _MinimalResidual(multiply, len(right))
    return krylov.solve(method, right, tolerance=tolerance, max_iterations=max_iterations, progress=progress)


class _MinimalResidual:
    def __init__(self, multiply: Multiply, num_unknowns: int) -> None:
        self.multiply, self.num_unknowns = multiply, num_unknowns

    def residual(self, x: np.ndarray, right: np.ndarray) -> np.ndarray:
        return right - self.multiply(x)

    def measure(self, residual: np.ndarray) -> np.ndarray:
        return norms(residual)

    def begin(self, residual: np.ndarray, before: Arrays) -> Arrays:
        size, nothing = norms(residual), np.zeros_like(residual)
        ones, zeros = np.ones_like(size), np.zeros_like(size)
        vectors = {"vector": residual / size, "before": nothing, "way": nothing, "way_before": nothing}
        turns = {"cosine": ones, "sine": zeros, "cosine_before": ones, "sine_before": zeros}
        # `below` is the number beside the diagonal that leads to `vector`, `left` the residual's signed norm, `largest`
        # the largest sum of a column of the tridiagonal matrix so far.
        largest = before.get("largest", zeros)
        return {**vectors, **turns, "below": zeros, "left": size, "largest": largest}

    def advance(self, arrays: Arrays) -> Step:
        vector, below = arrays["vector"], arrays["below"]
        image = self.multiply(vector) - below * arrays["before"]
        middle = dots(vector, image)
        image = image - middle * vector
        next_below = norms(image)
        largest = np.maximum(arrays["largest"], np.abs(middle) + below + next_below)
        # The newest column of the tridiagonal matrix, turned by the two rotations before.
        far = arrays["sine_before"] * below
        turned = arrays["cosine_before"] * below
        near = arrays["cosine"] * turned + arrays["sine"] * middle
        corner = arrays["cosine"] * middle - arrays["sine"] * turned
        # The triangular matrix is no nearer to a singular one than the matrix: `size` is on its diagonal, and `way` is
        # made of a column of its inverse.
        size = np.hypot(corner, next_below)
        size = np.where(size > SLACK * largest, size, 0.0)
        way = ratio(vector - near * arrays["way"] - far * arrays["way_before"], size)
        seen = (size > 0) & (norms(way) * SLACK * largest < 1)
        cosine, sine = np.where(seen, ratio(corner, size), 0.0), ratio(next_below, size)
        left = -sine * arrays["left"]
        carried = {
            "vector": ratio(image, next_below),
            "before": vector,
            "way": way,
            "way_before": arrays["way"],
            "cosine": cosine,
            "sine": sine,
            "cosine_before": arrays["cosine"],
            "sine_before": arrays["sine"],
            "below": next_below,
            "left": left,
            "largest": largest,
        }
        estimate = np.abs(np.where(seen, left, arrays["left"]))
        return Step(cosine * arrays["left"] * way, estimate, ~seen | (next_below <= SLACK * largest), carried)
