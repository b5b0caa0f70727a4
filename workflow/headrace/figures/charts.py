"""The charts of a report: results in, Vega-Lite specs out."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import altair as alt

from headrace.figures.comparisons import Candidate, Comparison
from headrace.figures.theme import Row, Spec, finish
from headrace.findings.results import RunResult

NAME_OF_KEY = "slice(split(datum.label, '\\n'), 1)"

UNSWEPT = "–"

MAX_LEGEND = 8

MAX_PANELS = 24
"""Models whose learning curves are drawn, each in a chart of its own: of hundreds they would take minutes."""

MAX_HOVER_POINTS = 4000
"""Points of learning curves that answer to the mouse; more of them make a page slow."""

ROOM_PX = 6
"""Pixels between the outermost marks and the edge, at which marks are cut so that none leaves its axes when zoomed."""

LOG_RATIO = 8.0
"""Losses that differ by more than this factor are drawn on a log scale."""


def make_zoom(*axes: Literal["x", "y"]) -> alt.Parameter:
    """Return a selection that moves the scales: a mouse drags, its wheel zooms with a key, a double click resets.

    The wheel alone and a finger scroll the page. A pinch on a touch pad reaches a page as a wheel with the control key.
    """
    return alt.selection_interval(
        name="zoom",
        bind="scales",
        encodings=list(axes),
        zoom="wheel![event.ctrlKey || event.metaKey]",
        translate="[pointerdown[event.pointerType === 'mouse'], window:pointerup] > window:pointermove!",
    )


def make_key(position: int, *lines: str) -> str:
    """Return a name for a scale: with its number in front it's unique and never a word like `constructor`.

    Vega keeps some domains in plain objects, in which such a word is taken. An axis shows the key by NAME_OF_KEY.
    """
    return "\n".join([str(position), *(line for line in lines if line)])


def draw_curves(comparison: Comparison, colours: Mapping[str, str]) -> dict[str, Spec]:
    """Draw the losses by epoch: one chart per model, all on the same scale; of many models the best ones."""
    kept = set(list(dict.fromkeys([*comparison.best, *comparison.models]))[:MAX_PANELS])
    rows = {model: _tabulate_curves(comparison, model) for model in comparison.models if model in kept}
    losses = [loss for panel in rows.values() for row in panel for loss in row["loss"]]
    if not losses:
        return {}
    y = _choose_loss_axis(min(losses), max(losses))
    return {model: _draw_panel(comparison, model, panel, y, colours) for model, panel in rows.items() if panel}


def _choose_loss_axis(low: float, high: float) -> alt.Y:
    """Return a log axis where the losses span a wide range, else a linear one."""
    if low <= 0 or high / low < LOG_RATIO:
        scale = alt.Scale(domain=[low, high], nice=True, padding=ROOM_PX)
        return alt.Y("loss:Q", scale=scale, axis=alt.Axis(title="loss", tickCount=5))
    # Vega rounds a log axis to whole powers of ten and draws nine lines in each.
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if len(powers) <= 4 else (1,)
    ticks = [tick for power in powers for step in steps if low <= (tick := step * 10.0**power) <= high]
    scale = alt.Scale(type="log", domain=[0.9 * low, 1.1 * high], nice=False)
    two_gaps = 5 if len(steps) > 1 else 100
    axis = alt.Axis(title="loss (log scale)", values=alt.ExprRef(_choose_ticks(ticks, two_gaps)), format=".4~g")
    return alt.Y("loss:Q", scale=scale, axis=axis)


def _choose_ticks(ticks: Sequence[float], smallest_ratio: float) -> str:
    """Return an expression for the ticks of a log axis; zoomed until few are left, it has evenly spaced ones."""
    low, high = "domain('y')[0]", "domain('y')[1]"
    spaced = ", ".join(f"pow({low}, {1 - share:g}) * pow({high}, {share:g})" for share in (0.1, 0.3, 0.5, 0.7, 0.9))
    return f"{high} / {low} < {smallest_ratio} ? [{spaced}] : {json.dumps(ticks)}"


def _draw_panel(comparison: Comparison, model: str, rows: Sequence[Row], y: alt.Y, colours: Mapping[str, str]) -> Spec:
    candidates = comparison.of_model(model)
    names = [candidate.setting or UNSWEPT for candidate in candidates]
    is_told_apart = 1 < len(names) <= MAX_LEGEND
    legend = alt.Legend(title=None, orient="bottom", columns=1, symbolType="stroke") if is_told_apart else None
    domain = alt.Scale(domain=names, range=[colours[candidate.name] for candidate in candidates])
    shared: dict[str, Any] = {
        "x": _choose_epoch_axis(rows),
        "y": y,
        "color": alt.Color("setting:N", legend=legend, scale=domain),
    }
    dashes = alt.Scale(domain=["validation", "train"], range=[[1, 0], [4, 3]])
    dash = alt.StrokeDash("split:N", legend=None, scale=dashes)
    about_run = ["run:N", "seed:N", "split:N", "status:N"]
    about_point = [*about_run, "epoch:Q", alt.Tooltip("loss:Q", format=".4r")]
    # One row is a whole line: a large sweep's page is ten times smaller than with one row per epoch.
    lines = alt.Chart(alt.NamedData("lines")).transform_flatten(["epoch", "loss"])
    layers = [
        lines.mark_line(strokeWidth=1.5, opacity=0.8, clip=True).encode(
            detail="run:N", strokeDash=dash, tooltip=about_run, **shared
        )
    ]
    if best := _select_best(candidates, rows):
        rings = alt.Chart(alt.NamedData("best")).mark_point(size=70, strokeWidth=2, filled=False, opacity=1, clip=True)
        layers.append(rings.encode(tooltip=about_point, **shared))
    if sum(len(row["loss"]) for row in rows) <= MAX_HOVER_POINTS:
        # A line knows the values of its first point alone: unseen circles answer to the mouse with their own.
        layers.append(lines.mark_circle(size=80, opacity=0, clip=True).encode(tooltip=about_point, **shared))
    chart = alt.layer(*layers).properties(width="container", height=220).add_params(make_zoom("x", "y"))
    words = f"Training and validation loss of {model} on {comparison.dataset} by epoch, one line per run."
    return finish(chart, words, {"lines": rows, "best": best})


def _choose_epoch_axis(rows: Sequence[Row]) -> alt.X:
    first, last = min(min(row["epoch"]) for row in rows), max(max(row["epoch"]) for row in rows)
    count = min(6, last - first + 1)
    # Between two epochs there is nothing to name.
    named = "datum.value % 1 ? '' : datum.label"
    ticks: dict[str, Any] = {"tickMinStep": 1, "tickCount": count, "format": "d", "labelExpr": named}
    axis = alt.Axis(title="epoch", grid=False, labelFlush=False, **ticks)
    return alt.X("epoch:Q", axis=axis, scale=alt.Scale(domain=[first, last], nice=False, padding=ROOM_PX))


def _tabulate_curves(comparison: Comparison, model: str) -> list[Row]:
    """Return one row per run and split: its epochs and its losses."""
    rows = []
    for candidate in comparison.of_model(model):
        for run in candidate.runs:
            named = {
                "setting": candidate.setting or UNSWEPT,
                "run": run.id,
                "seed": str(run.seed),
                "status": run.status,
            }
            for split in ("validation", "train"):
                epochs, losses = _trace_curve(run, f"{split}_loss")
                rows.append({**named, "split": split, "epoch": epochs, "loss": losses})
    return [row for row in rows if row["loss"]]


def _select_best(candidates: Sequence[Candidate], rows: Sequence[Row]) -> list[Row]:
    """Return the points of the validation lines at which their runs were best."""
    best_epochs = {run.id: run.best_epoch for candidate in candidates for run in candidate.runs}
    return [
        {**row, "epoch": epoch, "loss": loss}
        for row in rows
        for epoch, loss in zip(row["epoch"], row["loss"], strict=True)
        if row["split"] == "validation" and epoch == best_epochs[row["run"]]
    ]


def _trace_curve(run: RunResult, loss: str) -> tuple[list[int], list[float]]:
    """Return epochs and losses; what isn't finite leaves a gap, and six digits are more than a drawing shows."""
    pairs = [(record.get("epoch", math.nan), record.get(loss, math.nan)) for record in run.curves]
    finite = [pair for pair in pairs if all(map(math.isfinite, pair))]
    return [int(epoch) for epoch, _ in finite], [float(f"{value:.6g}") for _, value in finite]
