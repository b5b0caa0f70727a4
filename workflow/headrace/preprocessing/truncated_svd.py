"""Projection on the leading singular vectors."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from headrace.datasets.base import DataInfo
from headrace.experiments.config import PositiveFloat, PositiveInt, Seed
from headrace.preprocessing.base import FitData, IterativeSpec, State

if TYPE_CHECKING:
    from headrace.blocks import Block

COMPUTES = ("linalg.svd",)


class Spec(IterativeSpec):
    """Replace a sample by its coordinates on the leading right singular vectors of the training split; not centred."""

    reads: ClassVar[tuple[str, ...]] = ("dense", "sparse")

    rank: PositiveInt
    """How many singular vectors to keep; at most the number of features and of training samples."""
    tolerance: PositiveFloat = 1e-6
    """Largest residual allowed, relative to the largest squared singular value."""
    max_iterations: PositiveInt = 50
    """Passes over the training split at most."""
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
        shape, dims = (self.rank,), ("component",)
        return replace(info, shape=shape, dims=dims, unit_interval=False, layout="dense", dtype="float32", num_values=0)

    def fit(self, data: FitData) -> State:
        """Block Krylov iteration; see linalg/svd.py."""
        from headrace.linalg.matrix import Matrix
        from headrace.linalg.svd import leading_right_singular_vectors

        values, vectors, residual = leading_right_singular_vectors(
            Matrix(data.inputs),
            self.rank,
            tolerance=self.tolerance,
            max_iterations=self.max_iterations,
            seed=self.seed,
            progress=data.progress,
        )
        self.conclude(data.progress, "relative residual", residual)
        return {"values": values, "vectors": vectors}

    def apply(self, block: Block, state: State, rows: slice) -> Block:
        """(rows, ...) to (rows, rank), float32."""
        import numpy as np

        from headrace.linalg.kernels import times

        return times(block, state["vectors"].T).astype(np.float32)
