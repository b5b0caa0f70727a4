"""Charts of what probabilities are good for: reliability diagrams, ROC and precision-recall curves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import altair as alt

from headrace.figures.charts import NAME_OF_KEY, make_key
from headrace.figures.comparisons import Candidate, Comparison
from headrace.figures.numbers import format_number
from headrace.figures.theme import MUTED, Row, Spec, finish
from headrace.findings.results import RunResult
from headrace.judging.calibration import NUM_BINS, Reliability
from headrace.judging.ranking import Curve

Way = Literal["roc", "precision_recall"]

MAX_DRAWN = 8
"""Models in one chart of curves, which has as many colours."""

MAX_PANELS = 24
"""Models with a reliability diagram."""

MAX_POINTS = 20_000
"""Points in one chart of curves; where there are very many seeds, each curve has fewer."""

HEIGHT = 320
"""Pixels."""

UNIT = alt.Scale(domain=[0, 1], nice=False)
TITLES: Mapping[Way, tuple[str, str, str]] = {
    "roc": ("false positive rate", "true positive rate", "ROC curve"),
    "precision_recall": ("recall", "precision", "Precision-recall curve"),
}


def draw_tradeoffs(comparison: Comparison, colours: Mapping[str, str], way: Way) -> Spec | None:
    """Draw a curve for every seed of the best candidates; None where no run has one."""
    shown = select_traced(comparison, way)[:MAX_DRAWN]
    if not shown:
        return None
    keys = [make_key(position, _name_area(candidate, way)) for position, candidate in enumerate(shown)]
    x_title, y_title, what = TITLES[way]
    x = alt.X("x:Q", scale=UNIT, axis=alt.Axis(title=x_title, tickCount=5, labelFlush=False))
    y = alt.Y("y:Q", scale=UNIT, axis=alt.Axis(title=y_title, tickCount=5))
    legend = alt.Legend(title=None, orient="bottom", columns=1, symbolType="stroke", labelExpr=NAME_OF_KEY)
    domain = alt.Scale(domain=keys, range=[colours[candidate.name] for candidate in shown])
    lines = (
        alt.Chart(alt.NamedData("curves"))
        .transform_flatten(["x", "y"])
        # A line is drawn in the order of x otherwise, which says nothing of points above each other.
        .transform_window(place="row_number()")
        .mark_line(strokeWidth=1.5, opacity=0.8, interpolate="linear" if way == "roc" else "step-before")
        .encode(
            x=x,
            y=y,
            color=alt.Color("key:N", scale=domain, legend=legend),
            detail="run:N",
            order=alt.Order("place:Q"),
            tooltip=[alt.Tooltip(f"{name}:N") for name in ("model", "seed", "area", "run")],
        )
    )
    tables: dict[str, list[Row]] = {"curves": _tabulate_curves(shown, keys, way)}
    layers = [lines]
    if way == "roc":
        tables["chance"] = [{"x": 0, "y": 0}, {"x": 1, "y": 1}]
        layers.insert(0, _draw_diagonal("chance", x, y))
    words = f"{what} of every seed on {comparison.dataset}, by model."
    return finish(alt.layer(*layers).properties(width="container", height=HEIGHT), words, tables)


def _name_area(candidate: Candidate, way: Way) -> str:
    """Return a candidate's name with the mean area of its seeds."""
    curves = [curve for run in candidate.counted if (curve := getattr(run, way)) is not None]
    return f"{candidate.name}, area {format_number(math.fsum(curve.area for curve in curves) / len(curves))}"


def select_traced(comparison: Comparison, way: Way) -> list[Candidate]:
    """Return the chosen candidates that have a curve, the best first."""
    return [c for c in comparison.best.values() if any(getattr(run, way) is not None for run in c.counted)]


def _draw_diagonal(name: str, x: alt.X, y: alt.Y) -> alt.Chart:
    line = alt.Chart(alt.NamedData(name)).mark_line(strokeDash=[4, 3], strokeWidth=1, color=MUTED)
    diagonal: alt.Chart = line.encode(x=x, y=y)
    return diagonal


