"""Every feature by its quantile."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from headrace.datasets.base import DataInfo
from headrace.preprocessing.base import FitData, State, StepSpec

if TYPE_CHECKING:
    import numpy as np

    from headrace.blocks import Block

COMPUTES = ("linalg.quantiles",)
SMALLEST_SHARE = 1e-7
"""Shares nearer to 0 or 1 are taken for this: a normal distribution has no number for 0 and 1 themselves."""


class Spec(StepSpec):
    """Replace every number by the share of the training samples whose feature is smaller, from 0 to 1, or by the number
    of the normal distribution that has this share below it; for example `{kind: quantile_scale, output: normal}`.

    A number that many training samples have becomes the middle of its shares. What is not above the smallest training
    number becomes 0 (-5.2 with `normal`), what is not below the largest one 1 (5.2), and a constant feature 0 (-5.2).
    """

    output: Literal["uniform", "normal"] = "uniform"
    """What the training samples are spread like: evenly from 0 to 1, or normally with mean 0 and variance 1."""
    quantiles: Annotated[int, Field(ge=2, le=100_000)] = 1000
    """Numbers kept of every feature, 2 to 100,000: shares between those of two of them are interpolated. With fewer
    training samples, there are as many as samples."""
    error: Annotated[float, Field(ge=1e-6, lt=0.5)] = 0.001
    """How far the share of a number that is kept may be off at most, from 0.000001 to below 0.5; with no more than
    0.5 / `error` training samples all are exact. Smaller ones take more passes over the training split."""

    def describe(self, info: DataInfo, num_train: int) -> DataInfo:
        """The shape stays."""
        return replace(info, dtype="float32", unit_interval=self.output == "uniform")

    def fit(self, data: FitData) -> State:
        """Quantiles by mergeable summaries; see linalg/quantiles.py. State: knots (features, k) and levels (k,)."""
        import numpy as np

        from headrace.linalg.quantiles import column_quantiles

        levels = np.linspace(0, 1, max(2, min(self.quantiles, data.inputs.num_rows)))
        num_columns = data.info.num_features if data.info else None
        knots, _ = column_quantiles(data.inputs, levels, self.error, num_columns)
        return {"knots": knots, "levels": levels}

    def apply(self, block: Block, state: State, rows: slice) -> Block:
        """(rows, ...) to (rows, ...), float32."""
        import numpy as np
        from scipy.special import ndtri

        assert isinstance(block, np.ndarray)
        flat = block.reshape(len(block), -1)
        scaled = np.empty(flat.shape, np.float32)
        for feature, knots in enumerate(state["knots"]):
            shares = _shares(flat[:, feature].astype(np.float64), knots, state["levels"])
            if self.output == "normal":
                shares = ndtri(np.clip(shares, SMALLEST_SHARE, 1 - SMALLEST_SHARE))
            scaled[:, feature] = shares
        return scaled.reshape(block.shape)


def _shares(values: np.ndarray, knots: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """(rows,) of one feature. Where knots are tied, one way to interpolate ends in the last of them, one in the first.

    Their mean is the middle, as sklearn.preprocessing.QuantileTransformer has it.
    """
    import numpy as np

    up = np.interp(values, knots, levels)
    down = np.interp(-values, -knots[::-1], -levels[::-1])
    shares: np.ndarray = (up - down) / 2
    shares[values >= knots[-1]] = 1.0
    shares[values <= knots[0]] = 0.0
    return shares
