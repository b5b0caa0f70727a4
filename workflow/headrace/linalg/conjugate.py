"""Conjugate gradients for symmetric positive definite matrices."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.errors import StageError
from headrace.linalg import krylov
from headrace.linalg.krylov import ROUNDING, Arrays, Multiply, Solution, Step, dots, norms, ratio

if TYPE_CHECKING:
    from headrace.linalg.progress import Progress


def conjugate_gradients(
    multiply: Multiply,
    right: np.ndarray,
    *,
    diagonal: np.ndarray | None = None,
    precondition: Multiply | None = None,
    tolerance: float,
    max_iterations: int,
    progress: Progress,
) -> Solution:
    """A x = b for the columns of `right` (n, k), by preconditioned conjugate gradients.

    Hestenes and Stiefel (1952), doi:10.6028/jres.049.044; Saad (2003), algorithm 9.1. What is measured is
    |b - A x| / |b|. The preconditioner is Jacobi's for the `diagonal` (n,) of A, unless `precondition` gives the
    product with another approximate inverse, symmetric and positive definite too. Raises StageError when a direction
    shows that A, or the preconditioner, is not positive definite in double precision.
    """
    if precondition is None:
        precondition = jacobi(np.ones(len(right)) if diagonal is None else diagonal)
    method = _Conjugate(multiply, precondition, len(right))
    return krylov.solve(method, right, tolerance=tolerance, max_iterations=max_iterations, progress=progress)


def jacobi(diagonal: np.ndarray) -> Multiply:
    """Divide by the diagonal (n,). Raises StageError when it is that of no positive definite matrix."""
    wrong = np.flatnonzero(~(diagonal > 0))
    if wrong.size:
        raise StageError(
            f"the matrix is not positive definite: number {wrong[0] + 1} of its diagonal is {diagonal[wrong[0]]:g}"
        )
    inverse = 1 / diagonal.astype(np.float64)[:, None]
    return lambda columns: inverse * columns


class _Conjugate:
    def __init__(self, multiply: Multiply, precondition: Multiply, num_unknowns: int) -> None:
        self.multiply, self.precondition, self.num_unknowns = multiply, precondition, num_unknowns

    def residual(self, x: np.ndarray, right: np.ndarray) -> np.ndarray:
        return right - self.multiply(x)

    def measure(self, residual: np.ndarray) -> np.ndarray:
        return norms(residual)

    def begin(self, residual: np.ndarray, before: Arrays) -> Arrays:
        direction = self.precondition(residual)
        product = self._checked(dots(residual, direction))
        # `size` is p'Mp of the direction p, for the preconditioner M; `largest` the largest p'Ap / p'Mp so far.
        none = np.zeros_like(product)
        return {"residual": residual, "direction": direction, "product": product, "size": product, "largest": none}

    def advance(self, arrays: Arrays) -> Step:
        direction, product, size = arrays["direction"], arrays["product"], arrays["size"]
        image = self.multiply(direction)
        curvature = dots(direction, image)
        largest = np.maximum(arrays["largest"], curvature / size)
        wrong = np.flatnonzero(~(curvature > ROUNDING * largest * size))
        if wrong.size:
            raise StageError(
                "the matrix is not positive definite, or too close to a singular one: of two directions p, one has "
                f"p'Ap / p'Mp = {curvature[wrong[0]] / size[wrong[0]]:.2g} and another {largest[wrong[0]]:.2g}"
            )
        length = product / curvature
        residual = arrays["residual"] - length * image
        steepest = self.precondition(residual)
        newest = self._checked(dots(residual, steepest), where=residual.any(axis=0))
        # Residuals are orthogonal to the directions before them, so that sizes add up.
        share = ratio(newest, product)
        carried = {
            "residual": residual,
            "direction": steepest + share * direction,
            "product": newest,
            "size": newest + share**2 * size,
            "largest": largest,
        }
        return Step(length * direction, norms(residual), newest == 0, carried)

    def _checked(self, product: np.ndarray, where: np.ndarray | bool = True) -> np.ndarray:
        """The products r'Mr, once they are known to be positive for residuals that are not 0."""
        wrong = np.flatnonzero(~(product > 0) & where)
        if wrong.size:
            raise StageError(f"the preconditioner is not positive definite: r'Mr is {product[wrong[0]]:.2g}")
        return product
