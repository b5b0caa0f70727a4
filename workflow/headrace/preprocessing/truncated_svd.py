"""Projection on the leading singular vectors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from headrace.config import PositiveFloat, PositiveInt, Seed
from headrace.datasets.base import DataInfo
from headrace.preprocessing.base import StepSpec

if TYPE_CHECKING:
    import numpy as np

    from headrace.linalg.blocks import RowBlocks


class Spec(StepSpec):
    """Replace a sample by its coordinates on the leading right singular vectors of the training split; not centred."""

    rank: PositiveInt
    """How many singular vectors to keep; at most the number of features and of training samples."""
    tolerance: PositiveFloat = 1e-6
    """Largest residual allowed, relative to the largest squared singular value."""
    max_iterations: PositiveInt = 50
    """Passes over the training split at most; reaching them without the tolerance is an error."""
    seed: Seed = 0
    """Seed of the first guess."""

    def describe(self, info: DataInfo, num_train: int) -> DataInfo:
        """One vector of `rank` coordinates a sample."""
        most = min(info.num_features, num_train)
        if self.rank > most:
            raise ValueError(
                f"rank: {self.rank} is above the {info.num_features} features and {num_train} training samples; "
                f"allowed: 1 to {most}"
            )
        return replace(info, shape=(self.rank,), dims=("component",), unit_interval=False)

    def fit(self, train: RowBlocks) -> Mapping[str, np.ndarray]:
        """Block Krylov iteration; see linalg/svd.py."""
        import numpy as np

        from headrace.errors import StageError
        from headrace.linalg.svd import leading_right_singular_vectors

        num_columns = train.map(_num_features)[0]
        values, vectors, residuals = leading_right_singular_vectors(
            train, num_columns, self.rank, tolerance=self.tolerance, max_iterations=self.max_iterations, seed=self.seed
        )
        if residuals[-1] > self.tolerance and len(residuals) == self.max_iterations:
            raise StageError(
                f"truncated_svd: residual {residuals[-1]:.2g} after max_iterations = {self.max_iterations}, "
                f"above tolerance = {self.tolerance:g}"
            )
        return {"values": values, "vectors": vectors, "residuals": np.asarray(residuals)}

    def apply(self, block: np.ndarray, state: Mapping[str, np.ndarray]) -> np.ndarray:
        """(rows, ...) to (rows, rank), float32."""
        import numpy as np

        rows = block.reshape(len(block), -1).astype(np.float64)
        coordinates: np.ndarray = (rows @ state["vectors"].T).astype(np.float32)
        return coordinates


def _num_features(block: np.ndarray) -> int:
    return int(block[0].size)
