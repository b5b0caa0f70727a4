"""Gaussian classes of any number and size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field, model_validator

from headrace.datasets.base import INPUTS, TARGET, DataInfo, DatasetSpec
from headrace.experiments.config import PositiveFloat, PositiveInt, Seed
from headrace.formats import generators
from headrace.formats.generators import LICENCE, SOURCE, Generated

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self

    import numpy as np

COMPUTES = ("formats.generators",)


class Spec(DatasetSpec):
    """Samples around the means of Gaussian classes, drawn from a seed, at any scale; for example
    `{kind: synthetic_classification, num_samples: 100000, num_features: 50}`.

    The best that a classifier can do is known: of two classes it mistakes the share of a normal distribution that lies
    beyond half the `separation`.
    """

    num_samples: PositiveInt = 10_000
    """How many samples."""
    num_features: PositiveInt = 20
    """Numbers in a sample."""
    num_classes: Annotated[int, Field(ge=2, le=10_000)] = 2
    """How many classes; all are equally large."""
    separation: PositiveFloat = 3.0
    """Distance between the means of two classes in units of the noise; the root mean square where there are more."""
    noise: PositiveFloat = 1.0
    """Standard deviation of every feature within a class."""
    seed: Seed = 0
    """Seed of the means and of every sample."""

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
            shape=(self.num_features,),
            dims=("feature",),
            class_names=generators.class_names(self.num_classes),
            class_counts=generators.deal(self.num_samples, self.num_classes),
            licence=LICENCE,
            source=SOURCE,
        )

    def open(self, scratch: Path) -> Gaussians:
        """Nothing is drawn before it is read."""
        return Gaussians(self)


class Gaussians(Generated):
    """The samples."""

    def __init__(self, spec: Spec) -> None:
        from headrace.stores.layout import Variable

        self.num_features, self.distance, self.noise = spec.num_features, spec.separation * spec.noise, spec.noise
        variables = {
            INPUTS: Variable(("feature",), (spec.num_features,), "float32"),
            TARGET: Variable((), (), "int64"),
        }
        super().__init__(spec.seed, spec.num_samples, spec.num_classes, 4 * spec.num_features + 8, variables)

    def means(self) -> np.ndarray:
        """(classes, features) float32."""
        return generators.class_means(self.seed, self.num_classes, self.num_features, self.distance)

    def draw(self, part: int, name: str) -> np.ndarray:
        """(rows, features) float32."""
        generator = generators.seeded(self.seed, generators.INPUTS, part)
        return generators.draw_around(self.means(), self.classes(part), self.noise, generator)
