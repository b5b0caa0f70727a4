"""Clusters around centres."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal

from headrace.datasets.base import DataInfo
from headrace.experiments.config import PositiveFloat, PositiveInt, Seed
from headrace.preprocessing.base import FitData, IterativeSpec, State

if TYPE_CHECKING:
    from headrace.blocks import Block

COMPUTES = (
    "linalg.centred",
    "linalg.columns",
    "linalg.compiled_distances",
    "linalg.distances",
    "linalg.lloyd",
    "linalg.seeding",
)


class Spec(IterativeSpec):
    """Find clusters in the training split by Lloyd's iteration, and describe a sample by how it lies to their centres:
    for example `{kind: kmeans, clusters: 20, output: one_hot}`. Centres start at samples far from each other
    (k-means||); a cluster that loses all samples starts again at the one farthest from its centre. The trace holds the
    inertia: the sum of the squared distances of all training samples from their nearest centres.
    """

    reads: ClassVar[tuple[str, ...]] = ("dense", "sparse")

    clusters: PositiveInt
    """How many clusters; at most the number of training samples."""
    output: Literal["distances", "one_hot"] = "distances"
    """`distances`: the Euclidean distance from every centre; `one_hot`: 1 for the nearest centre and 0 for all
    others."""
    keep_inputs: bool = False
    """Whether the inputs come first in what comes out, flattened, with the new numbers behind them; sparse inputs stay
    sparse then."""
    seed: Seed = 0
    """Seed of the starting centres."""
    tolerance: PositiveFloat = 1e-4
    """The fit has converged when the squared movement of all centres together in one iteration is not above this,
    relative to the mean variance of the features."""
    max_iterations: PositiveInt = 300
    """Passes over the training split at most, after some 12 that choose the starting centres."""

    def describe(self, info: DataInfo, num_train: int) -> DataInfo:
        """One number for each cluster, behind the inputs if they are kept."""
        from headrace.linalg.columns import describe_columns

        if self.clusters > num_train:
            raise ValueError(
                f"clusters: {self.clusters} is above the {num_train} training samples; allowed: 1 to {num_train}"
            )
        marks = self.output == "one_hot"
        kept, stored = self.keep_inputs, 1 if marks else None
        return describe_columns(info, self.clusters, "cluster", keep_inputs=kept, unit_interval=marks, stored=stored)

    def fit(self, data: FitData) -> State:
        """See linalg/lloyd.py and linalg/seeding.py."""
        from headrace.errors import StageError
        from headrace.linalg.distances import Points
        from headrace.linalg.lloyd import lloyd
        from headrace.linalg.seeding import scattered_centres

        points = Points.of(data.inputs)
        found = lloyd(
            points,
            partial(scattered_centres, points, self.clusters, self.seed),
            tolerance=self.tolerance,
            max_iterations=self.max_iterations,
            progress=data.progress,
        )
        if not found.converged and self.on_no_convergence == "error":
            # What is measured is the inertia, but it is by their movement that centres have arrived.
            raise StageError(
                f"kmeans: relative movement of the centres {found.movement:.2g} after {len(data.progress.trace)} "
                f"iterations, above tolerance = {self.tolerance:g}; raise max_iterations or tolerance, or say "
                "on_no_convergence: report"
            )
        self.conclude(data.progress, "inertia", found.inertia, converged=found.converged)
        return {"centres": found.centres, "origin": points.origin}

    def apply(self, block: Block, state: State, rows: slice) -> Block:
        """(rows, ...) to (rows, clusters), behind the inputs if they are kept; float32."""
        import numpy as np

        from headrace.linalg.columns import with_columns
        from headrace.linalg.distances import nearest, points_of, squared_distances

        points, centres = points_of(block, state["origin"]), state["centres"] - state["origin"]
        if self.output == "distances":
            columns = np.sqrt(squared_distances(points, centres))
        else:
            labels, _ = nearest(points, centres)
            columns = np.zeros((len(labels), len(centres)), np.float32)
            columns[np.arange(len(labels)), labels] = 1
        return with_columns(block, columns, keep_inputs=self.keep_inputs)
