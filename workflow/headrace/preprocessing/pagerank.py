"""How important a node of a graph is."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from headrace.datasets.base import DataInfo
from headrace.experiments.config import Fraction, PositiveFloat, PositiveInt
from headrace.preprocessing.base import FitData, IterativeSpec, State

if TYPE_CHECKING:
    import numpy as np

    from headrace.blocks import Block
    from headrace.linalg.matrix import Matrix

COMPUTES = ("linalg.centred", "linalg.columns", "linalg.graphs")


class Spec(IterativeSpec):
    """Give every node its PageRank, times the number of nodes so that the mean is 1: how often it is met by somebody
    who follows edges at random (Page et al. 1999); for example `{kind: pagerank, damping: 0.85}`. Transductive: it sees
    the edges of all nodes, those for validation and test too, but never a target. Two numbers a node must fit in the
    memory of each worker.
    """

    needs: ClassVar[frozenset[Literal["target", "graph"]]] = frozenset({"graph"})

    damping: Fraction = 0.85
    """How probable it is to follow an edge, and not to jump to any node at random. Edges are taken in proportion to
    their weight; from a node without edges that leave it every jump is at random."""
    keep_inputs: bool = True
    """Put the rank behind the node's own inputs, in the place of replacing them."""
    tolerance: PositiveFloat = 1e-8
    """Largest change of the ranks allowed, added up over all nodes, where all ranks together are 1. What is left is not
    above damping / (1 - damping) times that."""
    max_iterations: PositiveInt = 200
    """Passes over the edges at most. Each shrinks the change by `damping` or more."""

    def describe(self, info: DataInfo, num_train: int) -> DataInfo:
        """One number a node, behind the flattened inputs if they are kept."""
        from headrace.linalg.columns import describe_columns

        return describe_columns(info, 1, "feature", keep_inputs=self.keep_inputs)

    def fit(self, data: FitData) -> State:
        """Power iteration."""
        import numpy as np

        from headrace.errors import StageError
        from headrace.linalg.graphs import weigh
        from headrace.linalg.matrix import Matrix

        assert data.adjacency is not None
        degrees = weigh(data.adjacency, self.kind)
        if not degrees.any():
            raise StageError("pagerank: the graph has no edges, and all ranks are the same; leave this step out")
        adjacency, progress = Matrix(data.adjacency, len(degrees)), data.progress
        saved = progress.resume()
        ranks = saved["ranks"] if saved else np.full(len(degrees), 1 / len(degrees))
        change = progress.trace[-1]["value"] if progress.trace else np.inf
        while change > self.tolerance and len(progress.trace) < self.max_iterations:
            before, ranks = ranks, self._step(adjacency, degrees, ranks)
            change = float(np.abs(ranks - before).sum())
            progress.note(change, lambda ranks=ranks: {"ranks": ranks})  # type: ignore[misc]
        change = float(np.abs(self._step(adjacency, degrees, ranks) - ranks).sum())
        self.conclude(progress, "change of the ranks", change)
        return {"nodes": (ranks * len(ranks)).astype(np.float32)[:, None]}

    def _step(self, adjacency: Matrix, degrees: np.ndarray, ranks: np.ndarray) -> np.ndarray:
        """Where somebody is after a step who was somewhere with probabilities `ranks` (nodes,)."""
        from headrace.linalg.graphs import inverse_where_positive

        followed = adjacency.rmatmul(ranks * inverse_where_positive(degrees))
        stranded = ranks[degrees == 0].sum()
        moved = self.damping * (followed + stranded / len(ranks)) + (1 - self.damping) / len(ranks)
        # Rounding must not add up over many steps.
        scaled: np.ndarray = moved / moved.sum()
        return scaled

    def apply(self, block: Block, state: State, rows: slice) -> Block:
        """(rows, ...) to (rows, columns), float32."""
        from headrace.linalg.graphs import beside

        return beside(block, state["nodes"], rows, keep_inputs=self.keep_inputs)
