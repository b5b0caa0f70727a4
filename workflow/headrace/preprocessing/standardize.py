"""Zero mean and unit variance."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from headrace.datasets.base import DataInfo
from headrace.preprocessing.base import FitData, State, StepSpec

if TYPE_CHECKING:
    import numpy as np

    from headrace.blocks import Block
    from headrace.linalg.matrix import Moments


class Spec(StepSpec):
    """Subtract the mean of the training split and divide by its standard deviation. Constant features become zero."""

    per: Literal["feature", "all"] = "feature"
    """`feature`: one mean and deviation for every feature; `all`: one for all features together, which keeps
    the contrast between the pixels of an image."""

    def describe(self, info: DataInfo, num_train: int) -> DataInfo:
        """The shape stays; the range does not."""
        return replace(info, unit_interval=False)

    def fit(self, data: FitData) -> State:
        """Mean and variance by pairwise merging (Chan, Golub and LeVeque 1983), along the tree of the blocks."""
        import numpy as np

        found = data.inputs.sum(_moments, self.per)
        count, mean = found.count, found.mean
        deviation = np.sqrt(found.squares / count)
        # A constant feature leaves only rounding behind, which must not be blown up to unit variance: the bound on the
        # error of a two-pass variance (Chan, Golub and LeVeque 1983, table 2).
        error = count * np.finfo(np.float64).eps
        constant = deviation**2 <= error * deviation**2 + (error * mean) ** 2
        return {"mean": np.asarray(mean), "scale": np.where(constant, 1.0, deviation)}

    def apply(self, block: Block, state: State, rows: slice) -> Block:
        """(rows, ...) to (rows, ...), float32."""
        import numpy as np

        assert isinstance(block, np.ndarray)
        scaled: np.ndarray = ((block - state["mean"]) / state["scale"]).astype(np.float32)
        return scaled


def _moments(block: np.ndarray, per: str) -> Moments:
    """Of every feature, or of all numbers of a block together."""
    from headrace.linalg.matrix import Moments, block_moments

    if per == "all":
        found = block_moments(block.reshape(-1, 1))
        return Moments(found.count, found.mean[0], found.squares[0])
    found = block_moments(block)
    shape = block.shape[1:]
    return Moments(found.count, found.mean.reshape(shape), found.squares.reshape(shape))
