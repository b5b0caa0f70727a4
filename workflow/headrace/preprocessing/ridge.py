"""What a linear least squares fit predicts."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from headrace.datasets.base import DataInfo
from headrace.experiments.config import NonNegativeFloat, PositiveFloat, PositiveInt
from headrace.preprocessing.base import FitData, IterativeSpec, State

if TYPE_CHECKING:
    from headrace.blocks import Block

COMPUTES = ("linalg.centred", "linalg.columns", "linalg.descent", "linalg.linear_fits")


class Spec(IterativeSpec):
    """Fit the targets of the training split by linear least squares with a penalty on large weights, and describe a
    sample by the prediction: for example `{kind: ridge, penalty: 0.1}`. In a classification it predicts 1 for a
    sample's own class and -1 for every other. It has seen the targets of the training samples, so that it fits these
    better than others.
    """

    reads: ClassVar[tuple[str, ...]] = ("dense", "sparse")
    needs: ClassVar = frozenset({"target"})

    penalty: NonNegativeFloat = 1e-3
    """The fit minimises half the mean squared error over the training samples, plus `penalty` / 2 times the sum of the
    squared weights; intercepts are free. With n training samples that is alpha = penalty n in scikit-learn's Ridge."""
    solver: Literal["lbfgs", "gradient_descent"] = "lbfgs"
    """How to find the minimum: `lbfgs` remembers the last 10 steps and needs fewer passes; `gradient_descent` goes
    along the gradient, as far as the error falls enough."""
    keep_inputs: bool = False
    """Whether the inputs come first in what comes out, flattened, with the predictions behind them; sparse inputs stay
    sparse then."""
    tolerance: PositiveFloat = 1e-6
    """The fit has converged when the norm of the gradient is not above this, relative to that of the first one, which
    is taken with all weights at zero; weights are scaled by the deviations of their features and targets for that."""
    max_iterations: PositiveInt = 500
    """Steps at most; each takes a pass over the training split, some take several."""

    def describe(self, info: DataInfo, num_train: int) -> DataInfo:
        """One number for each class or number to predict, behind the inputs if they are kept."""
        from headrace.linalg.columns import describe_columns

        outputs = len(info.class_names) or info.num_targets
        if not outputs:
            raise ValueError(f"kind: {self.kind} predicts classes or numbers, and these data have neither")
        return describe_columns(info, outputs, "output", keep_inputs=self.keep_inputs)

    def fit(self, data: FitData) -> State:
        """See linalg/linear_fits.py and linalg/descent.py."""
        from headrace.linalg.linear_fits import fit_squares, survey

        assert data.labelled is not None
        seen = survey(data.labelled)
        if seen.target is None:
            # A class may lie in other splits alone.
            outputs = max(len(seen.counts), len(data.info.class_names) if data.info else 0)
        else:
            outputs = len(seen.target.mean)
        found = fit_squares(
            data.labelled,
            seen,
            outputs=outputs,
            penalty=self.penalty,
            solver=self.solver,
            tolerance=self.tolerance,
            max_iterations=self.max_iterations,
            progress=data.progress,
        )
        self.conclude(data.progress, "gradient relative to the first one", found.gradient)
        return {"weights": found.weights, "intercept": found.intercept}

    def apply(self, block: Block, state: State, rows: slice) -> Block:
        """(rows, ...) to (rows, outputs), behind the inputs if they are kept; float32."""
        from headrace.linalg.columns import with_columns
        from headrace.linalg.kernels import times

        return with_columns(block, times(block, state["weights"]) + state["intercept"], keep_inputs=self.keep_inputs)
