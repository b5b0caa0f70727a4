"""The charts of a report: results in, Vega-Lite specs out."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import altair as alt

from headrace.figures.comparisons import Candidate, Comparison
from headrace.figures.numbers import format_number
from headrace.figures.theme import Row, Spec, finish
from headrace.findings.results import RunResult

MAX_SEED_ROWS = 40
"""Candidates in one chart of seeds; the table has them all."""

NAME_OF_KEY = "slice(split(datum.label, '\\n'), 1)"

SEED_HEIGHT = 11
"""Pixels of height that every seed of a candidate gets."""

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


def _make_zoom(*axes: Literal["x", "y"]) -> alt.Parameter:
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


def select_shown(comparison: Comparison) -> list[Candidate]:
    """Return the candidates of a chart of seeds, in their order: all of them, or the best where they are too many."""
    measured = [c for c in comparison.candidates if c.values(comparison.metric, comparison.split)]
    kept = comparison.rank(measured, comparison.split)[:MAX_SEED_ROWS]
    return [candidate for candidate in measured if len(measured) <= MAX_SEED_ROWS or candidate in kept]


def draw_seeds(comparison: Comparison, colours: Mapping[str, str]) -> Spec | None:
    """Draw the main metric: a dot and its bootstrap interval per seed, the mean and its t interval per candidate."""
    shown = select_shown(comparison)
    tables = _tabulate_seeds(comparison, shown)
    if not tables["seeds"]:
        return None
    keys = [make_key(position, candidate.model, candidate.setting) for position, candidate in enumerate(shown)]
    labels = alt.Axis(labelExpr=NAME_OF_KEY, labelLineHeight=15, ticks=False, domain=False, title=None)
    y = alt.Y("key:N", sort=keys, axis=labels, scale=alt.Scale(domain=keys, paddingInner=0.3, paddingOuter=0.15))
    fill = alt.Scale(domain=keys, range=[colours[candidate.name] for candidate in shown])
    x = _choose_metric_axis(comparison, tables)
    shared: dict[str, Any] = {"x": x, "y": y, "color": alt.Color("key:N", legend=None, scale=fill)}
    offset = alt.YOffset("position:O")
    about_mean = [alt.Tooltip(f"{name}:N") for name in ("model", "mean", "95 % interval", "seeds")]
    about_seed = [alt.Tooltip(f"{name}:N") for name in ("model", "seed", "exact", "bootstrap interval", "run")]
    charts = {name: alt.Chart(alt.NamedData(name)).encode(**shared) for name in tables}
    bands, rules, dots, ticks = (charts[name] for name in ("bands", "rules", "seeds", "means"))
    layers = {
        "bands": bands.mark_bar(opacity=0.18, clip=True).encode(x2="high:Q", tooltip=about_mean),
        "rules": rules.mark_rule(opacity=0.5, clip=True).encode(x2="high:Q", yOffset=offset, tooltip=about_seed),
        "seeds": dots.mark_circle(size=64, opacity=1, clip=True).encode(yOffset=offset, tooltip=about_seed),
        "means": ticks.mark_tick(thickness=3, opacity=1, clip=True).encode(tooltip=about_mean),
    }
    height = len(shown) * (14 + SEED_HEIGHT * max(len(candidate.runs) for candidate in shown))
    chart = alt.layer(*(layer for name, layer in layers.items() if tables[name])).add_params(_make_zoom("x"))
    words = f"{comparison.metric} of every seed on {comparison.dataset}, by model."
    return finish(chart.properties(width="container", height=height), words, tables)


def make_key(position: int, *lines: str) -> str:
    """Return a name for a scale: with its number in front it's unique and never a word like `constructor`.

    Vega keeps some domains in plain objects, in which such a word is taken. An axis shows the key by NAME_OF_KEY.
    """
    return "\n".join([str(position), *(line for line in lines if line)])


def _choose_metric_axis(comparison: Comparison, tables: Mapping[str, Sequence[Row]]) -> alt.X:
    ends = [row[end] for rows in tables.values() for row in rows for end in ("x", "high") if end in row]
    low, high = min(ends), max(ends)
    margin = 0 if low < high else 0.01 * abs(low) or 0.01
    better = "lower" if comparison.lower_is_better else "higher"
    title = f"{comparison.metric} on {comparison.split} ({better} is better)"
    axis = alt.Axis(title=title, tickCount=5, labelFlush=False)
    scale = alt.Scale(zero=False, nice=True, padding=ROOM_PX, domain=[low - margin, high + margin])
    return alt.X("x:Q", axis=axis, scale=scale)


def _tabulate_seeds(comparison: Comparison, candidates: Sequence[Candidate]) -> dict[str, list[Row]]:
    """Return the dots, their intervals, the means and their bands; what isn't finite has no place to be drawn at."""
    tables: dict[str, list[Row]] = {"bands": [], "rules": [], "seeds": [], "means": []}
    for number, candidate in enumerate(candidates):
        named = {"key": make_key(number, candidate.model, candidate.setting), "model": candidate.name}
        for position, (run, metric) in enumerate(candidate.values(comparison.metric, comparison.split)):
            value, low, high = float(metric.value), float(metric.low), float(metric.high)
            texts = {"seed": str(run.seed), "run": run.id, "exact": repr(value)}
            row = {**named, **texts, "position": position, "bootstrap interval": _format_interval(low, high)}
            tables["seeds"].append({**row, "x": value})
            tables["rules"].append({**row, "x": low, "high": high})
        summary = candidate.summary(comparison.metric, comparison.split)
        interval = _format_interval(summary.low, summary.high)
        row = {**named, "mean": format_number(summary.mean), "95 % interval": interval, "seeds": str(summary.count)}
        tables["means"].append({**row, "x": summary.mean})
        tables["bands"].append({**row, "x": summary.low, "high": summary.high})
    return {name: [row for row in rows if _can_be_drawn(row)] for name, rows in tables.items()}


def _can_be_drawn(row: Row) -> bool:
    return all(math.isfinite(row[end]) for end in ("x", "high") if end in row)


def _format_interval(low: float, high: float) -> str:
    return "none" if math.isnan(low) else f"{format_number(low)} to {format_number(high)}"


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
    chart = alt.layer(*layers).properties(width="container", height=220).add_params(_make_zoom("x", "y"))
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
