"""Samples of unit length."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Literal

from headrace.datasets.base import DataInfo
from headrace.preprocessing.base import State, StepSpec

if TYPE_CHECKING:
    import numpy as np

    from headrace.blocks import Block


class Spec(StepSpec):
    """Divide every sample by its own norm, so that only the proportions of its numbers are left; a sample of zeros
    stays. Nothing is learned from other samples: for example `{kind: normalize, norm: l1}` makes shares of counts.
    """

    reads: ClassVar[tuple[str, ...]] = ("dense", "ragged", "sparse")

    norm: Literal["l2", "l1", "max"] = "l2"
    """What becomes 1: `l2` the root of the sum of squares, `l1` the sum of absolute values, `max` the largest absolute
    value."""
    per: Literal["sample", "step"] = "sample"
    """`sample`: all numbers of a sample together; `step`: those of each of its steps by themselves, where a sample is
    a sequence of measurements (the first dimension of dense samples counts the steps)."""

    def describe(self, info: DataInfo, num_train: int) -> DataInfo:
        """The shape stays, and so do zeros and the unit interval."""
        dims = len(info.shape) + (info.layout == "ragged")
        if self.per == "step" and (info.layout == "sparse" or dims < 2):
            raise ValueError("per: step needs samples of several steps with numbers in each; allowed here: sample")
        return replace(info, dtype="float32")

    def apply(self, block: Block, state: State, rows: slice) -> Block:
        """Any layout to the same one, float32; sparse rows keep what they store."""
        import numpy as np

        from headrace.blocks import Ragged

        if isinstance(block, np.ndarray):
            width = math.prod(block.shape[1:] if self.per == "sample" else block.shape[2:])
            count = len(block) if self.per == "sample" else len(block) * block.shape[1]
            values = _unit(block.reshape(-1), np.arange(count + 1) * width, self.norm)
            return values.reshape(block.shape)
        if isinstance(block, Ragged):
            width = math.prod(block.values.shape[1:])
            steps = block.offsets if self.per == "sample" else np.arange(len(block.values) + 1)
            values = _unit(block.values.reshape(-1), steps * width, self.norm)
            return Ragged(values.reshape(block.values.shape), block.lengths)
        from scipy.sparse import csr_array

        if not block.has_canonical_format:
            # A place that is stored twice holds the sum of both.
            block = block.copy()
            block.sum_duplicates()
        values = _unit(block.data, block.indptr, self.norm)
        return csr_array((values, block.indices, block.indptr), shape=block.shape)


def _unit(values: np.ndarray, offsets: np.ndarray, norm: str) -> np.ndarray:
    """Divide each segment of (numbers,) by its norm, float32; segment i lies from offsets[i] to offsets[i + 1].

    Segments are first divided by their largest absolute value, as in LAPACK's dlassq, so that no square overflows and
    none vanishes.
    """
    import numpy as np

    lengths = np.diff(offsets)
    filled = np.flatnonzero(lengths)
    starts, lengths = offsets[filled], lengths[filled]
    scaled = values.astype(np.float64)
    if not len(filled):
        return scaled.astype(np.float32)
    peaks = np.maximum(np.maximum.reduceat(scaled, starts), -np.minimum.reduceat(scaled, starts))
    peaks[peaks == 0] = 1.0
    scaled /= np.repeat(peaks, lengths)
    if norm != "max":
        norms = np.sqrt(np.add.reduceat(scaled**2, starts)) if norm == "l2" else np.add.reduceat(np.abs(scaled), starts)
        norms[norms == 0] = 1.0
        scaled /= np.repeat(norms, lengths)
    return scaled.astype(np.float32)
