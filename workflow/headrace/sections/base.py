"""What every section of a report is made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

from headrace.figures.aggregates import Aggregate, aggregate
from headrace.figures.comparisons import Comparison, compare
from headrace.figures.pairs import Pair, pair_with
from headrace.figures.spreads import Measured, Spread, describe_spreads
from headrace.figures.theme import assign_colours
from headrace.findings.results import DatasetResult, Results

Context = dict[str, Any]
"""What a template is given. Under `figures` stand the charts that it draws, each as (parts, spec), where the parts tell
it from the section's other charts: they become files. So do `pictures`, each as (parts, caption, strips)."""


@dataclass(frozen=True, eq=False)
class Page:
    """The results, and what all sections share."""

    results: Results

    @cached_property
    def comparisons(self) -> Sequence[Comparison]:
        """Return one for every dataset and task."""
        return compare(self.results)

    @cached_property
    def pairs(self) -> Sequence[Sequence[Pair]]:
        """Return every model beside the baseline, for every comparison."""
        return [pair_with(each, self.results.baseline) for each in self.comparisons]

    @cached_property
    def aggregates(self) -> Sequence[Aggregate]:
        """Return one for every task that was judged on several datasets."""
        return aggregate(self.comparisons)

    def describe_spreads(self, wanted: Sequence[Measured]) -> list[Spread]:
        """Return the statistics of candidates; each is computed once, whoever asks."""
        new = [each for each in dict.fromkeys(wanted) if each not in self._spreads]
        self._spreads.update(zip(new, describe_spreads(new), strict=True))
        return [self._spreads[each] for each in wanted]

    @cached_property
    def _spreads(self) -> dict[Measured, Spread]:
        return {}

    @cached_property
    def colours(self) -> Mapping[str, str]:
        """Return the colour of every candidate, the same in every chart."""
        return assign_colours([candidate.name for each in self.comparisons for candidate in each.candidates])

    @cached_property
    def datasets(self) -> Mapping[str, DatasetResult]:
        """Return the datasets by name."""
        return {dataset.name: dataset for dataset in self.results.datasets}


class Section(Protocol):
    """A module of this room. Its template is `sections/NAME.html.j2`, NAME the module's and the section's anchor."""

    TITLE: str
    __name__: str

    def describe(self, page: Page) -> Context | None:
        """Return what the template needs, or None where the section has nothing to say."""
