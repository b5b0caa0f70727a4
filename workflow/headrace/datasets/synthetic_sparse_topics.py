"""Counts of words in texts about planted topics, of any number."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, model_validator

from headrace.datasets.base import INPUTS, TARGET, DataInfo, DatasetSpec
from headrace.experiments.config import Fraction, PositiveInt, Seed
from headrace.formats import generators
from headrace.formats.generators import LICENCE, SOURCE, TOPICS, Generated

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self

    import numpy as np
    from scipy.sparse import csr_array

COMPUTES = ("formats.generators",)


class Spec(DatasetSpec):
    """Sparse counts of terms in texts, drawn from a seed, at any scale: the expected counts have the rank
    `num_topics`, and the class is the topic that most of a text is about; for example
    `{kind: synthetic_sparse_topics, num_samples: 20000, num_terms: 5000, num_topics: 8}`.
    """

    num_samples: PositiveInt = 5000
    """How many texts."""
    num_terms: Annotated[int, Field(ge=2, lt=2**31)] = 2000
    """Size of the vocabulary: columns of the counts."""
    num_topics: Annotated[int, Field(ge=2, le=10_000)] = 5
    """How many topics; equally many texts are mostly about each."""
    words_per_sample: PositiveInt = 100
    """Words in a text: the sum of its counts."""
    dominance: Fraction = 0.7
    """Share of the words that come from a text's own topic for certain; the others come from any."""
    seed: Seed = 0
    """Seed of the topics and of every text."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        for name in ("num_samples", "num_terms"):
            if getattr(self, name) < self.num_topics:
                raise ValueError(f"{name}: {getattr(self, name)} is too few for num_topics: {self.num_topics}")
        return self

    def describe(self) -> DataInfo:
        """By arithmetic; how many counts there are is what is expected, to a few percent."""
        return DataInfo(
            tasks=("classification",),
            num_samples=self.num_samples,
            shape=(self.num_terms,),
            dims=("term",),
            class_names=generators.class_names(self.num_topics),
            class_counts=generators.deal(self.num_samples, self.num_topics),
            layout="sparse",
            num_values=round(self.num_samples * self._different_words()),
            licence=LICENCE,
            source=SOURCE,
        )

    def _different_words(self) -> float:
        """Terms that a text is expected to hold: one that n words are expected to be is left out with exp(-n)."""
        others = (1 - self.dominance) / self.num_topics
        own, total, first = self.dominance + others, 0.0, 1
        while first <= self.num_terms:
            # Ranks that are hardly different count as one.
            last = min(self.num_terms, first + first // 64)
            ranks = last - first + 1
            words = self.words_per_sample * math.log((last + 1) / first) / math.log(self.num_terms + 1) / ranks
            total -= ranks * (math.expm1(-words * own) + (self.num_topics - 1) * math.expm1(-words * others))
            first = last + 1
        return max(1.0, min(total, self.words_per_sample, self.num_terms))

    def open(self, scratch: Path) -> Topics:
        """Nothing is drawn before it is read."""
        return Topics(self, self.describe())


class Topics(Generated):
    """The texts.

    The term of rank r of a topic, from 1 on, makes up log(1 + 1/r) / log(1 + terms) of its words: about Zipf's law.
    """

    def __init__(self, spec: Spec, info: DataInfo) -> None:
        from headrace.stores.layout import Variable

        self.num_terms, self.words_per_sample, self.dominance = spec.num_terms, spec.words_per_sample, spec.dominance
        variables = {
            INPUTS: Variable(("term",), (spec.num_terms,), "float32", "sparse"),
            TARGET: Variable((), (), "int64"),
        }
        super().__init__(
            spec.seed, spec.num_samples, spec.num_topics, 8 * info.num_values / info.num_samples + 16, variables
        )

    def planted(self) -> np.ndarray:
        """(topics, terms) float64: the share of each term in the words of a topic."""
        import numpy as np

        ranks = np.arange(self.num_terms)
        shares = np.log1p(1 / (ranks + 1)) / np.log(self.num_terms + 1)
        topics = np.empty((self.num_classes, self.num_terms))
        for topic in range(self.num_classes):
            topics[topic, self._terms(np.full(self.num_terms, topic), ranks)] = shares
        return topics

    def draw(self, part: int, name: str) -> csr_array:
        """(rows, terms) float32."""
        import numpy as np
        from scipy.sparse import csr_array

        classes, generator = self.classes(part), generators.seeded(self.seed, generators.INPUTS, part)
        counts, columns, lengths = [], [], []
        for block in generators.blocks_of(len(classes), 8 * self.words_per_sample):
            words = self._draw_words(classes[block], generator)
            # Sorted as one number each, equal words of a text stand side by side.
            places = np.sort((words + np.arange(len(words))[:, None] * self.num_terms).ravel())
            first = np.flatnonzero(np.diff(places, prepend=-1))
            counts.append(np.diff(first, append=len(places)).astype(np.float32))
            columns.append((places[first] % self.num_terms).astype(np.int32))
            lengths.append(np.bincount(places[first] // self.num_terms, minlength=len(words)))
        borders = np.concatenate([[0], *lengths]).cumsum()
        shape = (len(classes), self.num_terms)
        return csr_array((np.concatenate(counts), np.concatenate(columns), borders), shape=shape)

    def _draw_words(self, classes: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """(rows, words) int64 terms."""
        import numpy as np

        size = (len(classes), self.words_per_sample)
        own = generator.random(size) < self.dominance
        topics = np.where(own, classes[:, None], generator.integers(self.num_classes, size=size))
        ranks = np.exp(generator.random(size) * np.log(self.num_terms + 1)).astype(np.int64) - 1
        return self._terms(topics, np.minimum(ranks, self.num_terms - 1))

    def _terms(self, topics: np.ndarray, ranks: np.ndarray) -> np.ndarray:
        """Which term has a rank, from 0 on, in a topic: every topic walks all terms in an order of its own."""
        starts, strides = orders(self.seed, self.num_classes, self.num_terms)
        terms: np.ndarray = (starts[topics] + strides[topics] * ranks) % self.num_terms
        return terms


@functools.lru_cache(maxsize=1)
def orders(seed: int, num_topics: int, num_terms: int) -> tuple[np.ndarray, np.ndarray]:
    """(topics,) int64 first terms, all different, and strides that share no factor with the number of terms."""
    import numpy as np

    generator = generators.seeded(seed, TOPICS)
    starts = generator.choice(num_terms, num_topics, replace=False, shuffle=True)
    strides: list[int] = []
    while len(strides) < num_topics:
        stride = int(generator.integers(1, num_terms))
        if math.gcd(stride, num_terms) == 1:
            strides.append(stride)
    return starts, np.array(strides, np.int64)
