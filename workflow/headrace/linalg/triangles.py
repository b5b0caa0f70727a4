"""Triangles of a graph: each is found once, from its corner with the fewest neighbours.

The forward algorithm (Schank and Wagner 2005, doi:10.1007/11427186_54; Latapy 2008, doi:10.1016/j.tcs.2008.07.017):
every edge is turned towards the end that has more neighbours, so that no node has more than sqrt(2 m) edges that leave
it, and all lists together are merged in O(m^1.5) steps, whatever hubs there are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numba
import numpy as np

from headrace.linalg.blocks import RowBlocks, Rows
from headrace.linalg.graphs import pattern

if TYPE_CHECKING:
    from scipy.sparse import csr_array


def count_triangles(adjacency: RowBlocks) -> tuple[np.ndarray, np.ndarray]:
    """(nodes,) neighbours of each node, and triangles through it, int64; the pattern must be symmetric.

    Every worker holds all edges once, 4 bytes each (8 above 2^31 nodes), and 8 bytes a node.
    """
    numbers = Rows(np.arange(adjacency.num_rows))
    degrees = np.concatenate(adjacency.map(_count_neighbours, numbers))
    turned = adjacency.map(_turn_edges, numbers, degrees)
    offsets = np.concatenate([[0], np.concatenate([counts for counts, _ in turned]).cumsum()])
    targets = np.concatenate([targets for _, targets in turned])
    counts: np.ndarray = adjacency.sum(_count_block, numbers, offsets, targets)
    return degrees, counts


def _count_neighbours(block: csr_array, rows: np.ndarray) -> np.ndarray:
    """(rows,) int64. Runs in a worker."""
    counts: np.ndarray = np.diff(pattern(block, rows).indptr).astype(np.int64)
    return counts


def _turn_edges(block: csr_array, rows: np.ndarray, degrees: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How many edges leave each node of a block towards more neighbours, and where to. Runs in a worker."""
    own = pattern(block, rows)
    source = np.repeat(rows, np.diff(own.indptr))
    ahead = degrees[own.indices] - degrees[source]
    kept = (ahead > 0) | ((ahead == 0) & (own.indices > source))
    counts = np.bincount(source[kept] - rows[0], minlength=len(rows))
    narrow = np.int32 if len(degrees) < 2**31 else np.int64
    return counts, own.indices[kept].astype(narrow)


def _count_block(block: csr_array, rows: np.ndarray, offsets: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """(nodes,) the triangles that are found from the nodes of a block. Runs in a worker."""
    counts = np.zeros(len(offsets) - 1, np.int64)
    _count_from(offsets, targets, int(rows[0]), int(rows[-1]) + 1, counts)
    return counts


@numba.njit(nogil=True, cache=True)
def _count_from(offsets: np.ndarray, targets: np.ndarray, start: int, stop: int, counts: np.ndarray) -> None:
    """Merge the sorted lists of both ends of every edge that leaves `start` to `stop`: what they share is a corner."""
    for first in range(start, stop):
        for place in range(offsets[first], offsets[first + 1]):
            second = targets[place]
            i, j = offsets[first], offsets[second]
            while i < offsets[first + 1] and j < offsets[second + 1]:
                one, other = targets[i], targets[j]
                if one == other:
                    counts[first] += 1
                    counts[second] += 1
                    counts[one] += 1
                i += one <= other
                j += other <= one
