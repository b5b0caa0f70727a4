"""Zero mean and unit variance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from headrace.datasets.base import DataInfo
from headrace.preprocessing.base import StepSpec

if TYPE_CHECKING:
    import numpy as np

    from headrace.linalg.blocks import RowBlocks


class Spec(StepSpec):
    """Subtract the mean of the training split and divide by its standard deviation. Constant features become zero."""

    per: Literal["feature", "all"] = "feature"
    """`feature`: one mean and deviation for every feature; `all`: one for all features together, which keeps
    the contrast between the pixels of an image."""

    def describe(self, info: DataInfo, num_train: int) -> DataInfo:
        """The shape stays; the range does not."""
        return replace(info, unit_interval=False)

    def fit(self, train: RowBlocks) -> Mapping[str, np.ndarray]:
        """Mean and variance by pairwise merging (Chan, Golub and LeVeque 1983), blocks merged in their order."""
        import numpy as np

        count, mean, squares = 0, np.float64(0), np.float64(0)
        for rows, block_mean, block_squares in train.map(_moments, self.per):
            total = count + rows
            difference = block_mean - mean
            mean = mean + difference * (rows / total)
            squares = squares + block_squares + difference**2 * (count * rows / total)
            count = total
        deviation = np.sqrt(squares / count)
        # A constant feature leaves only rounding behind, which must not be blown up to unit variance: the bound on the
        # error of a two-pass variance (Chan, Golub and LeVeque 1983, table 2).
        error = count * np.finfo(np.float64).eps
        constant = deviation**2 <= error * deviation**2 + (error * mean) ** 2
        return {"mean": np.asarray(mean), "scale": np.where(constant, 1.0, deviation)}

    def apply(self, block: np.ndarray, state: Mapping[str, np.ndarray]) -> np.ndarray:
        """(rows, ...) to (rows, ...), float32."""
        import numpy as np

        scaled: np.ndarray = ((block - state["mean"]) / state["scale"]).astype(np.float32)
        return scaled


def _moments(block: np.ndarray, per: str) -> tuple[int, np.ndarray, np.ndarray]:
    """Count, mean and sum of squared deviations of one block, in float64."""
    import numpy as np

    values = block.astype(np.float64) if per == "feature" else block.astype(np.float64).reshape(-1)
    mean = values.mean(axis=0)
    return len(values), mean, ((values - mean) ** 2).sum(axis=0)
