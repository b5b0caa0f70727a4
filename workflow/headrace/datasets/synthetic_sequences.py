"""Sequences of different lengths, of any number."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field, model_validator

from headrace.datasets.base import INPUTS, TARGET, DataInfo, DatasetSpec
from headrace.experiments.config import NonNegativeFloat, PositiveInt, Seed
from headrace.formats import generators
from headrace.formats.generators import CYCLE, LENGTHS, LICENCE, SOURCE, Generated

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self

    import numpy as np

    from headrace.blocks import Ragged

FASTEST = CYCLE // 4
"""The highest frequency has a cycle in four steps."""

COMPUTES = ("formats.generators",)


class Spec(DatasetSpec):
    """Noisy sines of different lengths, drawn from a seed, at any scale; the class is their frequency, and every
    feature has a phase of its own; for example
    `{kind: synthetic_sequences, num_samples: 2000, min_length: 20, max_length: 200}`.
    """

    num_samples: PositiveInt = 5000
    """How many sequences."""
    num_features: PositiveInt = 1
    """Numbers in a step."""
    min_length: PositiveInt = 20
    """Steps of the shortest sequence."""
    max_length: PositiveInt = 100
    """Steps of the longest one; all lengths from `min_length` to it are equally frequent."""
    num_classes: Annotated[int, Field(ge=2, le=1024)] = 4
    """How many frequencies, evenly spaced up to one cycle in four steps; all are equally frequent."""
    noise: NonNegativeFloat = 0.5
    """Standard deviation of the noise on every number; the sines have an amplitude of 1."""
    seed: Seed = 0
    """Seed of every sequence."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.num_samples < self.num_classes:
            raise ValueError(f"num_samples: {self.num_samples} is too few for num_classes: {self.num_classes}")
        if self.max_length < self.min_length:
            raise ValueError(f"max_length: {self.max_length} lies below min_length: {self.min_length}")
        return self

    def describe(self) -> DataInfo:
        """By arithmetic: lengths are dealt like classes."""
        num_lengths = self.max_length - self.min_length + 1
        rounds, rest = divmod(self.num_samples, num_lengths)
        above = rounds * num_lengths * (num_lengths - 1) // 2 + rest * (rest - 1) // 2
        return DataInfo(
            tasks=("classification",),
            num_samples=self.num_samples,
            shape=(self.num_features,),
            dims=("feature",),
            class_names=generators.class_names(self.num_classes),
            class_counts=generators.deal(self.num_samples, self.num_classes),
            layout="ragged",
            num_values=self.num_samples * self.min_length + above,
            longest=self.max_length if rounds else self.min_length + rest - 1,
            licence=LICENCE,
            source=SOURCE,
        )

    def open(self, scratch: Path) -> Sines:
        """Nothing is drawn before it is read."""
        return Sines(self)


class Sines(Generated):
    """The sequences."""

    def __init__(self, spec: Spec) -> None:
        from headrace.stores.layout import Variable

        self.num_features, self.noise = spec.num_features, spec.noise
        self.min_length, self.num_lengths = spec.min_length, spec.max_length - spec.min_length + 1
        variables = {
            INPUTS: Variable(("feature",), (spec.num_features,), "float32", "ragged"),
            TARGET: Variable((), (), "int64"),
        }
        row_bytes = 2 * (spec.min_length + spec.max_length) * spec.num_features + 16
        super().__init__(spec.seed, spec.num_samples, spec.num_classes, row_bytes, variables)

    def lengths(self, name: str) -> np.ndarray:
        """(rows,) int64, without drawing a single step."""
        import numpy as np

        return np.concatenate([self.lengths_of(part) for part in range(len(self.borders) - 1)])

    def lengths_of(self, part: int) -> np.ndarray:
        """(rows of the part,) int64."""
        return self.min_length + self.dealt(part, self.num_lengths, LENGTHS)

    def draw(self, part: int, name: str) -> Ragged:
        """(steps of all rows, features) float32."""
        import numpy as np

        from headrace.blocks import Ragged

        lengths, classes = self.lengths_of(part), self.classes(part)
        generator = generators.seeded(self.seed, generators.INPUTS, part)
        phases = generator.integers(CYCLE, size=(len(lengths), self.num_features))
        speeds = (classes + 1) * FASTEST // self.num_classes
        rows = Ragged(np.empty((int(lengths.sum()), self.num_features), np.float32), lengths)
        offsets = rows.offsets
        for block in generators.blocks_of(len(rows.values), 8 * self.num_features):
            steps = np.arange(block.start, block.stop)
            row = np.searchsorted(offsets, steps, side="right") - 1
            angles = phases[row] + (speeds[row] * (steps - offsets[row]))[:, None]
            values = rows.values[block]
            generator.standard_normal(dtype=np.float32, out=values)
            values *= np.float32(self.noise)
            values += generators.wave()[angles % CYCLE]
        return rows
