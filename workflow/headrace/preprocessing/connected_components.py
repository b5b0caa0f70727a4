"""Which part of a graph a node lies in, and how large that is."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from headrace.datasets.base import DataInfo
from headrace.preprocessing.base import FitData, State, StepSpec

if TYPE_CHECKING:
    import numpy as np
    from scipy.sparse import csr_array

    from headrace.blocks import Block

COMPUTES = ("linalg.centred", "linalg.columns", "linalg.graphs")


class Spec(StepSpec):
    """Give every node two numbers: which connected component it lies in, counted from 0 for the largest one (of equally
    large ones that with the first node comes first), and the share of all nodes that lie in it; for example
    `{kind: connected_components}`. Directions and weights of edges do not matter, and edges of weight 0 are none.
    Transductive: it sees the edges of all nodes, those for validation and test too, but never a target. A number a node
    must fit in the memory of each worker.
    """

    needs: ClassVar[frozenset[Literal["target", "graph"]]] = frozenset({"graph"})

    keep_inputs: bool = True
    """Put the two numbers behind the node's own inputs, in the place of replacing them."""

    def describe(self, info: DataInfo, num_train: int) -> DataInfo:
        """Two numbers a node, behind the flattened inputs if they are kept."""
        from headrace.linalg.columns import describe_columns

        return describe_columns(info, 2, "feature", keep_inputs=self.keep_inputs)

    def fit(self, data: FitData) -> State:
        """One pass: every block finds the components of its own edges, and these are joined two by two."""
        import numpy as np

        from headrace.linalg.blocks import Rows

        assert data.adjacency is not None
        numbers = Rows(np.arange(data.adjacency.num_rows))
        first_nodes = data.adjacency.reduce(_components_of_block, numbers, combine=_join)
        # The first nodes of the components are in ascending order, which the stable sort keeps among equal sizes.
        _, component, sizes = np.unique(first_nodes, return_inverse=True, return_counts=True)
        order = np.argsort(-sizes, kind="stable")
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        shares = sizes[component] / len(component)
        return {"nodes": np.stack([place[component], shares], axis=1).astype(np.float32)}

    def apply(self, block: Block, state: State, rows: slice) -> Block:
        """(rows, ...) to (rows, columns), float32."""
        from headrace.linalg.graphs import beside

        return beside(block, state["nodes"], rows, keep_inputs=self.keep_inputs)


def _components_of_block(block: csr_array, rows: np.ndarray) -> np.ndarray:
    """(nodes,) the first node of each node's component, by the edges of one block alone. Runs in a worker."""
    import numpy as np

    from headrace.linalg.graphs import pattern

    edges = pattern(block, rows)
    return _first_nodes(np.repeat(rows, np.diff(edges.indptr)), edges.indices, block.shape[1])


def _join(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Components by the edges of two parts together: whom either part joins is joined."""
    joined: np.ndarray = _first_nodes(one, one[other], len(one))[one]
    return joined


def _first_nodes(starts: np.ndarray, ends: np.ndarray, num_nodes: int) -> np.ndarray:
    """(nodes,) int64, the first node of each node's component, by edges from `starts` to `ends` (edges,)."""
    import numpy as np
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    graph = csr_array((np.ones(len(starts)), (starts, ends)), shape=(num_nodes, num_nodes))
    num_components, component = connected_components(graph, directed=False)
    first = np.full(num_components, num_nodes, np.int64)
    np.minimum.at(first, component, np.arange(num_nodes))
    found: np.ndarray = first[component]
    return found
