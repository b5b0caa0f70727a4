"""Where a node lies in a graph, by the leading eigenvectors of its adjacency."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from headrace.datasets.base import DataInfo
from headrace.experiments.config import PositiveFloat, PositiveInt, Seed
from headrace.preprocessing.base import FitData, IterativeSpec, State

if TYPE_CHECKING:
    import numpy as np

    from headrace.blocks import Block
    from headrace.linalg.matrix import Matrix

COMPUTES = ("linalg.centred", "linalg.columns", "linalg.eigen", "linalg.graphs")


class Spec(IterativeSpec):
    """Give every node its entries in the leading eigenvectors of the normalised adjacency D^-1/2 A D^-1/2, which are
    those of the normalised Laplacian's smallest eigenvalues: nodes of one community come to lie close to each other
    (von Luxburg 2007, arXiv 0711.0189); for example `{kind: spectral_embedding, rank: 8}`. The first eigenvector, which
    tells no more than the weight of a node, is left out; nodes without edges lie at 0; the mean square of every number
    is 1 over all nodes. Transductive: it sees the edges of all nodes, those for validation and test too, but never a
    target. The driver holds up to 2 * max(128, 4 * (rank + 8)) numbers a node, 8 bytes each.
    """

    needs: ClassVar[frozenset[Literal["target", "graph"]]] = frozenset({"graph"})

    rank: PositiveInt
    """How many eigenvectors to keep; fewer than there are nodes with edges."""
    keep_inputs: bool = True
    """Put the eigenvectors behind the node's own inputs, in the place of replacing them."""
    tolerance: PositiveFloat = 1e-6
    """Largest residual allowed, relative to the largest eigenvalue."""
    max_iterations: PositiveInt = 200
    """Passes over the edges at most."""
    seed: Seed = 0
    """Seed of the first guess."""

    def describe(self, info: DataInfo, num_train: int) -> DataInfo:
        """`rank` numbers a node, behind the flattened inputs if they are kept."""
        from headrace.linalg.columns import describe_columns

        if self.rank >= info.num_samples:
            raise ValueError(
                f"rank: {self.rank} is not below the {info.num_samples} nodes; allowed: 1 to {info.num_samples - 1}"
            )
        return describe_columns(info, self.rank, "feature", keep_inputs=self.keep_inputs)

    def fit(self, data: FitData) -> State:
        """Block Krylov iteration among the nodes that have edges; see linalg/eigen.py."""
        import numpy as np

        from headrace.errors import StageError
        from headrace.linalg.eigen import leading_eigenvectors
        from headrace.linalg.graphs import is_symmetric, weigh
        from headrace.linalg.matrix import Matrix

        assert data.adjacency is not None
        degrees = weigh(data.adjacency, self.kind)
        if not is_symmetric(data.adjacency):
            raise StageError("spectral_embedding: edges of the graph have directions; store every edge both ways")
        joined = np.flatnonzero(degrees)
        if self.rank >= len(joined):
            raise StageError(
                f"spectral_embedding: rank = {self.rank} is not below the {len(joined)} nodes that have edges; lower it"
            )
        operator = _Normalised(Matrix(data.adjacency, len(degrees)), degrees, joined)
        values, vectors, residual = leading_eigenvectors(
            operator,
            len(joined),
            self.rank,
            apart=operator.roots[:, None] / np.linalg.norm(operator.roots),
            tolerance=self.tolerance,
            max_iterations=self.max_iterations,
            seed=self.seed,
            progress=data.progress,
        )
        self.conclude(data.progress, "relative residual", residual)
        nodes = np.zeros((len(degrees), self.rank), np.float32)
        nodes[joined] = vectors * len(degrees) ** 0.5
        return {"nodes": nodes, "values": values}

    def apply(self, block: Block, state: State, rows: slice) -> Block:
        """(rows, ...) to (rows, columns), float32."""
        from headrace.linalg.graphs import beside

        return beside(block, state["nodes"], rows, keep_inputs=self.keep_inputs)


class _Normalised:
    """X to D^-1/2 A D^-1/2 X, (joined, k), among the nodes that have edges. The roots of D are an eigenvector of it."""

    def __init__(self, adjacency: Matrix, degrees: np.ndarray, joined: np.ndarray) -> None:
        self.adjacency, self.joined, self.roots = adjacency, joined, degrees[joined] ** 0.5

    def __call__(self, columns: np.ndarray) -> np.ndarray:
        import numpy as np

        spread = np.zeros((self.adjacency.num_rows, columns.shape[1]))
        spread[self.joined] = columns / self.roots[:, None]
        image: np.ndarray = self.adjacency.matmul(spread)[self.joined] / self.roots[:, None]
        return image
