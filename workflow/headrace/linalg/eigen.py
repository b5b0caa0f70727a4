"""Leading eigenvectors of a symmetric operator that is known by what it makes of vectors."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from headrace.linalg.progress import Progress

OVERSAMPLING = 8
"""Columns beyond the rank: they let the last of the wanted vectors converge as fast as the others."""
MOST_VECTORS = 128
"""A basis may have that many, or four blocks, before it is restarted."""
NOTHING = 1e-12
"""What a new direction must add, in units of the image that it comes from."""

Multiply = Callable[[np.ndarray], np.ndarray]


def leading_eigenvectors(
    multiply: Multiply,
    size: int,
    rank: int,
    *,
    apart: np.ndarray,
    tolerance: float,
    max_iterations: int,
    seed: int,
    progress: Progress,
) -> tuple[np.ndarray, np.ndarray, float]:
    """The `rank` algebraically largest eigenvalues of a symmetric A and their eigenvectors, by block Krylov iteration.

    `multiply` makes A X (size, k) of X. `apart` (size, c) are orthonormal eigenvectors that are known, and not wanted:
    the search stays orthogonal to them, and `rank` must not be above size - c. Each iteration multiplies the newest
    block of the basis; Rayleigh-Ritz on the whole basis gives the answer. A basis that has grown too wide is restarted
    from its leading Ritz vectors, which keeps it a Krylov space (thick restart: Wu and Simon 2000,
    doi:10.1137/S0895479898334605). It stops when no residual |A v - e v| is above `tolerance` times the largest |e|
    seen, or when the basis spans all that the operator can reach.

    Returns values (rank,) in descending order, vectors (size, rank), and the largest relative residual, from one more
    product. The vectors' signs make their largest entry positive. Vectors of equal values are any basis of their space.
    """
    basis = _Basis.resume(progress.resume(), size, rank, apart, seed)
    residual, values, coordinates, scale = np.inf, np.zeros(rank), np.zeros((0, rank)), 0.0
    if basis.width:
        # A fit that was saved when it had just converged multiplies no more.
        values, coordinates, residual, scale = basis.ritz(rank)
    while len(progress.trace) < max_iterations and residual > tolerance and basis.newest.shape[1]:
        # Before the product and not after it, so that what is saved is the basis that the residual came from.
        basis.make_room()
        basis.add(multiply(basis.newest))
        values, coordinates, residual, scale = basis.ritz(rank)
        basis.extend()
        progress.note(residual, basis.state)
    vectors = basis.vectors @ coordinates
    signs = np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(rank)])
    vectors = vectors * np.where(signs == 0, 1, signs)
    residual = float(np.linalg.norm(multiply(vectors) - vectors * values, axis=0).max()) / scale
    return values, vectors, residual


class _Basis:
    """An orthonormal basis V of a Krylov space, its image A V, and the directions that are multiplied next."""

    def __init__(self, vectors: np.ndarray, images: np.ndarray, newest: np.ndarray, apart: np.ndarray, block: int):
        self.vectors, self.images, self.newest, self.apart, self.block = vectors, images, newest, apart, block
        self.projected = vectors.T @ images

    @classmethod
    def resume(cls, state: dict[str, np.ndarray] | None, size: int, rank: int, apart: np.ndarray, seed: int) -> _Basis:
        block = min(size - apart.shape[1], rank + OVERSAMPLING)
        if state is not None:
            basis = cls(state["vectors"], state["images"], state["newest"], apart, block)
            basis.projected = state["projected"]
            return basis
        generator = np.random.Generator(np.random.PCG64(seed))
        newest = _orthonormal(generator.standard_normal((size, block)), apart, block)
        empty = np.empty((size, 0))
        return cls(empty, empty, newest, apart, block)

    @property
    def width(self) -> int:
        """Vectors in the basis."""
        return int(self.vectors.shape[1])

    def state(self) -> dict[str, np.ndarray]:
        return {"vectors": self.vectors, "images": self.images, "newest": self.newest, "projected": self.projected}

    def make_room(self) -> None:
        """Restart a basis that has no room for the newest directions. Those stay: they hold all residuals."""
        most = max(MOST_VECTORS, 4 * self.block)
        if self.width + self.newest.shape[1] <= most:
            return
        kept = most // 2
        values, coordinates = np.linalg.eigh(self.projected)
        coordinates = coordinates[:, ::-1][:, :kept]
        self.vectors, self.images = self.vectors @ coordinates, self.images @ coordinates
        self.projected = np.diag(values[::-1][:kept])

    def add(self, image: np.ndarray) -> None:
        """Take the newest directions in, whose image was just computed."""
        corner = self.vectors.T @ image
        below = self.newest.T @ image
        self.projected = np.block([[self.projected, corner], [corner.T, (below + below.T) / 2]])
        # In C order, as they come back from a file: bits of products depend on it.
        self.vectors = np.ascontiguousarray(np.hstack([self.vectors, self.newest]))
        self.images = np.ascontiguousarray(np.hstack([self.images, image]))

    def ritz(self, rank: int) -> tuple[np.ndarray, np.ndarray, float, float]:
        """Eigenvalues (rank,), coordinates (width, rank), the largest relative residual, and what it is relative to."""
        values, coordinates = np.linalg.eigh(self.projected)
        scale = max(float(np.abs(values).max()), np.finfo(np.float64).tiny)
        values, coordinates = values[::-1][:rank], coordinates[:, ::-1][:, :rank]
        errors = np.linalg.norm(self.images @ coordinates - (self.vectors @ coordinates) * values, axis=0)
        return values, coordinates, float(errors.max()) / scale, scale

    def extend(self) -> None:
        """An orthonormal basis of what the newest image adds."""
        image = self.images[:, self.width - self.newest.shape[1] :]
        most = min(self.block, len(image) - self.apart.shape[1] - self.width)
        self.newest = _orthonormal(image, np.hstack([self.apart, self.vectors]), most)


def _orthonormal(columns: np.ndarray, against: np.ndarray, most: int) -> np.ndarray:
    """(size, at most `most`) orthonormal, spanning what `columns` add to `against`, which is orthonormal itself.

    Projected twice, since once leaves rounding behind, and once more after small remainders were scaled up.
    """
    before = np.linalg.norm(columns, axis=0).max(initial=0)
    for _ in range(2):
        columns = columns - against @ (against.T @ columns)
    left, sizes, _ = np.linalg.svd(columns, full_matrices=False)
    kept = left[:, sizes > NOTHING * max(before, np.finfo(np.float64).tiny)][:, : max(0, most)]
    if kept.shape[1]:
        kept = kept - against @ (against.T @ kept)
        kept, _ = np.linalg.qr(kept)
    return np.ascontiguousarray(kept)
