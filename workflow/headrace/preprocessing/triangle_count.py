"""How close-knit the neighbourhood of a node is."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from headrace.datasets.base import DataInfo
from headrace.preprocessing.base import FitData, State, StepSpec

if TYPE_CHECKING:
    from headrace.blocks import Block

COMPUTES = ("linalg.centred", "linalg.columns", "linalg.graphs", "linalg.triangles")


class Spec(StepSpec):
    """Give every node two numbers: the triangles that it is a corner of, and its clustering coefficient, the share of
    pairs of its neighbours that are neighbours themselves (0 with fewer than two neighbours); for example
    `{kind: triangle_count}`. Weights do not matter, edges of weight 0 and from a node to itself are none, and edges
    must not have directions. Transductive: it sees the edges of all nodes, those for validation and test too, but never
    a target. The edges of the whole graph must fit in the memory of each worker, 4 bytes each.
    """

    needs: ClassVar[frozenset[Literal["target", "graph"]]] = frozenset({"graph"})

    keep_inputs: bool = True
    """Put the two numbers behind the node's own inputs, in the place of replacing them."""

    def describe(self, info: DataInfo, num_train: int) -> DataInfo:
        """Two numbers a node, behind the flattened inputs if they are kept."""
        from headrace.linalg.columns import describe_columns

        return describe_columns(info, 2, "feature", keep_inputs=self.keep_inputs)

    def fit(self, data: FitData) -> State:
        """See linalg/triangles.py; the coefficient is that of Watts and Strogatz (1998, doi:10.1038/30918)."""
        import numpy as np

        from headrace.errors import StageError
        from headrace.linalg.graphs import is_symmetric
        from headrace.linalg.triangles import count_triangles

        assert data.adjacency is not None
        if not is_symmetric(data.adjacency, weighted=False):
            raise StageError(
                "triangle_count: edges of the graph have directions; store every edge both ways, or leave this step out"
            )
        degrees, counts = count_triangles(data.adjacency)
        pairs = degrees * (degrees - 1) / 2
        coefficients = np.divide(counts, pairs, out=np.zeros(len(pairs)), where=pairs > 0)
        return {"nodes": np.stack([counts, coefficients], axis=1).astype(np.float32)}

    def apply(self, block: Block, state: State, rows: slice) -> Block:
        """(rows, ...) to (rows, columns), float32."""
        from headrace.linalg.graphs import beside

        return beside(block, state["nodes"], rows, keep_inputs=self.keep_inputs)
