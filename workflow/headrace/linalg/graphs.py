"""A graph whose adjacency lies in CSR row blocks, square over all nodes, and arrays that have a row for every node.

Arrays over all nodes lie with the caller, who sends them to the blocks and gets them back: (nodes,) or (nodes, k).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.errors import StageError
from headrace.linalg.blocks import RowBlocks, Rows
from headrace.linalg.columns import with_columns
from headrace.linalg.kernels import times

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from headrace.blocks import Block

PROBE_SEED = 20190219
SLACK = 1e-6
"""Of a node's weights: those of the two directions of an edge may have been rounded to float32 each for itself."""


def weigh(adjacency: RowBlocks, kind: str) -> np.ndarray:
    """(nodes,) the weights of each node's row added up, in float64.

    Raises StageError that begins with `kind` for weights that are negative or no numbers.
    """
    found = adjacency.map(_weigh_block)
    degrees = np.concatenate([sums for sums, _ in found])
    if not np.isfinite(degrees).all():
        raise StageError(f"{kind}: the graph has edges whose weight is not a finite number; give every edge a weight")
    lowest = min(lowest for _, lowest in found)
    if lowest < 0:
        raise StageError(f"{kind}: the graph has an edge of weight {lowest:g}; allowed: weights of 0 and above")
    return degrees


def _weigh_block(block: csr_array) -> tuple[np.ndarray, float]:
    """The sum of each row, and the smallest weight or 0. Runs in a worker."""
    # scipy's own sum would add up float32 weights in float32, and say afterwards that they are float64.
    return times(block, np.ones(block.shape[1])), float(block.data.min(initial=0))


def is_symmetric(adjacency: RowBlocks, *, weighted: bool = True) -> bool:
    """Whether A = A', in one pass: A y and A'y are compared for a random y, node by node.

    Numbers that differ in a single edge differ in the row of either end, but for chance of probability 0. Weights must
    not be negative; without `weighted`, all that matters is which nodes are joined.
    """
    num_nodes = adjacency.num_rows
    probe = 1 + np.random.Generator(np.random.PCG64(PROBE_SEED)).random(num_nodes)
    forth, back = adjacency.sum(_both_ways, Rows(np.arange(num_nodes)), probe, weighted)
    return bool((np.abs(forth - back) <= SLACK * (forth + back)).all())


def _both_ways(block: csr_array, rows: np.ndarray, probe: np.ndarray, weighted: bool) -> np.ndarray:
    """(2, nodes) what a block adds to A y and to A'y. Runs in a worker."""
    own = block.astype(np.float64, copy=False) if weighted else pattern(block, rows)
    found = np.zeros((2, len(probe)))
    found[0, rows] = own @ probe
    found[1] = own.T @ probe[rows]
    return found


def pattern(block: csr_array, rows: np.ndarray) -> csr_array:
    """Ones where a node is joined to another one, as CSR rows with columns in order.

    `rows` are the numbers of the block's rows. Edges from a node to itself are left out, and so are those of weight 0;
    one that is given several times is one.
    """
    from scipy.sparse import csr_array

    own = block.astype(np.float64, copy=True)
    own.sum_duplicates()
    first = np.repeat(np.arange(len(rows)), np.diff(own.indptr))
    kept = (own.data != 0) & (own.indices != rows[first])
    ends = np.bincount(first[kept], minlength=len(rows)).cumsum()
    targets = own.indices[kept]
    return csr_array((np.ones(len(targets)), targets, np.concatenate([[0], ends])), shape=own.shape)


def inverse_where_positive(values: np.ndarray) -> np.ndarray:
    """1 / x, and 0 where x is 0: a node without edges has nothing to share out."""
    inverse: np.ndarray = np.divide(1.0, values, out=np.zeros(len(values)), where=values > 0)
    return inverse


def beside(block: Block, nodes: np.ndarray, rows: slice, *, keep_inputs: bool) -> np.ndarray:
    """What is known of the nodes of a block, (rows, k) float32, behind their flattened inputs if those are kept.

    Raises StageError for rows that are no nodes of the graph.
    """
    if rows.stop > len(nodes):
        raise StageError(
            f"row {rows.stop - 1} is none of the {len(nodes)} nodes of the graph; a step on a graph knows no others"
        )
    found = with_columns(block, nodes[rows], keep_inputs=keep_inputs)
    assert isinstance(found, np.ndarray)
    return found
