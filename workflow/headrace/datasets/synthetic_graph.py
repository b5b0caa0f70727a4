"""A graph of communities, of any number of nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field, model_validator

from headrace.datasets.base import INPUTS, TARGET, DataInfo, DatasetSpec
from headrace.experiments.config import PositiveFloat, PositiveInt, Seed
from headrace.formats import generators
from headrace.formats.generators import EDGES, LICENCE, SOURCE, Generated

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self

    import numpy as np
    from scipy.sparse import csr_array

    from headrace.blocks import Block

ADJACENCY = "adjacency"

COMPUTES = ("formats.generators",)


class Spec(DatasetSpec):
    """A stochastic block model drawn from a seed, at any scale: every node has a class, Gaussian features around its
    class's mean, and edges of which most lead to its own class; for example
    `{kind: synthetic_graph, num_nodes: 10000, degree: 8, homophily: 0.9}`.
    """

    num_nodes: PositiveInt = 5000
    """How many nodes: the samples."""
    num_classes: Annotated[int, Field(ge=2, le=1000)] = 4
    """How many communities; all are equally large."""
    degree: PositiveFloat = 10.0
    """Edges of a node on average."""
    homophily: Annotated[float, Field(ge=0, le=1)] = 0.8
    """Share of a node's edges that lead to its own class."""
    num_features: PositiveInt = 16
    """Numbers that are known of a node."""
    separation: PositiveFloat = 1.0
    """Distance between the features' means of two classes in units of the noise, in the root mean square."""
    seed: Seed = 0
    """Seed of features and edges."""

    @model_validator(mode="after")
    def _has_room_for_its_edges(self) -> Self:
        own = self.num_nodes // self.num_classes
        if own < 2:
            raise ValueError(f"num_nodes: {self.num_nodes} is too few for num_classes: {self.num_classes}")
        # Most pairs must stay without an edge: it is drawn until enough different ones are found.
        most = min((own - 1) / (self.homophily or 1e-9), (self.num_nodes - own) / (1 - self.homophily or 1e-9)) / 2
        if self.degree > most:
            raise ValueError(f"degree: {self.degree:g} is more than so few nodes have room for; allowed: {most:.3g}")
        return self

    def describe(self) -> DataInfo:
        """By arithmetic."""
        return DataInfo(
            tasks=("classification", "density"),
            num_samples=self.num_nodes,
            shape=(self.num_features,),
            dims=("feature",),
            class_names=generators.class_names(self.num_classes),
            class_counts=generators.deal(self.num_nodes, self.num_classes),
            has_graph=True,
            licence=LICENCE,
            source=SOURCE,
        )

    def open(self, scratch: Path) -> Communities:
        """Nothing is drawn before it is read."""
        return Communities(self)


