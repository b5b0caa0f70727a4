"""How the main metric of every model falls as its inputs are made worse."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from headrace.figures.comparisons import HIGHER_IS_BETTER, Candidate, Comparison, find_metric
from headrace.figures.theme import Row, Spec, finish
from headrace.findings.results import MetricValue
from headrace.judging.statistics import Summary, summarise

MAX_DRAWN = 8
"""Models in one chart, the best; the table has them all."""
NAME_OF_KEY = "slice(split(datum.label, '\\n'), 1)[0]"


@dataclass(frozen=True)
class Level:
    """The main metric of a model at one strength of a corruption; 0 is the split as it is."""

    strength: float
    values: Sequence[tuple[int, MetricValue]]
    """Of every seed."""

    @property
    def summary(self) -> Summary:
        """Return mean and spread over the seeds."""
        return summarise([value.value for _, value in self.values])


def find_strengths(comparison: Comparison, corruption: str) -> list[float]:
    """Return all strengths at which a chosen candidate was judged, the smallest first, behind 0."""
    strengths = {
        value.strength
        for candidate in comparison.best.values()
        for run in candidate.counted
        for value in run.corrupted
        if value.corruption == corruption
    }
    return [0.0, *sorted(strengths)] if strengths else []


def find_level(comparison: Comparison, candidate: Candidate, corruption: str, strength: float) -> Level:
    """Return what the seeds of a candidate reach at a strength."""
    found: list[tuple[int, MetricValue]] = []
    for run in candidate.counted:
        if not strength:
            value: MetricValue | None = find_metric(run, comparison.metric, "test")
        else:
            wanted = (corruption, strength, comparison.metric)
            own = (each for each in run.corrupted if (each.corruption, each.strength, each.metric) == wanted)
            value = next(own, None)
        if value is not None:
            found.append((run.seed, value))
    return Level(strength, found)


def find_left_out(comparison: Comparison, corruption: str) -> dict[str, str]:
    """Return what models read that a corruption does not fit, by their names."""
    reasons = {name: one.runs[0].uncorrupted.get(corruption) for name, one in comparison.best.items()}
    return {name: reason for name, reason in reasons.items() if reason is not None}


def find_judged(comparison: Comparison, corruption: str) -> list[Candidate]:
    """Return the chosen candidates that were judged so, the best first."""
    left_out = find_left_out(comparison, corruption)
    return [candidate for name, candidate in comparison.best.items() if name not in left_out]


def find_kept(comparison: Comparison, candidate: Candidate, corruption: str, strengths: Sequence[float]) -> Summary:
    """Return how much of the main metric is left, on average over the strengths; mean and spread over the seeds.

    It is the ratio to the metric of the split as it is where higher is better, and 1 then means all of it; elsewhere,
    where a ratio would depend on what 0 is, it is the difference. Undefined (nan) for a ratio to nothing.
    """
    clean, *worse = (dict(find_level(comparison, candidate, corruption, strength).values) for strength in strengths)
    kept = []
    for seed, value in clean.items():
        if not all(seed in level for level in worse):
            continue
        if comparison.metric in HIGHER_IS_BETTER:
            found = [level[seed].value / value.value if value.value > 0 else math.nan for level in worse]
        else:
            found = [level[seed].value - value.value for level in worse]
        kept.append(math.fsum(found) / len(found))
    return summarise(kept)


def draw_robustness(comparison: Comparison, corruption: str, unit: str, colours: Mapping[str, str]) -> Spec | None:
    """Draw the mean over the strengths, a line a model, and a dot for every seed; `unit` is what a strength is."""
    drawn = find_judged(comparison, corruption)[:MAX_DRAWN]
    strengths = find_strengths(comparison, corruption)
    tables: dict[str, list[Row]] = {"means": [], "seeds": []}
    for position, candidate in enumerate(drawn):
        # With its number in front a name is never a word that Vega has taken, like `constructor`.
        named = {"key": f"{position}\n{candidate.name}", "model": candidate.name}
        for strength in strengths:
            level = find_level(comparison, candidate, corruption, strength)
            tables["means"].append({**named, "strength": strength, "value": level.summary.mean})
            tables["seeds"] += [
                {**named, "strength": strength, "value": each.value, "seed": str(seed)} for seed, each in level.values
            ]
    tables = {name: [row for row in rows if math.isfinite(row["value"])] for name, rows in tables.items()}
    if not tables["means"]:
        return None
    keys = [f"{position}\n{candidate.name}" for position, candidate in enumerate(drawn)]
    scale = alt.Scale(domain=keys, range=[colours[candidate.name] for candidate in drawn])
    legend = alt.Legend(title=None, orient="bottom", columns=1, labelExpr=NAME_OF_KEY, symbolType="stroke")
    better = "lower" if comparison.lower_is_better else "higher"
    y_axis = alt.Axis(title=f"{comparison.metric} on test ({better} is better)", tickCount=5)
    x_axis = alt.Axis(title=f"{corruption}: {unit}", values=strengths, grid=False)
    shared: dict[str, Any] = {
        "x": alt.X("strength:Q", axis=x_axis, scale=alt.Scale(nice=False, padding=8)),
        "y": alt.Y("value:Q", axis=y_axis, scale=alt.Scale(zero=False, nice=True)),
        "color": alt.Color("key:N", legend=legend, scale=scale),
    }
    about = ["model:N", "strength:Q", alt.Tooltip("value:Q", format=".4r")]
    lines = alt.Chart(alt.NamedData("means")).mark_line(strokeWidth=2).encode(tooltip=about, **shared)
    dots = alt.Chart(alt.NamedData("seeds")).mark_circle(size=36, opacity=0.7)
    chart = alt.layer(lines, dots.encode(tooltip=[*about, "seed:N"], **shared))
    words = f"{comparison.metric} of every model on {comparison.dataset} over the strength of {corruption}."
    return finish(chart.properties(width="container", height=260), words, tables)
