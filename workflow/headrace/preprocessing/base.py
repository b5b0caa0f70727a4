"""What a kind of preprocessing step must give: a fit over row blocks, and a pure map of one block."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from headrace.datasets.base import DataInfo
from headrace.experiments.config import Kind, PositiveFloat, PositiveInt

if TYPE_CHECKING:
    import numpy as np

    from headrace.blocks import Block
    from headrace.linalg.blocks import RowBlocks
    from headrace.linalg.progress import Progress

State = Mapping[str, "np.ndarray"]


@dataclass(frozen=True)
class FitData:
    """What a step may learn from, after the steps before it. Blocks are read when they are asked for, by workers."""

    inputs: RowBlocks
    """The inputs of the training split."""
    progress: Progress
    """To be told of every iteration by steps that iterate."""
    labelled: RowBlocks | None = None
    """Pairs (inputs, target) of the training split; None where there is nothing to predict."""
    all_inputs: RowBlocks | None = None
    """The inputs of all rows, training first: for steps on a graph, where rows are nodes. They see no target."""
    adjacency: RowBlocks | None = None
    """Of a graph: CSR rows (rows of a block, all rows); None where there is none."""
    info: DataInfo | None = None
    """What goes in."""


@dataclass(frozen=True)
class NamedFile:
    """A file that a parameter of a step names."""

    name: str
    """As it is given; relative to the working directory."""
    sha256: str | None = None
    """What it must hold, where that was said."""

    @property
    def path(self) -> Path:
        """Where it is."""
        return Path(self.name).expanduser()


class StepSpec(Kind):
    """Parameters of one step in a chain."""

    reads: ClassVar[tuple[str, ...]] = ("dense",)
    """The layouts of inputs that it works on: dense, ragged, sparse."""
    needs: ClassVar[frozenset[Literal["target", "graph"]]] = frozenset()
    """What data must have beside inputs."""
    reads_codes: ClassVar[bool] = False
    """Whether it works on inputs that are codes, as the bytes of a text."""
    reads_missing: ClassVar[bool] = False
    """Whether it works on inputs that may be NaN."""

    def files(self) -> Mapping[str, NamedFile]:
        """The files that it reads, by the parameter that names each; what they hold is part of the result's identity.

        They are read by `filled_in`, when an experiment is checked, and by `fit`.
        """
        return {}

    def filled_in(self) -> StepSpec:
        """Itself, with parameters that its files decide. Raises ValueError that names the parameter, or InputError."""
        return self

    @abstractmethod
    def describe(self, info: DataInfo, num_train: int) -> DataInfo:
        """What comes out when `info` goes in. Raises ValueError that names the parameter when it cannot work."""

    def fit(self, data: FitData) -> State:
        """Learn from the training split alone: arrays by name, with at least one number in each.

        Reductions run along a fixed tree over the blocks, whoever computed them. Raises StageError.
        """
        return {}

    @abstractmethod
    def apply(self, block: Block, state: State, rows: slice) -> Block:
        """Transform a block of rows; the result must not depend on which rows share the block.

        `rows` says where they lie in the store, counted over all splits, training first.
        """


class IterativeSpec(StepSpec):
    """Parameters of a step whose fit iterates. Its trace is part of the result."""

    tolerance: PositiveFloat = 1e-6
    """The fit has converged when what it measures is not above this."""
    max_iterations: PositiveInt = 100
    """Iterations at most."""
    on_no_convergence: Literal["report", "error"] = "report"
    """What to do after `max_iterations` without the tolerance: go on and say so in log, manifest, report; or end."""

    def conclude(self, progress: Progress, measure: str, value: float, *, converged: bool | None = None) -> None:
        """The fit is over, with `value` of what is measured computed from the data. Raises StageError if so wished.

        Where the tolerance bounds something else than `value`, say whether the fit has `converged`.
        """
        from headrace.errors import StageError

        bounds_value = converged is None
        converged = value <= self.tolerance if converged is None else converged
        limits = {"tolerance": self.tolerance, "max_iterations": self.max_iterations}
        progress.conclude(measure, value, converged=converged, bounds_value=bounds_value, **limits)  # type: ignore[arg-type]
        if not converged and self.on_no_convergence == "error":
            raise StageError(
                f"{self.kind}: {measure} {value:.2g} after {len(progress.trace)} iterations, above tolerance = "
                f"{self.tolerance:g}; raise max_iterations or tolerance, or say on_no_convergence: report"
            )