def _tabulate_curves(candidates: Sequence[Candidate], keys: Sequence[str], way: Way) -> list[Row]:
    """Return one row a run: a whole curve, with four decimals, which are more than a drawing shows."""
    found: list[tuple[str, str, RunResult, Curve]] = [
        (key, candidate.name, run, curve)
        for key, candidate in zip(keys, candidates, strict=True)
        for run in candidate.counted
        if (curve := getattr(run, way)) is not None
    ]
    every = max(1, math.ceil(sum(len(curve.x) for *_, curve in found) / MAX_POINTS))
    rows = []
    for key, name, run, curve in found:
        kept = [*range(0, len(curve.x) - 1, every), len(curve.x) - 1]
        points = {axis: [round(float(getattr(curve, axis)[i]), 4) for i in kept] for axis in ("x", "y")}
        about = {"model": name, "seed": str(run.seed), "area": format_number(curve.area), "run": run.id}
        rows.append({"key": key, **about, **points})
    return rows


def select_measured(comparison: Comparison) -> list[Candidate]:
    """Return the chosen candidates of which reliability is known, the best first."""
    return [c for c in comparison.best.values() if any(run.reliability is not None for run in c.counted)]


def pool_reliability(candidate: Candidate) -> Reliability:
    """Put the samples of all seeds together."""
    return Reliability.pool([run.reliability for run in candidate.counted if run.reliability is not None])


def draw_reliability(candidate: Candidate, colour: str, dataset: str) -> Spec:
    """Draw accuracy over confidence: a line for every seed, and for all seeds together dots as large as their bins."""
    x = alt.X("x:Q", scale=UNIT, axis=alt.Axis(title="mean confidence", tickCount=5, labelFlush=False))
    y = alt.Y("y:Q", scale=UNIT, axis=alt.Axis(title="accuracy", tickCount=5))
    about_seed = [alt.Tooltip(f"{name}:N") for name in ("seed", "run")]
    about_bin = [alt.Tooltip(f"{name}:N") for name in ("confidence", "samples", "mean confidence", "accuracy")]
    seeds = (
        alt.Chart(alt.NamedData("seeds"))
        .transform_flatten(["x", "y"])
        .mark_line(strokeWidth=1, opacity=0.45, color=colour)
        .encode(x=x, y=y, detail="run:N", tooltip=about_seed)
    )
    area = alt.Size("share:Q", legend=None, scale=alt.Scale(domain=[0, 1], range=[12, 700]))
    bins = (
        alt.Chart(alt.NamedData("bins"))
        .mark_circle(opacity=0.8, color=colour)
        .encode(x=x, y=y, size=area, tooltip=about_bin)
    )
    tables = {
        "perfect": [{"x": 0, "y": 0}, {"x": 1, "y": 1}],
        "seeds": [_tabulate_seed(run, run.reliability) for run in candidate.counted if run.reliability is not None],
        "bins": _tabulate_bins(pool_reliability(candidate)),
    }
    chart = alt.layer(_draw_diagonal("perfect", x, y), seeds, bins).properties(width="container", height=HEIGHT)
    words = f"Reliability diagram of {candidate.name} on {dataset}: accuracy over mean confidence, in bins."
    return finish(chart, words, tables)


def _tabulate_seed(run: RunResult, found: Reliability) -> Row:
    held = found.counts > 0
    points = {"x": found.confidence[held], "y": found.accuracy[held]}
    return {"seed": str(run.seed), "run": run.id, **{k: [round(float(v), 4) for v in p] for k, p in points.items()}}


def _tabulate_bins(found: Reliability) -> list[Row]:
    rows = []
    for i in (found.counts > 0).nonzero()[0].tolist():
        span = "1" if i == NUM_BINS else f"{i / NUM_BINS:.3f} to {(i + 1) / NUM_BINS:.3f}"
        confidence, accuracy = float(found.confidence[i]), float(found.accuracy[i])
        rows.append(
            {
                "x": confidence,
                "y": accuracy,
                "share": float(found.counts[i] / found.counts.sum()),
                "confidence": span,
                "samples": str(int(found.counts[i])),
                "mean confidence": format_number(confidence),
                "accuracy": format_number(accuracy),
            }
        )
    return rows
