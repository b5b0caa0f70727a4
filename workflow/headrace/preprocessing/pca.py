"""Principal components."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from headrace.datasets.base import DataInfo
from headrace.experiments.config import PositiveFloat, PositiveInt, Seed
from headrace.preprocessing.base import FitData, IterativeSpec, State

if TYPE_CHECKING:
    import numpy as np

    from headrace.blocks import Block
    from headrace.linalg.progress import Progress

COMPUTES = ("linalg.deviations", "linalg.svd")
DIRECT_COLUMNS = 2048
"""With more features their covariances would take above 32 MiB in every task and on their way back."""


class Spec(IterativeSpec):
    """Replace a sample by its coordinates on the directions in which the training split varies most, measured from its
    mean; for example `{kind: pca, rank: 20}`. Sparse data are not filled up for it.
    """

    reads: ClassVar[tuple[str, ...]] = ("dense", "sparse")

    rank: PositiveInt
    """How many directions to keep; at most the number of features, and below the number of training samples."""
    whiten: bool = False
    """Whether to divide each coordinate by its standard deviation over the training split. Where that is no more than
    rounding, it is left as it is."""
    tolerance: PositiveFloat = 1e-6
    """Largest residual allowed, relative to the largest eigenvalue of the covariances."""
    max_iterations: PositiveInt = 50
    """Passes over the training split at most, after the one for the mean. With up to 2048 features one is enough: their
    covariances are computed as a whole."""
    seed: Seed = 0
    """Seed of the first guess, where there are more than 2048 features."""

    def describe(self, info: DataInfo, num_train: int) -> DataInfo:
        """One vector of `rank` coordinates a sample."""
        most = min(info.num_features, num_train - 1)
        if self.rank > most:
            raise ValueError(
                f"rank: {self.rank} is too much for {info.num_features} features and {num_train} training samples, "
                f"less one for the mean; allowed: {f'1 to {most}' if most > 0 else 'nothing, with so few samples'}"
            )
        dense = replace(info, layout="dense", dtype="float32", num_values=0)
        return replace(dense, shape=(self.rank,), dims=("component",), unit_interval=False)

    def fit(self, data: FitData) -> State:
        """By the eigenvalues of the covariances where there is room for them, else by block Krylov iteration.

        State: mean (features,), vectors (rank, features), and of each component its variance and what it is divided by;
        total_variance (1,) is that of all features together. Variances are sums of squares over (samples - 1).
        """
        import numpy as np

        from headrace.linalg.matrix import Matrix

        matrix = Matrix(data.inputs, data.info.num_features if data.info else None)
        if matrix.num_columns <= DIRECT_COLUMNS:
            found, residual = self._directly(data)
        else:
            found, residual = self._iterate(matrix, data.progress)
        self.conclude(data.progress, "relative residual", residual)
        variances = found["squares"] / (matrix.num_rows - 1)
        rounding = len(found["mean"]) * np.finfo(np.float64).eps * variances[0]
        scale = np.where((variances > rounding) & self.whiten, np.sqrt(variances), 1.0)
        total = found["total"] / (matrix.num_rows - 1)
        return {
            "mean": found["mean"],
            "vectors": found["vectors"],
            "variances": variances,
            "scale": scale,
            "total_variance": total,
        }

    def _directly(self, data: FitData) -> tuple[dict[str, np.ndarray], float]:
        """One pass for the covariances, and one for the residual of what came of them."""
        from headrace.linalg.deviations import CentredMatrix, block_comoments

        found = data.progress.resume()
        noted = found is not None
        if found is None:
            found = _leading_eigenvectors(data.inputs.sum(block_comoments), self.rank)
        images = CentredMatrix(data.inputs, found["mean"]).gram_matmul(found["vectors"].T)
        residual = _relative_residual(images, found["vectors"].T, found["squares"])
        if not noted:
            data.progress.note(residual, lambda: found)
        return found, residual

    def _iterate(self, matrix: Any, progress: Progress) -> tuple[dict[str, np.ndarray], float]:
        """One pass for the mean, and one an iteration; see linalg/svd.py."""
        import numpy as np

        from headrace.linalg.deviations import CentredMatrix
        from headrace.linalg.svd import leading_right_singular_vectors

        moments = matrix.moments()
        centered: Any = CentredMatrix(matrix.blocks, moments.mean)
        values, vectors, residual = leading_right_singular_vectors(
            centered,
            self.rank,
            tolerance=self.tolerance,
            max_iterations=self.max_iterations,
            seed=self.seed,
            progress=progress,
        )
        total = np.array([moments.squares.sum()])
        return {"mean": moments.mean, "squares": values**2, "vectors": vectors, "total": total}, residual

    def apply(self, block: Block, state: State, rows: slice) -> Block:
        """(rows, ...) to (rows, rank), float32."""
        import numpy as np

        from headrace.linalg.kernels import flat, times

        vectors, mean = state["vectors"].T, state["mean"]
        if isinstance(block, np.ndarray):
            coordinates = (flat(block) - mean) @ vectors
        else:
            coordinates = times(block, vectors) - mean @ vectors
        return (coordinates / state["scale"]).astype(np.float32)


def _leading_eigenvectors(comoments: Any, rank: int) -> dict[str, np.ndarray]:
    """The largest entry of each vector is positive, as in linalg/svd.py."""
    import numpy as np

    squares, vectors = np.linalg.eigh(comoments.products)
    squares, vectors = np.maximum(squares[::-1][:rank], 0), vectors[:, ::-1][:, :rank].T
    largest = np.take_along_axis(vectors, np.abs(vectors).argmax(axis=1)[:, None], axis=1)
    return {
        "mean": comoments.mean,
        "squares": squares,
        "vectors": np.ascontiguousarray(np.where(largest < 0, -vectors, vectors)),
        "total": np.trace(comoments.products)[None],
    }


def _relative_residual(images: np.ndarray, vectors: np.ndarray, squares: np.ndarray) -> float:
    """The largest entry of A'A v - s^2 v, relative to the largest s^2; columns are vectors, as in linalg/svd.py."""
    import numpy as np

    largest = max(float(squares[0]), np.finfo(np.float64).tiny)
    return float(np.abs(images - vectors * squares).max()) / largest
