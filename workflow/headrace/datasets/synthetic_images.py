"""Images of gratings, of any number and size."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, model_validator

from headrace.datasets.base import INPUTS, TARGET, DataInfo, DatasetSpec
from headrace.experiments.config import NonNegativeFloat, PositiveInt, Seed
from headrace.formats import generators
from headrace.formats.generators import CYCLE, LICENCE, SOURCE, Generated

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self

    import numpy as np

CYCLES = 4
"""Cycles of a grating over the shorter side of an image."""
MIN_PIXELS = 4
"""Pixels of a cycle at least: fewer say too little about a direction."""

COMPUTES = ("formats.generators",)


class Spec(DatasetSpec):
    """Noisy gratings drawn from a seed, at any scale; the class is their direction, and phase and contrast vary; for
    example `{kind: synthetic_images, num_samples: 50000, height: 32, width: 32, channels: 3}`.
    """

    num_samples: PositiveInt = 5000
    """How many images."""
    height: Annotated[int, Field(ge=4)] = 28
    """Rows of pixels."""
    width: Annotated[int, Field(ge=4)] = 28
    """Columns of pixels."""
    channels: PositiveInt = 1
    """Values of a pixel; each channel has a contrast of its own. Of one there is no dimension."""
    num_classes: Annotated[int, Field(ge=2, le=180)] = 10
    """How many directions, evenly over half a turn; all are equally frequent."""
    noise: NonNegativeFloat = 0.1
    """Standard deviation of the noise on every pixel, where black is 0 and white is 1."""
    seed: Seed = 0
    """Seed of every image."""

    @model_validator(mode="after")
    def _every_class_has_samples(self) -> Self:
        if self.num_samples < self.num_classes:
            raise ValueError(f"num_samples: {self.num_samples} is too few for num_classes: {self.num_classes}")
        return self

    def describe(self) -> DataInfo:
        """By arithmetic."""
        return DataInfo(
            tasks=("classification", "density"),
            num_samples=self.num_samples,
            shape=(self.height, self.width) if self.channels == 1 else (self.height, self.width, self.channels),
            dims=("height", "width") if self.channels == 1 else ("height", "width", "channel"),
            class_names=generators.class_names(self.num_classes),
            class_counts=generators.deal(self.num_samples, self.num_classes),
            unit_interval=True,
            dtype="uint8",
            licence=LICENCE,
            source=SOURCE,
        )

    def open(self, scratch: Path) -> Gratings:
        """Nothing is drawn before it is read."""
        return Gratings(self, self.describe())


class Gratings(Generated):
    """The images."""

    def __init__(self, spec: Spec, info: DataInfo) -> None:
        from headrace.stores.layout import Variable

        self.height, self.width, self.channels, self.noise = spec.height, spec.width, spec.channels, spec.noise
        self.image = Variable(info.dims, info.shape, "uint8", scale=1 / 255)
        variables = {INPUTS: self.image, TARGET: Variable((), (), "int64")}
        super().__init__(spec.seed, spec.num_samples, spec.num_classes, info.num_features + 8, variables)

    def draw(self, part: int, name: str) -> np.ndarray:
        """(rows, height, width[, channels]) uint8."""
        import numpy as np

        classes, generator = self.classes(part), generators.seeded(self.seed, generators.INPUTS, part)
        images = np.empty((len(classes), self.height, self.width, self.channels), np.uint8)
        for block in generators.blocks_of(len(images), 4 * self.height * self.width * self.channels):
            images[block] = self._draw_block(classes[block], generator)
        return images.reshape(len(images), *self.image.shape)

    def _draw_block(self, classes: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """(rows, height, width, channels) float32 in 0..255, rounded."""
        import numpy as np

        phases = gratings(self.num_classes, self.height, self.width)[classes]
        phases += generator.integers(CYCLE, size=(len(classes), 1, 1), dtype=np.int32)
        phases %= CYCLE
        contrast = generator.uniform(0.25, 0.5, (len(classes), 1, 1, self.channels)).astype(np.float32)
        values: np.ndarray = generators.wave()[phases][..., None] * contrast
        values += np.float32(0.5)
        if self.noise:
            speckles = generator.standard_normal(values.shape, np.float32)
            speckles *= np.float32(self.noise)
            values += speckles
        values *= np.float32(255)
        np.rint(values, out=values)
        np.clip(values, 0, 255, out=values)
        return values


@functools.lru_cache(maxsize=1)
def gratings(num_classes: int, height: int, width: int) -> np.ndarray:
    """(classes, height, width) int32: the phase of each pixel, in steps of a cycle."""
    import numpy as np

    pixels = max(MIN_PIXELS, min(height, width) / CYCLES)
    angles = np.pi / num_classes * np.arange(num_classes)[:, None, None]
    y, x = np.arange(height)[:, None], np.arange(width)
    phases: np.ndarray = np.rint(CYCLE / pixels * (np.cos(angles) * x + np.sin(angles) * y)).astype(np.int32)
    phases.setflags(write=False)
    return phases
