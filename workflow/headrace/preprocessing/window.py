"""Overlapping windows of consecutive steps."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Literal

from headrace.datasets.base import DataInfo
from headrace.experiments.config import PositiveInt
from headrace.preprocessing.base import FitData, State, StepSpec

if TYPE_CHECKING:
    import numpy as np

    from headrace.blocks import Block, Ragged


class Spec(StepSpec):
    """Cut every sequence into windows of `size` consecutive steps, the numbers of each in one vector, earlier steps
    first: for example `{kind: window, size: 64, stride: 32, taper: hann}`. Steps behind the last whole window are left
    out.
    """

    reads: ClassVar[tuple[str, ...]] = ("dense", "ragged")

    size: PositiveInt
    """Steps in a window. The first dimension of dense samples counts the steps; no more than there are. Sequences of
    different lengths may be shorter: they become one window that ends in zeros."""
    stride: PositiveInt | None = None
    """Steps from the beginning of one window to that of the next; half of `size` by default, at least 1."""
    taper: Literal["none", "hann"] = "none"
    """What a window is multiplied by: `none`, or `hann`, the square of half a sine, which is 0 at both ends and keeps
    the window's edges out of a spectrum."""

    def describe(self, info: DataInfo, num_train: int) -> DataInfo:
        """Windows are the steps that come out."""
        if self.taper == "hann" and self.size < 3:
            raise ValueError(f"size: hann leaves nothing of {self.size} steps; allowed: 3 or more")
        if info.layout == "ragged":
            longest = self._count(max(info.longest, self.size)) if info.longest else 0
            # Only the data know every length. Above one a sequence, there is a window for each stride at most.
            most = info.num_samples + info.num_values // self._stride
            most = min(most, info.num_samples * longest) if longest else most
            windows = replace(info, shape=(self.size * info.num_features,), dims=("feature",), dtype="float32")
            return replace(windows, longest=longest, num_values=most)
        if not info.shape:
            raise ValueError("kind: window needs samples that are sequences of steps, and these are single numbers")
        if self.size > info.shape[0]:
            raise ValueError(f"size: {self.size} is above the {info.shape[0]} steps; allowed: 1 to {info.shape[0]}")
        shape = (self._count(info.shape[0]), self.size * math.prod(info.shape[1:]))
        return replace(info, shape=shape, dims=("window", "feature"), dtype="float32")

    @property
    def _stride(self) -> int:
        return self.stride or max(1, self.size // 2)

    def _count(self, steps: int) -> int:
        """Windows in a sequence of at least `size` steps."""
        return 1 + (steps - self.size) // self._stride

    def fit(self, data: FitData) -> State:
        """Nothing is learned; the taper is made once (Harris 1978, doi:10.1109/PROC.1978.10837; symmetric)."""
        import numpy as np

        return {"taper": np.hanning(self.size) if self.taper == "hann" else np.ones(self.size)}

    def apply(self, block: Block, state: State, rows: slice) -> Block:
        """(rows, steps, ...) to (rows, windows, size * numbers in a step); ragged steps to ragged windows. float32."""
        import numpy as np

        from headrace.blocks import Ragged

        if isinstance(block, Ragged):
            lengths = 1 + np.maximum(block.lengths - self.size, 0) // self._stride
            windows = self._cut_ragged(block, lengths)
        else:
            assert isinstance(block, np.ndarray)
            windows = np.lib.stride_tricks.sliding_window_view(block, self.size, axis=1)[:, :: self._stride]
            # (rows, windows, ..., size) to (rows * windows, size, ...)
            windows = np.moveaxis(windows, -1, 2)
            windows = windows.reshape(-1, *windows.shape[2:])
        if self.taper == "hann":
            windows = windows * state["taper"].reshape(-1, *[1] * (windows.ndim - 2))
        flat = windows.reshape(len(windows), math.prod(windows.shape[1:])).astype(np.float32, copy=False)
        if isinstance(block, Ragged):
            return Ragged(flat, lengths)
        return flat.reshape(len(block), self._count(block.shape[1]), flat.shape[1])

    def _cut_ragged(self, block: Ragged, lengths: np.ndarray) -> np.ndarray:
        """(all windows, size, ...); `lengths` are the windows of each row."""
        import numpy as np

        from headrace.blocks import offsets_of

        within = np.arange(int(lengths.sum()), dtype=np.int64) - np.repeat(offsets_of(lengths)[:-1], lengths)
        offsets = block.offsets
        places = (np.repeat(offsets[:-1], lengths) + within * self._stride)[:, None] + np.arange(self.size)
        # One step of zeros behind all others fills what is too short.
        nothing = np.zeros((1, *block.values.shape[1:]), block.values.dtype)
        places[places >= np.repeat(offsets[1:], lengths)[:, None]] = len(block.values)
        windows: np.ndarray = np.concatenate([block.values, nothing]).take(places, axis=0)
        return windows
