"""Features averaged along the edges of a graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from headrace.datasets.base import DataInfo
from headrace.experiments.config import PositiveInt
from headrace.preprocessing.base import FitData, State, StepSpec

if TYPE_CHECKING:
    import numpy as np

    from headrace.blocks import Block

COMPUTES = ("linalg.centred", "linalg.columns", "linalg.graphs")


class Spec(StepSpec):
    """Mix the inputs of every node with those of its neighbours, so that what is noise in each of them is averaged out
    (SGC: Wu et al. 2019, arXiv 1902.07153); for example `{kind: propagate, steps: 2}`. Transductive: it sees the inputs
    and edges of all nodes, those for validation and test too, but never a target. Inputs of all nodes must fit in the
    memory of each worker, 8 bytes a number.
    """

    needs: ClassVar[frozenset[Literal["target", "graph"]]] = frozenset({"graph"})

    steps: PositiveInt = 2
    """How often the inputs are passed on: a node sees others that are up to so many edges away."""
    normalize: Literal["symmetric", "row"] = "symmetric"
    """What the weight of an edge is divided by: `symmetric` by the roots of all weights at either end, as SGC and graph
    convolutions do, which needs a graph without directions; `row` by all weights at the node itself, which gives the
    mean over the nodes that its edges lead to."""
    self_loops: bool = True
    """Join every node to itself by an edge of weight 1, so that it keeps a share of its own inputs. Without it, nodes
    without edges become zero."""
    keep_inputs: bool = False
    """Put the result behind the node's own inputs, in the place of replacing them."""

    def describe(self, info: DataInfo, num_train: int) -> DataInfo:
        """As many numbers as in the flattened inputs, or twice as many."""
        from headrace.linalg.columns import describe_columns

        return describe_columns(info, info.num_features, "feature", keep_inputs=self.keep_inputs)

    def fit(self, data: FitData) -> State:
        """The product with the normalised adjacency, `steps` times."""
        import numpy as np

        from headrace.errors import StageError
        from headrace.linalg.graphs import inverse_where_positive, is_symmetric, weigh
        from headrace.linalg.matrix import Matrix

        assert data.adjacency is not None
        assert data.all_inputs is not None
        degrees = weigh(data.adjacency, self.kind)
        if not self.self_loops and not degrees.any():
            raise StageError("propagate: the graph has no edges; leave this step out, or say self_loops: true")
        if self.normalize == "symmetric" and not is_symmetric(data.adjacency):
            raise StageError("propagate: edges of the graph have directions; say normalize: row")
        shares = inverse_where_positive(degrees + self.self_loops)
        before, after = (shares**0.5, shares**0.5) if self.normalize == "symmetric" else (np.ones(len(shares)), shares)
        adjacency = Matrix(data.adjacency, len(degrees))
        nodes = np.concatenate(data.all_inputs.map(_flat))
        for _ in range(self.steps):
            nodes *= before[:, None]
            passed = adjacency.matmul(nodes)
            nodes = (passed + nodes if self.self_loops else passed) * after[:, None]
        return {"nodes": nodes.astype(np.float32)}

    def apply(self, block: Block, state: State, rows: slice) -> Block:
        """(rows, ...) to (rows, columns), float32."""
        from headrace.linalg.graphs import beside

        return beside(block, state["nodes"], rows, keep_inputs=self.keep_inputs)


def _flat(block: np.ndarray) -> np.ndarray:
    """(rows, features) in float64. Runs in a worker."""
    import numpy as np

    return block.reshape(len(block), -1).astype(np.float64)
