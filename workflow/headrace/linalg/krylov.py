"""What Krylov solvers share: many right-hand sides at once, each of which is judged, and done, by itself.

A column's arithmetic does not depend on the columns beside it, as long as the product with the matrix does not: so a
column has the same bits, whoever it is solved with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from headrace.errors import StageError

if TYPE_CHECKING:
    from headrace.linalg.progress import Progress

Arrays = Mapping[str, np.ndarray]
"""What a recurrence carries: arrays whose last axis are the columns that are not done."""
Multiply = Callable[[np.ndarray], np.ndarray]
"""X (n, k) -> A X (n, k) of a square matrix."""
ROUNDING = float(np.finfo(np.float64).eps)
FLOOR = 2.0**-60
"""A recurrence that says less than this has left the true residual behind, whatever tolerance was asked for."""


@dataclass(frozen=True)
class Solution:
    """What was found for every right-hand side."""

    x: np.ndarray
    """(n, k) float64."""
    measures: np.ndarray
    """(k,) what had to come below the tolerance, computed from the matrix, x and b at the end."""


@dataclass(frozen=True)
class Step:
    """One iteration, for the columns that are not done."""

    change: np.ndarray
    """(n, columns) to be added to x."""
    estimate: np.ndarray
    """(columns,) what the recurrence says of the measure."""
    ended: np.ndarray
    """(columns,) whether the recurrence cannot go on from here."""
    arrays: Arrays


class Method(Protocol):
    """A solver; right-hand sides have norm 1, or 0."""

    num_unknowns: int

    def residual(self, x: np.ndarray, right: np.ndarray) -> np.ndarray:
        """What is left of the right-hand sides, from the matrix itself."""

    def measure(self, residual: np.ndarray) -> np.ndarray:
        """(k,) what must come below the tolerance."""

    def begin(self, residual: np.ndarray, before: Arrays) -> Arrays:
        """The recurrence for corrections of an x with such residuals, none of which is 0.

        `before` are the arrays of the recurrence that was left, for the same columns; nothing at first.
        """

    def advance(self, arrays: Arrays) -> Step:
        """One iteration. Raises StageError where the matrix is not what the method needs."""


def solve(method: Method, right: np.ndarray, *, tolerance: float, max_iterations: int, progress: Progress) -> Solution:
    """A x = b for the columns of `right` (rows, k), in at most `max_iterations` steps.

    A column is done when its measure, computed from b - A x, is not above `tolerance`. Where the recurrence alone says
    so, the column starts again from the x that it has, unless the last start has brought it no nearer: then rounding
    allows no more. Raises StageError for what the method refuses, and for right-hand sides that are not finite.
    """
    right, scales = _normalised(right)
    run = _Run(method, right, tolerance)
    state = progress.resume()
    if state is None:
        run.settle(np.ones(right.shape[1], bool))
    else:
        run.go_on(state)
    while run.columns.size and len(progress.trace) < max_iterations:
        progress.note(run.step(), run.state)
    x = run.finish()
    measures = method.measure(method.residual(x, run.right))
    if not np.isfinite(measures).all():
        raise StageError("the product with the matrix is no finite number")
    return Solution(x * scales, measures)


def _normalised(right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Columns of norm 1, or 0, and what they were divided by. Raises StageError for what is not finite."""
    largest = np.abs(right).max(axis=0)
    if not np.isfinite(largest).all():
        raise StageError("a right-hand side holds what is no finite number")
    # By the largest number first: no square leaves the range of float64 then.
    scales = np.where(largest > 0, largest, 1.0)
    columns = np.ascontiguousarray(right / scales, np.float64)
    sizes = norms(columns)
    sizes = np.where(sizes > 0, sizes, 1.0)
    return columns / sizes, scales * sizes


class _Run:
    """What was found so far for all columns, and the recurrences of those that are not done."""

    def __init__(self, method: Method, right: np.ndarray, tolerance: float) -> None:
        self.method, self.right, self.tolerance = method, right, tolerance
        k = right.shape[1]
        # Where each column started last, or ended, and how well that x was then.
        self.found, self.reached = np.zeros((method.num_unknowns, k)), np.full(k, np.inf)
        self.columns, self.x = np.arange(k), self.found.copy()
        self.arrays: Arrays = {}

    def state(self) -> dict[str, np.ndarray]:
        own = {"found": self.found, "reached": self.reached, "columns": self.columns, "x": self.x}
        return {**own, **{f"own_{name}": array for name, array in self.arrays.items()}}

    def go_on(self, state: Arrays) -> None:
        """From what `state` gave."""
        self.found, self.reached = state["found"], state["reached"]
        self.columns, self.x = state["columns"], state["x"]
        self.arrays = {name.removeprefix("own_"): array for name, array in state.items() if name.startswith("own_")}

    def step(self) -> float:
        """One iteration; gives the largest measure of all columns."""
        step = self.method.advance(self.arrays)
        self.arrays, self.x = step.arrays, self.x + step.change
        measures = self.reached.copy()
        measures[self.columns] = step.estimate
        claimed = step.ended | (step.estimate <= max(self.tolerance, FLOOR))
        if claimed.any():
            settled = self.columns[claimed]
            self.settle(claimed)
            measures[settled] = self.reached[settled]
        return float(measures.max())

    def finish(self) -> np.ndarray:
        """(n, k) x of all columns."""
        self.found[:, self.columns] = self.x
        return self.found

    def settle(self, claimed: np.ndarray) -> None:
        """Take out the columns that claim to be done if they are, or can come no nearer; the others start again."""
        residual, nearer = self._judge(claimed)
        again = nearer & (self.reached[self.columns[claimed]] > self.tolerance)
        kept = ~claimed
        kept[np.flatnonzero(claimed)[again]] = True
        arrays = {name: array.compress(kept, axis=-1) for name, array in self.arrays.items()}
        if again.any():
            fresh = claimed[kept]
            before = {name: array.compress(fresh, axis=-1) for name, array in arrays.items()}
            for name, array in self.method.begin(residual.compress(again, axis=1), before).items():
                arrays.setdefault(name, np.empty((*array.shape[:-1], len(fresh))))[..., fresh] = array
        self.arrays, self.columns, self.x = arrays, self.columns[kept], self.x.compress(kept, axis=1)

    def _judge(self, claimed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Keep the x of those columns that came nearer since they started; gives all residuals, and which came."""
        columns, x = self.columns[claimed], self.x.compress(claimed, axis=1)
        residual = self.method.residual(x, self.right.take(columns, axis=1))
        measures = self.method.measure(residual)
        nearer = measures < self.reached[columns]
        self.found[:, columns[nearer]] = x[:, nearer]
        self.reached[columns[nearer]] = measures[nearer]
        return residual, nearer


def dots(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """(k,) inner products of the columns of (n, k) arrays, added from the first row to the last for any k."""
    products = np.multiply(left, right, order="C")
    # NumPy adds a single column, which is contiguous, in another order.
    sums: np.ndarray = np.add.accumulate(products)[-1] if products.shape[1] == 1 else products.sum(axis=0)
    return sums


def norms(columns: np.ndarray) -> np.ndarray:
    """(k,) Euclidean norms of the columns of an (n, k) array."""
    sizes: np.ndarray = np.sqrt(dots(columns, columns))
    return sizes


def ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """`above` / `below`, and 0 where that cannot be divided by."""
    shares: np.ndarray = np.divide(above, below, out=np.zeros(np.broadcast(above, below).shape), where=below > 0)
    return shares
