"""Leading singular vectors of a tall matrix in row blocks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import linalg

if TYPE_CHECKING:
    from headrace.linalg.matrix import Matrix
    from headrace.linalg.progress import Progress

OVERSAMPLING = 8
"""Columns of a wide block beyond the rank: they let the last of the wanted vectors converge as fast as the others."""
NARROWEST = 24
"""Narrow blocks are as wide as this, or several times: so many columns are multiplied at once (compiled.PANEL)."""
NARROWING = 3 / 8
"""How wide a narrow block is, in units of the rank: it multiplies half as many vectors, in twice as many passes."""
FEW_PASSES = 8
"""Where no more are allowed, blocks are wide from the start."""
NOTHING = 1e-12
"""What a new direction must add, in units of the image that it comes from."""
LITTLE = 1e-3
"""A direction that adds less, in the same units, brings rounding errors with it."""
EQUAL = 1e-10
"""Squared values that are no further apart, in units of the largest, may be copies of one."""


def leading_right_singular_vectors(
    matrix: Matrix, rank: int, *, tolerance: float, max_iterations: int, seed: int, progress: Progress
) -> tuple[np.ndarray, np.ndarray, float]:
    """The `rank` largest singular values and right singular vectors of A, by block Krylov iteration on A'A.

    Each iteration passes over the blocks once and multiplies the newest block of the Krylov basis; Rayleigh-Ritz on
    the whole basis gives the answer (Golub and Underwood 1977, doi:10.1016/B978-0-12-587260-7.50018-2; Musco and Musco
    2015, https://arxiv.org/abs/1504.05477). A basis that has grown too wide is restarted from its leading Ritz
    vectors, which leaves it a Krylov space (thick restart: Wu and Simon 2000, doi:10.1137/S0895479898334605).

    Blocks are narrower than the rank, and their space holds no more copies of a value than they have columns. Where
    that many copies are found, all begins anew with blocks wider than the rank, which miss none.

    It stops when no entry of a residual A'A v - s^2 v is above `tolerance` times s_1^2, or when the basis spans the
    whole space. Once it says so the residuals are computed from the images A'A V, which come from the data themselves.

    Returns values (rank,), vectors (rank, num_columns), and the largest relative residual. The vectors' signs make
    their largest entry positive.
    """
    basis = _Basis.resume(progress.resume(), matrix.num_columns, rank, seed, few=max_iterations <= FEW_PASSES)
    # A fit that was saved when it had just converged multiplies no more.
    found = basis.ritz(tolerance)
    while len(progress.trace) < max_iterations and not basis.is_done(found, tolerance):
        basis.make_room()
        basis.add(matrix.gram_matmul(np.ascontiguousarray(basis.newest.T)))
        found = basis.ritz(tolerance)
        noted = found.residual
        if basis.may_miss(found, tolerance) and len(progress.trace) + 1 < max_iterations:
            basis.begin(basis.widest)
            found = basis.ritz(tolerance)
        progress.note(noted, basis.state)
    vectors = found.coordinates.T @ basis.vectors
    largest = np.take_along_axis(vectors, np.abs(vectors).argmax(axis=1)[:, None], axis=1)
    return np.sqrt(np.maximum(found.squares, 0)), np.where(largest < 0, -vectors, vectors), found.residual


@dataclass(frozen=True)
class _Ritz:
    """What a basis says of the leading singular vectors: as many as are wanted, or as it has."""

    squares: np.ndarray
    """(found,) squared singular values, the largest first."""
    coordinates: np.ndarray
    """(width, found) of the vectors."""
    errors: np.ndarray
    """(found,) norms of the residuals."""
    residual: float
    """The largest entry of all residuals, relative to the largest squared value."""


class _Basis:
    """An orthonormal basis V of a Krylov space, its image A'A V, and the directions that are multiplied next.

    All vectors are rows: a new one lies behind the others, which need not be moved. A'A V' - V' (V A'A V') is
    newest' `coupling` in the columns that were added last, and zero in all others.
    """

    def __init__(self, num_columns: int, rank: int, seed: int) -> None:
        self.num_columns, self.rank, self.seed = num_columns, rank, seed
        self.widest = min(num_columns, rank + OVERSAMPLING)

    @classmethod
    def resume(cls, state: dict[str, np.ndarray] | None, num_columns: int, rank: int, seed: int, few: bool) -> _Basis:
        basis = cls(num_columns, rank, seed)
        narrow = NARROWEST * math.ceil(NARROWING * rank / NARROWEST)
        basis.begin(basis.widest if few else min(basis.widest, narrow))
        if state is not None:
            basis.begin(int(state["block"][0]))
            basis.newest, basis.coupling, basis.width = state["newest"], state["coupling"], len(state["projected"])
            basis.vectors[...], basis.images[...], basis.projected[...] = (
                state[name] for name in ("vectors", "images", "projected")
            )
        return basis

    def begin(self, block: int) -> None:
        """From nothing, with blocks of so many columns."""
        self.block, self.width = block, 0
        self._most = min(self.num_columns, 4 * self.rank + 8 * block)
        self._vectors, self._images = (np.empty((self._most, self.num_columns)) for _ in range(2))
        self._projected = np.empty((self._most, self._most))
        generator = np.random.Generator(np.random.PCG64(self.seed))
        self.newest, _ = _orthonormal(generator.standard_normal((block, self.num_columns)))
        self.coupling = np.empty((block, 0))

    @property
    def vectors(self) -> np.ndarray:
        """(width, columns)"""
        return self._vectors[: self.width]

    @property
    def images(self) -> np.ndarray:
        """(width, columns)"""
        return self._images[: self.width]

    @property
    def projected(self) -> np.ndarray:
        """(width, width) V A'A V'."""
        return self._projected[: self.width, : self.width]

    def state(self) -> dict[str, np.ndarray]:
        own = {"vectors": self.vectors, "images": self.images, "projected": self.projected}
        return {**own, "newest": self.newest, "coupling": self.coupling, "block": np.array([self.block])}

    def make_room(self) -> None:
        """Restart a basis that has no room for the newest directions. Those stay: they hold all residuals."""
        if self.width + len(self.newest) <= self._most:
            return
        kept = self._most // 2
        squares, coordinates = np.linalg.eigh(self.projected)
        leading = np.ascontiguousarray(coordinates[:, ::-1][:, :kept].T)
        vectors, images = leading @ self.vectors, leading @ self.images
        self.width = kept
        self.vectors[...], self.images[...], self.projected[...] = vectors, images, np.diag(squares[::-1][:kept])

    def add(self, image: np.ndarray) -> None:
        """Take the newest directions in, whose image (columns, newest) was just computed; what it adds is next.

        That is projected twice, since once leaves rounding behind, and again where small remainders were scaled up.
        """
        first = self.width
        self.width += image.shape[1]
        basis, rest = self.vectors, np.ascontiguousarray(image.T)
        basis[first:], self.images[first:] = self.newest, rest
        before = max(float(np.linalg.norm(rest, axis=1).max()), np.finfo(np.float64).tiny)
        products = rest @ basis.T
        corner = products[:, first:]
        self.projected[first:, :first], self.projected[:first, first:] = products[:, :first], products[:, :first].T
        self.projected[first:, first:] = (corner + corner.T) / 2
        rest -= products @ basis
        rest -= (rest @ basis.T) @ basis
        directions, triangle = _orthonormal(rest)
        left, sizes, right = np.linalg.svd(triangle)
        most = min(self.block, self.num_columns - self.width)
        kept = np.flatnonzero(sizes > NOTHING * before)[:most]
        self.newest, self.coupling = left[:, kept].T @ directions, sizes[kept, None] * right[kept]
        if len(kept) and sizes[kept].min() < LITTLE * before:
            self.newest, triangle = _orthonormal(self.newest - (self.newest @ basis.T) @ basis)
            self.coupling = triangle @ self.coupling

    def ritz(self, tolerance: float) -> _Ritz:
        """By Rayleigh and Ritz; residuals that are not above the tolerance come from the images."""
        if not self.width:
            nothing = np.zeros(0)
            return _Ritz(nothing, np.zeros((0, 0)), nothing, np.inf)
        squares, coordinates = np.linalg.eigh(self.projected)
        squares, coordinates = squares[::-1][: self.rank], coordinates[:, ::-1][:, : self.rank]
        scale = max(float(squares[0]), np.finfo(np.float64).tiny)
        beyond = self.coupling @ coordinates[self.width - self.coupling.shape[1] :]
        residual = float(np.abs(beyond.T @ self.newest).max(initial=0)) / scale
        if residual <= tolerance:
            exact = coordinates.T @ self.images - squares[:, None] * (coordinates.T @ self.vectors)
            residual = float(np.abs(exact).max()) / scale
        return _Ritz(squares, coordinates, np.linalg.norm(beyond, axis=0), residual)

    def is_done(self, found: _Ritz, tolerance: float) -> bool:
        """Whether the vectors have converged, or no direction is left to go on with."""
        return self.width >= self.rank and bool(found.residual <= tolerance or self.newest.size == 0)

    def may_miss(self, found: _Ritz, tolerance: float) -> bool:
        """Whether values may have more copies than narrow blocks can find, and end before they are found."""
        if self.block >= min(self.rank, self.widest):
            return False
        if self.width < self.rank:
            return len(self.newest) < self.block
        if not self.is_done(found, tolerance):
            return False
        squares, errors = found.squares, found.errors + EQUAL * found.squares[0]
        first, last = slice(0, self.rank - self.block + 1), slice(self.block - 1, self.rank)
        copies = squares[first] - squares[last] <= errors[first] + errors[last]
        # Of those that lie at the end, it makes no difference how many are found.
        return bool((copies & (squares[last] - squares[-1] > errors[last] + errors[-1])).any())


def _orthonormal(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Orthonormal rows Q and an upper triangle R, rows' = Q' R."""
    columns, triangle = linalg.qr(rows.T, mode="economic", check_finite=False)
    return np.ascontiguousarray(columns.T), triangle
