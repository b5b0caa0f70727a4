"""What a linear classifier says."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from headrace.datasets.base import DataInfo
from headrace.experiments.config import NonNegativeFloat, PositiveFloat, PositiveInt
from headrace.preprocessing.base import FitData, IterativeSpec, State

if TYPE_CHECKING:
    from headrace.blocks import Block

COMPUTES = ("linalg.centred", "linalg.columns", "linalg.descent", "linalg.linear_fits")


class Spec(IterativeSpec):
    """Fit a multinomial logistic regression to the classes of the training split, and describe a sample by what that
    says of it: for example `{kind: logistic_features, penalty: 0.01, keep_inputs: true}`. It has seen the labels of the
    training samples, so that it is surer of these than of others.
    """

    reads: ClassVar[tuple[str, ...]] = ("dense", "sparse")
    needs: ClassVar = frozenset({"target"})

    penalty: NonNegativeFloat = 1e-3
    """The fit minimises the mean over the training samples of -log p(own class), plus `penalty` / 2 times the sum of
    the squared weights of all classes; intercepts are free. With n training samples that is C = 1 / (penalty n) in
    scikit-learn's LogisticRegression, and C = 2 / (penalty n) for two classes, where that has a single vector of
    weights for both."""
    solver: Literal["lbfgs", "gradient_descent"] = "lbfgs"
    """How to find the minimum: `lbfgs` remembers the last 10 steps and needs fewer passes; `gradient_descent` goes
    along the gradient, as far as the loss falls enough."""
    output: Literal["probabilities", "logits"] = "probabilities"
    """`probabilities` sum to 1; `logits` are the weighted sums before that, 0 on average over the classes. A class
    without training samples has probability 0, and the lowest of the other classes' logits."""
    keep_inputs: bool = False
    """Whether the inputs come first in what comes out, flattened, with the new numbers behind them; sparse inputs stay
    sparse then."""
    tolerance: PositiveFloat = 1e-6
    """The fit has converged when the norm of the gradient is not above this, relative to that of the first one, which
    is taken with all weights at zero; weights are scaled by the deviations of their features for that."""
    max_iterations: PositiveInt = 500
    """Steps at most; each takes a pass over the training split, some take several."""

    def describe(self, info: DataInfo, num_train: int) -> DataInfo:
        """One number for each class, behind the inputs if they are kept."""
        from headrace.linalg.columns import describe_columns

        if len(info.class_names) < 2:
            found = "1 class" if info.class_names else "no classes"
            raise ValueError(f"kind: {self.kind} tells classes apart, and these data have {found}; allowed: 2 or more")
        unit = self.output == "probabilities"
        return describe_columns(info, len(info.class_names), "class", keep_inputs=self.keep_inputs, unit_interval=unit)

    def fit(self, data: FitData) -> State:
        """See linalg/linear_fits.py and linalg/descent.py."""
        import numpy as np

        from headrace.errors import StageError
        from headrace.linalg.linear_fits import fit_softmax, survey

        assert data.labelled is not None
        seen = survey(data.labelled)
        present = np.flatnonzero(seen.counts)
        if len(present) < 2:
            raise StageError(
                f"{self.kind}: all training samples are of one class (code {present[0]}); change the split, or leave "
                "this step out"
            )
        found = fit_softmax(
            data.labelled,
            seen,
            penalty=self.penalty,
            solver=self.solver,
            tolerance=self.tolerance,
            max_iterations=self.max_iterations,
            progress=data.progress,
        )
        self.conclude(data.progress, "gradient relative to the first one", found.gradient)
        # A class may lie in other splits alone.
        classes = max(len(seen.counts), len(data.info.class_names) if data.info else 0)
        return {
            "weights": found.weights,
            "intercept": found.intercept,
            "present": present,
            "classes": np.array(classes),
        }

    def apply(self, block: Block, state: State, rows: slice) -> Block:
        """(rows, ...) to (rows, classes), behind the inputs if they are kept; float32."""
        import numpy as np

        from headrace.linalg.columns import with_columns
        from headrace.linalg.kernels import times
        from headrace.linalg.linear_fits import softmax

        logits = times(block, state["weights"]) + state["intercept"]
        shape = len(logits), int(state["classes"])
        if self.output == "probabilities":
            columns = np.zeros(shape)
            columns[:, state["present"]] = softmax(logits)
        else:
            columns = np.repeat(logits.min(axis=1, keepdims=True), shape[1], axis=1)
            columns[:, state["present"]] = logits
        return with_columns(block, columns, keep_inputs=self.keep_inputs)
