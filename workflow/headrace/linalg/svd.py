"""Leading singular vectors of a tall matrix in row blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from headrace.linalg.blocks import RowBlocks


def leading_right_singular_vectors(
    matrix: RowBlocks, num_columns: int, rank: int, *, tolerance: float, max_iterations: int, seed: int
) -> tuple[np.ndarray, np.ndarray, list[float]]:
    """The `rank` largest singular values and right singular vectors of A, by block Krylov iteration on A'A.

    Each iteration passes over the blocks once and multiplies the newest block of the Krylov basis; Rayleigh-Ritz on
    the whole basis gives the answer (Musco and Musco 2015, https://arxiv.org/abs/1504.05477). It stops when no
    residual |A'A v - s^2 v| is above `tolerance` times s_1^2, or when the basis spans the whole space.

    Returns values (rank,), vectors (rank, num_columns), and the largest relative residual after each iteration.
    The vectors' signs make their largest entry positive.
    """
    generator = np.random.Generator(np.random.PCG64(seed))
    width = min(num_columns, rank + 8)
    newest, _ = np.linalg.qr(generator.standard_normal((num_columns, width)))
    basis = np.empty((num_columns, 0))
    images = np.empty((num_columns, 0))
    residuals: list[float] = []
    for _ in range(max_iterations):
        image = matrix.sum(_gram_times, newest)
        basis, images = np.hstack([basis, newest]), np.hstack([images, image])
        squares, coordinates = np.linalg.eigh(_symmetric(basis.T @ images))
        squares, coordinates = squares[::-1][:rank], coordinates[:, ::-1][:, :rank]
        vectors = basis @ coordinates
        scale = max(float(squares[0]), np.finfo(np.float64).tiny)
        residuals.append(float(np.abs(images @ coordinates - vectors * squares).max()) / scale)
        room = num_columns - basis.shape[1]
        if residuals[-1] <= tolerance or room <= 0:
            break
        newest = _new_directions(image, basis, min(width, room))
        if newest.shape[1] == 0:
            break
    signs = np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(rank)])
    return np.sqrt(np.maximum(squares, 0)), (vectors * np.where(signs == 0, 1, signs)).T, residuals


def _gram_times(block: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """A'(A X) of one block, in float64: the Gram matrix squares the condition number."""
    rows = block.reshape(len(block), -1).astype(np.float64, copy=False)
    product: np.ndarray = rows.T @ (rows @ vectors)
    return product


def _symmetric(matrix: np.ndarray) -> np.ndarray:
    symmetric: np.ndarray = (matrix + matrix.T) / 2
    return symmetric


def _new_directions(image: np.ndarray, basis: np.ndarray, most: int) -> np.ndarray:
    """An orthonormal basis of what `image` adds to `basis`; projected twice, since once leaves rounding behind."""
    before = np.linalg.norm(image, axis=0).max()
    for _ in range(2):
        image = image - basis @ (basis.T @ image)
    left, sizes, _ = np.linalg.svd(image, full_matrices=False)
    kept = left[:, sizes > 1e-12 * max(before, np.finfo(np.float64).tiny)][:, :most]
    if kept.shape[1]:
        kept = kept - basis @ (basis.T @ kept)
        kept, _ = np.linalg.qr(kept)
    return kept
