"""Samples of the training split, changed at random."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from headrace.datasets.base import DataInfo
from headrace.experiments.config import NonNegativeFloat, Seed
from headrace.preprocessing.base import FitData, State, StepSpec

if TYPE_CHECKING:
    import numpy as np

    from headrace.blocks import Block

Pixels = Annotated[int, Field(ge=0)]

PLACE, NOISE = 0, 1
"""Streams of random numbers: for where an image is cut and how it is flipped, and for noise."""


class Spec(StepSpec):
    """Change every sample of the training split at random, once and for all epochs; validation and test stay as they
    are, and no sample is added: for example `{kind: augment, crop: 2, flip: horizontal, noise: 0.05}`.
    """

    crop: Pixels = 0
    """Images only: move the image by up to this many pixels up or down, and left or right, each distance as likely;
    less than its height and width."""
    border: Literal["reflect", "zeros"] = "reflect"
    """What comes in where the image was moved away: `reflect` its mirror image at the edge, `zeros` zeros."""
    flip: Literal["none", "horizontal", "vertical", "both"] = "none"
    """Images only: mirror every second one, by chance: `horizontal` swaps left and right, `vertical` above and below,
    `both` decides on each by itself."""
    noise: NonNegativeFloat = 0.0
    """Standard deviation of normal noise, in units of the inputs, that is added to every number."""
    seed: Seed = 0
    """Seed of all of it. What happens to a sample depends on the seed and on its place in the split alone."""

    def describe(self, info: DataInfo, num_train: int) -> DataInfo:
        """The shape stays; noise leaves the unit interval."""
        if not self.crop and self.flip == "none" and not self.noise:
            raise ValueError("kind: augment has nothing to do; give crop, flip or noise")
        for parameter, wanted in (("crop", self.crop > 0), ("flip", self.flip != "none")):
            if wanted and len(info.shape) not in (2, 3):
                raise ValueError(
                    f"{parameter}: needs images (height, width) or (height, width, channel), not {info.dims} "
                    f"{info.shape}; allowed here: noise"
                )
        if self.crop and self.crop >= min(info.shape[:2]):
            raise ValueError(
                f"crop: {self.crop} is too much for images of {info.shape[0]} x {info.shape[1]}; "
                f"allowed: 0 to {min(info.shape[:2]) - 1}"
            )
        return replace(info, dtype="float32", unit_interval=info.unit_interval and not self.noise)

    def fit(self, data: FitData) -> State:
        """How many rows are for training: they come first in the store."""
        import numpy as np

        return {"num_train": np.array([data.inputs.num_rows], np.int64)}

    def apply(self, block: Block, state: State, rows: slice) -> Block:
        """(rows, ...) to (rows, ...), float32."""
        import numpy as np

        assert isinstance(block, np.ndarray)
        changed = block.astype(np.float32)
        count = min(len(block), int(state["num_train"][0]) - rows.start)
        if count <= 0:
            return changed
        train = changed[:count]
        if self.crop or self.flip != "none":
            train = self._move(train, rows.start)
        if self.noise:
            from scipy.special import ndtri

            normal = ndtri(_uniforms(self.seed, NOISE, rows.start, count, math.prod(block.shape[1:])))
            train = train + self.noise * normal.reshape(train.shape)
        changed[:count] = train
        return changed

    def _move(self, images: np.ndarray, first: int) -> np.ndarray:
        """(rows, height, width, ...) moved and flipped."""
        import numpy as np

        drawn = _uniforms(self.seed, PLACE, first, len(images), 4)
        places, inside = [], []
        for axis, flip in enumerate(("vertical", "horizontal")):
            size = images.shape[1 + axis]
            moved = np.floor(drawn[:, axis] * (2 * self.crop + 1)).astype(np.int64) - self.crop
            place = moved[:, None] + np.arange(size)
            flipped = (drawn[:, 2 + axis] < 0.5) & (self.flip in (flip, "both"))
            place[flipped] = place[flipped, ::-1]
            inside.append((place >= 0) & (place < size))
            # Mirrored at the middle of the pixels at the edge, which are not doubled.
            places.append(size - 1 - np.abs(size - 1 - np.abs(place)))
        row = np.arange(len(images))[:, None, None]
        moved_images: np.ndarray = images[row, places[0][:, :, None], places[1][:, None, :]]
        if self.border == "zeros":
            moved_images[~(inside[0][:, :, None] & inside[1][:, None, :])] = 0
        return moved_images


def _uniforms(seed: int, stream: int, first: int, count: int, width: int) -> np.ndarray:
    """(count, width) numbers above 0 and below 1 for the rows from `first` on, the same for a row in any block.

    Philox (Salmon, Moraes, Dror and Shaw 2011, doi:10.1145/2063384.2063405) numbers what it draws, four at a time, so
    that it can begin at any row.
    """
    import numpy as np

    turns = -(-width // 4)
    drawn = np.random.Philox(key=seed + (stream << 64), counter=first * turns).random_raw(count * turns * 4)
    drawn = drawn.reshape(count, turns * 4)[:, :width]
    # 52 bits and a half: 0 and 1, whose normal quantiles are infinite, are never met.
    uniforms: np.ndarray = ((drawn >> np.uint64(12)) + 0.5) * 2.0**-52
    return uniforms
