"""The samples whose attributions are drawn: what they are called, where that is written, and in which colours."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace

import altair as alt

from headrace.figures.charts import NAME_OF_KEY, make_key
from headrace.figures.confusions import name_classes
from headrace.figures.numbers import format_number
from headrace.figures.theme import PALETTE, Row
from headrace.findings.shown import Explanation

FOR, AGAINST = PALETTE[0], PALETTE[1]
"""Colours of what raises the output, and of what lowers it."""
SIGNS = ("raises what is predicted", "lowers it")
SIGN_COLOUR = alt.Color(
    "sign:N",
    scale=alt.Scale(domain=list(SIGNS), range=[FOR, AGAINST]),
    legend=alt.Legend(title=None, orient="bottom", symbolType="square", symbolSize=90, symbolOpacity=1),
)
CELL = 60
"""Pixels of width of a sample."""
MAX_CHARACTERS, MAX_LINES = 9, 4
"""Of a name above a sample."""
LINE_HEIGHT = 13
"""Pixels."""
LINE_OF_KEY = f"join({NAME_OF_KEY}, ' ')"


@dataclass(frozen=True)
class Sample:
    """A sample that is shown."""

    key: str
    """Of a scale: with its number in front, then what stands above the sample."""
    row: int
    true: str
    predicted: str
    is_noted: bool
    """Whether what was predicted says anything new."""

    @property
    def lines(self) -> list[str]:
        """Return what stands above it: what it is, and what it was taken for."""
        return [*_wrap(self.true), *(_wrap(f"→ {self.predicted}") if self.is_noted else ())]

    @property
    def words(self) -> str:
        """Return it as a screen reader is to say it."""
        return f"{self.true} predicted as {self.predicted}" if self.is_noted else self.true

    @property
    def cells(self) -> Row:
        """Return what a tooltip says."""
        return {"sample": str(self.row), "true": self.true, "predicted": self.predicted}


def _wrap(name: str) -> list[str]:
    return textwrap.wrap(name, MAX_CHARACTERS, max_lines=MAX_LINES, placeholder="…")


def name_samples(found: Explanation, task: str, class_names: Sequence[str], num_classes: int) -> list[Sample]:
    """Return the samples shown, by their classes or numbers."""
    triples = zip(found.rows.tolist(), found.targets.tolist(), found.outputs.tolist(), strict=True)
    names = name_classes(class_names, num_classes) if task == "classification" else []
    samples = []
    for i, (row, *ends) in enumerate(triples):
        true, predicted = (names[int(end)] if names else format_number(float(end), 3) for end in ends)
        sample = Sample("", int(row), true, predicted, not names or true != predicted)
        samples.append(replace(sample, key=make_key(i, *sample.lines)))
    return samples


def place_labels(samples: Sequence[Sample]) -> tuple[list[Row], float]:
    """Return a row with the lines above every sample, which end at the same height, and where they begin, in pixels."""
    most = max(len(sample.lines) for sample in samples)
    rows = [{"column": each.key, "label": "\n".join([""] * (most - len(each.lines)) + each.lines)} for each in samples]
    return rows, -4.0 - LINE_HEIGHT * most
