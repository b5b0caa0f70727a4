"""Rows that are drawn from a seed: any process draws any part alone, and always the same one.

Every part has generators of its own, one for each thing that is drawn. What decides bits is exact arithmetic wherever
that can be, so that machines agree as well as processes.
"""

from __future__ import annotations

import functools
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from headrace.datasets.base import TARGET, Source

if TYPE_CHECKING:
    import numpy as np

    from headrace.blocks import Block, Blocks
    from headrace.stores.layout import Variable

SOURCE = "drawn from a seed by Headrace"
LICENCE = "CC0 1.0"
PART_BYTES = 16 * 2**20
BLOCK_BYTES = 2**20
"""What is drawn at once: little memory beside the part itself, and it stays in the cache."""
CYCLE = 4096
"""Steps of a whole cycle of a wave. Phases are whole numbers of them, so that no sum of phases is rounded."""
CLASSES, LENGTHS, INPUTS, MEANS, FEATURES, EDGES, TOPICS = range(7)
"""What the second number of a seed stands for."""


class Generated(Source):
    """Rows that are drawn part by part."""

    def __init__(
        self,
        seed: int,
        num_rows: int,
        num_classes: int,
        row_bytes: float,
        variables: Mapping[str, Variable],
        attributes: Mapping[str, Any] | None = None,
    ) -> None:
        """`row_bytes` of a row once it is decoded, on average."""
        import numpy as np

        self.seed, self.num_classes = seed, num_classes
        rows = max(1, int(PART_BYTES // max(1.0, row_bytes)))
        # Whole rounds of classes, where a part has room for one.
        rows = rows // num_classes * num_classes or rows
        self.borders = np.append(np.arange(0, num_rows, rows, dtype=np.int64), np.int64(num_rows))
        self.variables, self.attributes = variables, attributes or {}

    def read(self, part: int, names: Sequence[str]) -> Blocks:
        """Draw the variables asked for, each by itself."""
        return {name: self.classes(part) if name == TARGET else self.draw(part, name) for name in names}

    @abstractmethod
    def draw(self, part: int, name: str) -> Block:
        """The rows of a part of any variable but the target."""

    def classes(self, part: int) -> np.ndarray:
        """(rows of the part,) int64 codes."""
        return self.dealt(part, self.num_classes, CLASSES)

    def dealt(self, part: int, num_kinds: int, stream: int) -> np.ndarray:
        """(rows of the part,) int64: kinds in turn by the number of the row, shuffled within the part.

        How often there is which is then known without drawing: `deal` says it.
        """
        import numpy as np

        kinds = np.arange(self.borders[part], self.borders[part + 1]) % num_kinds
        seeded(self.seed, stream, part).shuffle(kinds)
        return kinds


def deal(num_rows: int, num_kinds: int) -> tuple[int, ...]:
    """How many rows there are of each kind when kinds are taken in turn."""
    return tuple(num_rows // num_kinds + (kind < num_rows % num_kinds) for kind in range(num_kinds))


def class_names(num_classes: int) -> tuple[str, ...]:
    """Classes that have no names of their own."""
    return tuple(str(code) for code in range(num_classes))


def seeded(*numbers: int) -> np.random.Generator:
    """The generator that belongs to some numbers."""
    import numpy as np

    return np.random.Generator(np.random.PCG64(list(numbers)))


def blocks_of(num_rows: int, row_bytes: int) -> Iterator[slice]:
    """Rows in pieces of about 1 MiB."""
    rows = max(1, BLOCK_BYTES // max(1, row_bytes))
    for start in range(0, num_rows, rows):
        yield slice(start, min(num_rows, start + rows))


@functools.lru_cache(maxsize=4)
def class_means(seed: int, num_classes: int, num_features: int, distance: float) -> np.ndarray:
    """(classes, features) float32 around 0: two of them lie `distance` apart in the root mean square."""
    import numpy as np

    means = seeded(seed, MEANS).standard_normal((num_classes, num_features))
    means -= means.mean(axis=0)
    # The sum of all squared distances between n points around 0 is 2 n times that of their squares.
    square = 2 * num_classes * float(np.square(means).sum()) / (num_classes * (num_classes - 1))
    scaled: np.ndarray = (means * (distance / square**0.5)).astype(np.float32)
    scaled.setflags(write=False)
    return scaled


def draw_around(means: np.ndarray, classes: np.ndarray, noise: float, generator: np.random.Generator) -> np.ndarray:
    """(rows, features) float32: the mean of each row's class, and Gaussian noise."""
    import numpy as np

    rows = np.empty((len(classes), means.shape[1]), np.float32)
    for block in blocks_of(len(rows), rows.itemsize * means.shape[1]):
        generator.standard_normal(dtype=np.float32, out=rows[block])
        rows[block] *= np.float32(noise)
        rows[block] += means[classes[block]]
    return rows


@functools.lru_cache(maxsize=1)
def wave() -> np.ndarray:
    """(CYCLE,) float32: one cycle of a sine."""
    import numpy as np

    sine: np.ndarray = np.sin(2 * np.pi / CYCLE * np.arange(CYCLE)).astype(np.float32)
    sine.setflags(write=False)
    return sine


def draw_distinct(
    generator: np.random.Generator, wanted: int, bound: int, accepts: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """(wanted,) int64: different whole numbers below `bound`, of those that are accepted, each as likely as another."""
    import numpy as np

    found = np.empty(0, np.int64)
    while len(found) < wanted:
        more = generator.integers(bound, size=2 * (wanted - len(found)) + 16)
        found = np.concatenate([found, more[accepts(more)]])
        _, first = np.unique(found, return_index=True)
        found = found[np.sort(first)]
    return found[:wanted]
