"""Loops over dense points and centres that numba compiles, once a machine. Imported where they are called."""

from __future__ import annotations

import numba
import numpy as np

SINGLE = 2.0**-24
"""How far rounding to float32 goes, relative to the number."""
SMALLEST, LARGEST = 1e-25, 1e30
"""Squared norms between which no product of float32 numbers is lost."""


@numba.njit(nogil=True, cache=True, fastmath={"reassoc", "contract"})
def centre_rows(rows: np.ndarray, origin: np.ndarray, points: np.ndarray, norms: np.ndarray) -> None:
    """Rows (n, columns) around an origin (columns,): to float32 `points`, and their squared norms (n,)."""
    for i in range(rows.shape[0]):
        norm = 0.0
        for j in range(rows.shape[1]):
            number = rows[i, j] - origin[j]
            points[i, j] = np.float32(number)
            norm += number * number
        norms[i] = norm


@numba.njit(nogil=True, cache=True, fastmath={"nnan", "nsz"})
def find_clearly_nearest(
    products: np.ndarray, norms: np.ndarray, centre_norms: np.ndarray, columns: int, labels: np.ndarray
) -> None:
    """Which centre is nearest to each point, to `labels` (n,), and -1 where rounding leaves several.

    `products` (k, n) are -2 c x of float32 numbers; norms are squared, (n,) and (k,). Each distance has an error of its
    own: a centre far away must not blur those nearby. In float32 throughout, and along the points, so that many of them
    are looked at at once.
    """
    count, error = products.shape[1], (columns + 16) * SINGLE
    highest, several = np.full(count, np.float32(np.inf)), np.zeros(count, np.float32)
    found = np.zeros(count, np.float32)
    for j in range(len(centre_norms)):
        above = np.float32((1 + 2 * error) * centre_norms[j])
        for i in range(count):
            highest[i] = min(highest[i], products[j, i] + above)
    for i in range(count):
        highest[i] += np.float32(2 * error * norms[i])
    for j in range(len(centre_norms)):
        below, own = np.float32((1 - 2 * error) * centre_norms[j]), np.float32(j)
        for i in range(count):
            may_be = np.float32(1) if products[j, i] + below <= highest[i] else np.float32(0)
            several[i] += may_be
            found[i] += may_be * own
    within = centre_norms.max() < LARGEST
    for i in range(count):
        is_clear = within and SMALLEST < norms[i] < LARGEST and several[i] == 1
        labels[i] = np.int32(found[i]) if is_clear else -1


@numba.njit(nogil=True, cache=True)
def add_to_nearest(
    rows: np.ndarray,
    origin: np.ndarray,
    centres: np.ndarray,
    centre_norms: np.ndarray,
    labels: np.ndarray,
    share: float,
    sums: np.ndarray,
    counts: np.ndarray,
) -> float:
    """Add every row, around `origin`, to the sums (k, columns) and counts (k,) of the centre that is nearest to it.

    `labels` (n,) say which one that is; where one is -1 all are looked at, and of centres that are equally near up to
    `share` of the squared norms it is the first. Returns the sum of the squared distances.
    """
    point, inertia = np.empty(rows.shape[1]), 0.0
    for i in range(rows.shape[0]):
        for j in range(rows.shape[1]):
            point[j] = rows[i, j] - origin[j]
        label = labels[i] if labels[i] >= 0 else _nearest(point, centres, centre_norms, share)
        inertia += _add(point, label, centres, sums)
        counts[label] += 1.0
    return inertia


@numba.njit(nogil=True, cache=True)
def _nearest(point: np.ndarray, centres: np.ndarray, norms: np.ndarray, share: float) -> int:
    squares, lowest, norm = np.empty(len(centres)), 0, 0.0
    for k in range(len(point)):
        norm += point[k] * point[k]
    for j in range(len(centres)):
        product = 0.0
        for k in range(len(point)):
            product += point[k] * centres[j, k]
        squares[j] = max(0.0, norm - 2 * product + norms[j])
        if squares[j] < squares[lowest]:
            lowest = j
    highest = squares[lowest] + share * (2 * norm + norms[lowest])
    for j in range(len(centres)):
        if squares[j] - share * norms[j] <= highest:
            return j
    return lowest


@numba.njit(nogil=True, cache=True, fastmath={"reassoc", "contract"})
def _add(point: np.ndarray, label: int, centres: np.ndarray, sums: np.ndarray) -> float:
    """Add a point to its centre's sum; returns its squared distance, by differences: they lose no digits."""
    square = 0.0
    for j in range(len(point)):
        difference = point[j] - centres[label, j]
        square += difference * difference
        sums[label, j] += point[j]
    return square
