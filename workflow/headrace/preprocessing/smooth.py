"""Features that vary little along the edges of a graph, by solving a linear system."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Literal

from headrace.datasets.base import DataInfo
from headrace.experiments.config import PositiveFloat, PositiveInt
from headrace.preprocessing.base import FitData, IterativeSpec, State

if TYPE_CHECKING:
    import numpy as np
    from scipy.sparse import csr_array

    from headrace.blocks import Block
    from headrace.linalg.blocks import RowBlocks

COMPUTES = ("linalg.centred", "linalg.columns", "linalg.conjugate", "linalg.graphs", "linalg.krylov")


class Spec(IterativeSpec):
    """Replace every feature b by the x of (I + strength L) x = b, where L is the Laplacian of the graph: what stays
    near b and differs little between nodes that are joined (Zhou and Schölkopf 2004); for example
    `{kind: smooth, strength: 2.0}`. Transductive: it sees the inputs and edges of all nodes, those for validation and
    test too, but never a target. Some 100 bytes for every input of every node must fit in memory, and 8 in that of each
    worker.
    """

    needs: ClassVar[frozenset[Literal["target", "graph"]]] = frozenset({"graph"})

    strength: PositiveFloat = 1.0
    """How much differences along edges count beside the distance from the inputs; the larger, the smoother. Above 0."""
    laplacian: Literal["combinatorial", "normalized"] = "combinatorial"
    """`combinatorial`: D - A, where the edges of a node with many of them pull as hard as any; `normalized`: the same
    divided by the roots of the weights of the nodes at either end, D^(-1/2) (D - A) D^(-1/2), where a node is pulled as
    hard as any other. D holds the weights of a node's edges added up. Nodes without edges keep their inputs."""
    tolerance: PositiveFloat = 1e-6
    """Largest residual allowed of a feature, relative to that feature's norm over all nodes."""
    max_iterations: PositiveInt = 500
    """Passes over the edges at most."""

    def describe(self, info: DataInfo, num_train: int) -> DataInfo:
        """The shape stays; the range is kept up to the tolerance alone."""
        return replace(info, dtype="float32", unit_interval=False)

    def fit(self, data: FitData) -> State:
        """Conjugate gradients for all features at once; see linalg/conjugate.py."""
        import numpy as np

        from headrace.errors import StageError
        from headrace.linalg.conjugate import conjugate_gradients

        assert data.adjacency is not None
        assert data.all_inputs is not None
        system = _System.of(data.adjacency, self)
        try:
            solution = conjugate_gradients(
                system.multiply,
                np.concatenate(data.all_inputs.map(_flat)).astype(np.float64),
                diagonal=system.diagonal,
                tolerance=self.tolerance,
                max_iterations=self.max_iterations,
                progress=data.progress,
            )
        except StageError as error:
            raise StageError(f"smooth: {error} (strength = {self.strength:g})") from None
        self.conclude(data.progress, "relative residual", float(solution.measures.max()))
        return {"nodes": solution.x.astype(np.float32)}

    def apply(self, block: Block, state: State, rows: slice) -> Block:
        """(rows, ...) to (rows, ...), float32."""
        import numpy as np

        from headrace.linalg.graphs import beside

        assert isinstance(block, np.ndarray)
        return beside(block, state["nodes"], rows, keep_inputs=False).reshape(block.shape)


class _System:
    """I + strength L, with L = S (D - A) S."""

    def __init__(self, adjacency: RowBlocks, strength: float, degrees: np.ndarray, scale: np.ndarray) -> None:
        """`degrees` (nodes,) are D, `scale` (nodes,) is S."""
        import numpy as np

        from headrace.linalg.blocks import Rows
        from headrace.linalg.matrix import Matrix

        self.strength, self.degrees, self.scale = strength, degrees[:, None], scale[:, None]
        self.adjacency = Matrix(adjacency, len(degrees))
        loops = np.concatenate(adjacency.map(_loops, Rows(np.arange(len(degrees)))))
        self.diagonal = 1 + strength * scale**2 * (degrees - loops)

    @classmethod
    def of(cls, adjacency: RowBlocks, spec: Spec) -> _System:
        """Raises StageError for a graph with directions or with weights that are negative or no numbers."""
        import numpy as np

        from headrace.errors import StageError
        from headrace.linalg.graphs import inverse_where_positive, is_symmetric, weigh

        degrees = weigh(adjacency, spec.kind)
        if not is_symmetric(adjacency):
            raise StageError("smooth: edges of the graph have directions; give every edge both ways, or use propagate")
        normalized = spec.laplacian == "normalized"
        scale = inverse_where_positive(degrees) ** 0.5 if normalized else np.ones(len(degrees))
        return cls(adjacency, spec.strength, degrees, scale)

    def multiply(self, columns: np.ndarray) -> np.ndarray:
        """(nodes, k) to (nodes, k), in one pass over the edges."""
        scaled = self.scale * columns
        pulled = self.degrees * scaled - self.adjacency.matmul(scaled)
        product: np.ndarray = columns + self.strength * self.scale * pulled
        return product


def _flat(block: np.ndarray) -> np.ndarray:
    """(rows, features). Runs in a worker."""
    return block.reshape(len(block), -1)


def _loops(block: csr_array, rows: np.ndarray) -> np.ndarray:
    """(rows,) the weight of each node's edges to itself; `rows` are the nodes' numbers. Runs in a worker."""
    import numpy as np

    first = np.repeat(np.arange(len(rows)), np.diff(block.indptr))
    own = block.indices == rows[first]
    return np.bincount(first[own], block.data[own].astype(np.float64), minlength=len(rows))