class Communities(Generated):
    """The nodes, with `adjacency` (node, node): ones, symmetric, none on the diagonal.

    Edges between two parts come from a generator of that pair, which the readers of either part use. Classes take
    turns, so that a node's class and the nodes of a class are known without looking anywhere.
    """

    square = frozenset({ADJACENCY})

    def __init__(self, spec: Spec) -> None:
        from headrace.stores.layout import Variable

        self.num_features, self.separation = spec.num_features, spec.separation
        variables = {
            INPUTS: Variable(("feature",), (spec.num_features,), "float32"),
            TARGET: Variable((), (), "int64"),
            ADJACENCY: Variable(("node",), (spec.num_nodes,), "float32", "sparse"),
        }
        row_bytes = 4 * spec.num_features + 8 * spec.degree + 16
        super().__init__(spec.seed, spec.num_nodes, spec.num_classes, row_bytes, variables)
        own = spec.num_nodes / spec.num_classes
        self.density_within = spec.homophily * spec.degree / (own - 1)
        self.density_across = (1 - spec.homophily) * spec.degree / (spec.num_nodes - own)

    def classes(self, part: int) -> np.ndarray:
        """(rows of the part,) int64 codes, in turn."""
        import numpy as np

        return np.arange(self.borders[part], self.borders[part + 1]) % self.num_classes

    def draw(self, part: int, name: str) -> Block:
        """(rows, features) float32, or (rows, nodes) float32."""
        if name == ADJACENCY:
            return self._draw_edges(part)
        means = generators.class_means(self.seed, self.num_classes, self.num_features, self.separation)
        generator = generators.seeded(self.seed, generators.FEATURES, part)
        return generators.draw_around(means, self.classes(part), 1.0, generator)

    def _draw_edges(self, part: int) -> csr_array:
        import numpy as np
        from scipy.sparse import csr_array

        rows, columns = [], []
        for other in range(len(self.borders) - 1):
            first, second = self._edges(min(part, other), max(part, other))
            if part <= other:
                rows.append(first)
                columns.append(second + self.borders[other])
            if part >= other:
                rows.append(second)
                columns.append(first + self.borders[other])
        row, column = np.concatenate(rows), np.concatenate(columns)
        order = np.lexsort((column, row))
        num_rows = int(self.borders[part + 1] - self.borders[part])
        borders = np.concatenate([[0], np.bincount(row, minlength=num_rows).cumsum()])
        shape = (num_rows, self.num_rows)
        return csr_array((np.ones(len(row), np.float32), column[order], borders), shape=shape)

    def _edges(self, part: int, other: int) -> tuple[np.ndarray, np.ndarray]:
        """(edges,) the node in `part` and that in `other`, each counted from the part's first; `part <= other`.

        Within a part the first of the two nodes is the one with the lower number.
        """
        import numpy as np

        generator = generators.seeded(self.seed, EDGES, part, other)
        pairs = Pairs(self.borders[[part, other]], self.borders[[part + 1, other + 1]], self.num_classes)
        num_within = int(generator.binomial(pairs.num_within, self.density_within))
        num_across = int(generator.binomial(pairs.num_across, self.density_across))
        within = pairs.within(generators.draw_distinct(generator, num_within, pairs.bound_within, pairs.is_within))
        across = pairs.across(generators.draw_distinct(generator, num_across, pairs.bound_across, pairs.is_across))
        return np.concatenate([within[0], across[0]]), np.concatenate([within[1], across[1]])


class Pairs:
    """The pairs of a node of one part and a node of another, or of the same, by number."""

    def __init__(self, first: np.ndarray, stop: np.ndarray, num_classes: int) -> None:
        """`first` and `stop` (2,) say where the two parts lie."""
        import numpy as np

        self.num_classes = num_classes
        self.shifts, self.sizes, self.same = first % num_classes, stop - first, bool(first[0] == first[1])
        # (2, classes): nodes of each class; those before a border are one more for each whole turn.
        codes = np.arange(num_classes)
        self.members = (stop[:, None] - codes - 1) // num_classes - (first[:, None] - codes - 1) // num_classes
        self.squares = self.members[0] * self.members[1]
        self.edges = self.squares.cumsum()
        self.bound_within, self.bound_across = int(self.edges[-1]), int(self.sizes[0] * self.sizes[1])
        if self.same:
            self.num_within = int((self.members[0] * (self.members[0] - 1) // 2).sum())
            self.num_across = int(self.sizes[0] * (self.sizes[0] - 1) // 2) - self.num_within
        else:
            self.num_within, self.num_across = self.bound_within, self.bound_across - self.bound_within

    def within(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Two nodes of the same class each."""
        import numpy as np

        code = np.searchsorted(self.edges, numbers, side="right")
        first, second = np.divmod(numbers - (self.edges - self.squares)[code], self.members[1][code])
        places = [(code - shift) % self.num_classes for shift in self.shifts]
        return first * self.num_classes + places[0], second * self.num_classes + places[1]

    def is_within(self, numbers: np.ndarray) -> np.ndarray:
        """Whether a number stands for a pair of `within`: in one part, every pair has two numbers."""
        import numpy as np

        return np.less(*self.within(numbers)) if self.same else np.ones(len(numbers), bool)

    def across(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Any two nodes."""
        import numpy as np

        first, second = np.divmod(numbers, self.sizes[1])
        return first, second

    def is_across(self, numbers: np.ndarray) -> np.ndarray:
        """Whether a number stands for a pair of different classes."""
        first, second = self.across(numbers)
        differ: np.ndarray = (first + self.shifts[0] - second - self.shifts[1]) % self.num_classes != 0
        return differ & (first < second) if self.same else differ
