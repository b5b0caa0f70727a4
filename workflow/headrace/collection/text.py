"""Differences for a terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from headrace.collection.differences import Change, Differences, Outcome
from headrace.collection.finished import Finished, Line
from headrace.figures.numbers import format_number

WIDTH = 120
"""Characters of a line that is broken."""
HEADINGS = ("dataset", "model", "features", "metric", "A", "B", "B - A", "95 % interval", "p", "verdict for B")
EXPLANATION = (
    "results on test: means over seeds, their number in parentheses; p of Student's t test, in pairs of the seeds\n"
    "that both have where these are more than half, else Welch's, after Holm's correction for all lines; a verdict\n"
    "speaks of more seeds on the same test samples, not of other samples"
)


def describe(first: Finished, second: Finished, found: Differences) -> str:
    """All differences, section by section."""
    lines = [f"A: {first.folder} ({first.num_runs} runs)", f"B: {second.folder} ({second.num_runs} runs)"]
    for name, changes in sections(found):
        lines += ["", f"{name}: {same(name, found)}" if not changes else f"{name}: {len(changes)} differ (A -> B)"]
        lines += align([(f"  {change.what}", f"{change.first} -> {change.second}") for change in changes])
    lines += ["", EXPLANATION] if found.outcomes else ["", "results: the two have no line in common"]
    if found.outcomes:
        lines += [f"  {line}" for line in align([HEADINGS, *(cells(outcome) for outcome in found.outcomes)])]
    for name, only in (("A", found.only_first), ("B", found.only_second)):
        if only:
            lines += ["", *wrap(f"only in {name}: ", [title(line) for line in only])]
    return "\n".join(lines)


def sections(found: Differences) -> Iterator[tuple[str, Sequence[Change]]]:
    """What is compared beside the results, in the order in which one asks for it."""
    yield "config", found.config
    yield "data", found.data
    yield "code", found.code
    yield f"environment{' of the reports' if found.is_of_reports else ''}", found.environment


def same(name: str, found: Differences) -> str:
    """What is said of a section in which nothing differs."""
    if name != "code" or found.shared_code == 1:
        return "the same"
    if not found.knows_code:
        return "not known of both"
    return "the same in what both made, which is not all" if found.shared_code else "no stage in common"


def cells(outcome: Outcome) -> tuple[str, ...]:
    """One line of the table, as HEADINGS says."""
    each, line, other = outcome.difference, outcome.line, outcome.other
    interval = "-" if math.isnan(each.low) else f"{format_number(each.low, 3)} to {format_number(each.high, 3)}"
    return (
        line.dataset,
        line.name if line.name == other.name else f"{line.name} / {other.name}",
        line.features,
        outcome.metric,
        *(
            f"{_number(mean, 4)} ({count})"
            for mean, count in zip((outcome.first, outcome.second), outcome.num_seeds, strict=True)
        ),
        _number(each.value, 3),
        interval,
        _number(outcome.p_value, 2),
        outcome.verdict,
    )


def title(line: Line) -> str:
    """A line of results in words."""
    return f"{line.name} on {line.features} of {line.dataset}"


def wrap(start: str, items: Sequence[str]) -> list[str]:
    """Items with commas between them, in lines of at most WIDTH characters where an item is no longer."""
    lines = [start]
    for place, item in enumerate(items):
        said = item if place == len(items) - 1 else f"{item}, "
        if len(lines[-1]) + len(said.rstrip()) > WIDTH and lines[-1].strip():
            lines.append("  ")
        lines[-1] += said
    return [line.rstrip() for line in lines]


def align(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns of text, two spaces apart."""
    widths = [max((len(row[i]) for row in rows), default=0) for i in range(len(rows[0]) if rows else 0)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _number(value: float, digits: int) -> str:
    return "-" if math.isnan(value) else format_number(value, digits)
