"""The charts of a report: results in, Vega-Lite specs out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import numpy as np
from numpy.typing import NDArray

from headrace.figures.comparisons import Candidate, Comparison
from headrace.figures.numbers import format_number
from headrace.figures.theme import INK, PALETTE, Row, Spec, finish
from headrace.results import RunResult

MAX_SEED_ROWS = 40
"""Candidates in one chart of seeds; the table has them all."""

SEED_HEIGHT = 11
"""Pixels of height that every seed of a candidate gets."""

MAX_LEGEND = 8

MAX_HOVER_POINTS = 4000
"""Points of learning curves that answer to the mouse; more of them make a page slow."""

MAX_COUNTED_CLASSES = 20
"""Classes up to which a confusion matrix has room for its counts."""

LOG_RATIO = 8.0
"""Losses that differ by more than this factor are drawn on a log scale."""


def select_shown(comparison: Comparison) -> list[Candidate]:
    """Return the candidates of a chart of seeds, in their order: all of them, or the best where they are too many."""
    measured = [c for c in comparison.candidates if c.values(comparison.metric, comparison.split)]
    kept = comparison.rank(measured, comparison.split)[:MAX_SEED_ROWS]
    return [candidate for candidate in measured if len(measured) <= MAX_SEED_ROWS or candidate in kept]


def draw_seeds(comparison: Comparison, colours: Mapping[str, str]) -> Spec | None:
    """Draw the main metric: a dot and its bootstrap interval per seed, the mean and its t interval per candidate."""
    shown = select_shown(comparison)
    seeds = [row for candidate in shown for row in _tabulate_seeds(comparison, candidate)]
    if not any(math.isfinite(row["value"]) for row in seeds):
        return None
    means = [_tabulate_mean(comparison, candidate) for candidate in shown]
    names = [row["candidate"] for row in means]
    better = "lower" if comparison.lower_is_better else "higher"
    axis = alt.Axis(
        title=f"{comparison.metric} on {comparison.split} ({better} is better)", tickCount=5, labelFlush=False
    )
    scale = alt.Scale(zero=False)
    # A name holds no line break of its own: names are one word and json.dumps escapes those of values.
    labels = alt.Axis(labelExpr="split(datum.label, '\\n')", labelLineHeight=15, ticks=False, domain=False, title=None)
    y = alt.Y("candidate:N", sort=names, axis=labels, scale=alt.Scale(paddingInner=0.3, paddingOuter=0.15))
    colour = alt.Color(
        "candidate:N", legend=None, scale=alt.Scale(domain=names, range=[colours[c.name] for c in shown])
    )
    mean = alt.Chart(alt.NamedData("means")).encode(y=y, color=colour)
    seed = alt.Chart(alt.NamedData("seeds")).encode(y=y, color=colour, yOffset=alt.YOffset("position:O"))
    about_mean = [alt.Tooltip(f"{name}:N") for name in ("model", "mean", "95 % interval", "seeds")]
    about_seed = [alt.Tooltip(f"{name}:N") for name in ("model", "seed", "exact", "bootstrap interval", "run")]
    layers = alt.layer(
        mean.mark_bar(opacity=0.18).encode(x=alt.X("low:Q", scale=scale, axis=axis), x2="high:Q", tooltip=about_mean),
        seed.mark_rule(opacity=0.5).encode(x="low:Q", x2="high:Q", tooltip=about_seed),
        seed.mark_circle(size=64, opacity=1).encode(x="value:Q", tooltip=about_seed),
        mean.mark_tick(thickness=3, opacity=1).encode(x="mean_value:Q", tooltip=about_mean),
    )
    height = len(shown) * (14 + SEED_HEIGHT * max(row["position"] + 1 for row in seeds))
    chart = layers.properties(width="container", height=height)
    words = f"{comparison.metric} of every seed on {comparison.dataset}, by model."
    return finish(chart, words, {"seeds": seeds, "means": means})


def _tabulate_seeds(comparison: Comparison, candidate: Candidate) -> list[Row]:
    rows = []
    for position, (run, value) in enumerate(candidate.values(comparison.metric, comparison.split)):
        interval = f"{format_number(value.low)} to {format_number(value.high)}"
        numbers = {"value": float(value.value), "low": float(value.low), "high": float(value.high)}
        texts = {"model": candidate.name, "seed": str(run.seed), "exact": repr(float(value.value)), "run": run.id}
        named = {"candidate": _break_name(candidate), "position": position, "bootstrap interval": interval}
        rows.append({**named, **numbers, **texts})
    return rows


def _tabulate_mean(comparison: Comparison, candidate: Candidate) -> Row:
    summary = candidate.summary(comparison.metric, comparison.split)
    numbers = {"mean_value": summary.mean, "low": summary.low, "high": summary.high}
    interval = (
        f"{format_number(summary.low)} to {format_number(summary.high)}" if summary.count > 1 else "one seed: none"
    )
    texts = {"model": candidate.name, "mean": format_number(summary.mean), "seeds": str(summary.count)}
    return {"candidate": _break_name(candidate), "95 % interval": interval, **numbers, **texts}


def _break_name(candidate: Candidate) -> str:
    return f"{candidate.model}\n{candidate.setting}" if candidate.setting else candidate.model


def draw_curves(comparison: Comparison, colours: Mapping[str, str]) -> dict[str, Spec]:
    """Draw the losses by epoch: one chart per model, all on the same scale."""
    rows = {model: _tabulate_curves(comparison, model) for model in comparison.models}
    losses = [loss for panel in rows.values() for row in panel for loss in row["loss"]]
    if not losses:
        return {}
    y = _choose_loss_axis(min(losses), max(losses))
    return {model: _draw_panel(comparison, model, panel, y, colours) for model, panel in rows.items() if panel}


def _choose_loss_axis(low: float, high: float) -> alt.Y:
    """Return a log axis where the losses span a wide range, else a linear one."""
    if low <= 0 or high / low < LOG_RATIO:
        return alt.Y("loss:Q", scale=alt.Scale(domain=[low, high], nice=True), axis=alt.Axis(title="loss", tickCount=5))
    # Vega rounds a log axis to whole powers of ten and draws nine lines in each.
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if len(powers) <= 4 else (1,)
    ticks = [tick for power in powers for step in steps if low <= (tick := step * 10.0**power) <= high]
    scale = alt.Scale(type="log", domain=[0.9 * low, 1.1 * high], nice=False)
    return alt.Y("loss:Q", scale=scale, axis=alt.Axis(title="loss (log scale)", values=ticks, format="~g"))


def _draw_panel(comparison: Comparison, model: str, rows: Sequence[Row], y: alt.Y, colours: Mapping[str, str]) -> Spec:
    candidates = [candidate for candidate in comparison.candidates if candidate.model == model]
    names = [candidate.setting or model for candidate in candidates]
    is_told_apart = 1 < len(names) <= MAX_LEGEND
    legend = alt.Legend(title=None, orient="bottom", columns=1, symbolType="stroke") if is_told_apart else None
    domain = alt.Scale(domain=names, range=[colours[candidate.name] for candidate in candidates])
    shared = {"x": _choose_epoch_axis(rows), "y": y, "color": alt.Color("setting:N", legend=legend, scale=domain)}
    dashes = alt.Scale(domain=["validation", "train"], range=[[1, 0], [4, 3]])
    dash = alt.StrokeDash("split:N", legend=None, scale=dashes)
    about_run = ["run:N", "seed:N", "split:N", "status:N"]
    about_point = [*about_run, "epoch:Q", alt.Tooltip("loss:Q", format=".4r")]
    # One row is a whole line: a large sweep's page is ten times smaller than with one row per epoch.
    lines = alt.Chart(alt.NamedData("lines")).transform_flatten(["epoch", "loss"])
    best = alt.Chart(alt.NamedData("best")).mark_point(size=70, strokeWidth=2, filled=False, opacity=1)
    layers = [
        lines.mark_line(strokeWidth=1.5, opacity=0.8).encode(
            detail="run:N", strokeDash=dash, tooltip=about_run, **shared
        ),
        best.encode(tooltip=about_point, **shared),
    ]
    if sum(len(row["loss"]) for row in rows) <= MAX_HOVER_POINTS:
        # A line knows the values of its first point alone: unseen circles answer to the mouse with their own.
        layers.append(lines.mark_circle(size=80, opacity=0).encode(tooltip=about_point, **shared))
    chart = alt.layer(*layers).properties(width="container", height=220)
    words = f"Training and validation loss of {model} on {comparison.dataset} by epoch, one line per run."
    return finish(chart, words, {"lines": rows, "best": _select_best(comparison, rows)})


def _choose_epoch_axis(rows: Sequence[Row]) -> alt.X:
    first, last = min(min(row["epoch"]) for row in rows), max(max(row["epoch"]) for row in rows)
    count = min(6, last - first + 1)
    axis = alt.Axis(title="epoch", tickMinStep=1, format="d", tickCount=count, grid=False, labelFlush=False)
    return alt.X("epoch:Q", axis=axis, scale=alt.Scale(domain=[first, last], nice=False))


def _tabulate_curves(comparison: Comparison, model: str) -> list[Row]:
    """Return one row per run and split: its epochs and its losses."""
    rows = []
    for candidate in comparison.candidates:
        for run in candidate.runs if candidate.model == model else ():
            named = {"setting": candidate.setting or model, "run": run.id, "seed": str(run.seed), "status": run.status}
            for split in ("validation", "train"):
                epochs, losses = _trace_curve(run, f"{split}_loss")
                rows.append({**named, "split": split, "epoch": epochs, "loss": losses})
    return [row for row in rows if row["loss"]]


def _select_best(comparison: Comparison, rows: Sequence[Row]) -> list[Row]:
    """Return the points of the validation lines at which their runs were best."""
    best_epochs = {run.id: run.best_epoch for candidate in comparison.candidates for run in candidate.runs}
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


def sum_confusions(candidate: Candidate) -> NDArray[Any] | None:
    """Add up the confusion matrices of a candidate's seeds."""
    matrices = [np.asarray(run.confusion) for run in candidate.finished if run.confusion is not None]
    return np.sum(matrices, axis=0) if matrices else None


def draw_confusion(counts: NDArray[Any], class_names: Sequence[str], model: str, dataset: str) -> Spec:
    """Draw a confusion matrix: true classes down, predicted classes across, shaded by the share of the true class."""
    num_classes = len(counts)
    names = _name_classes(class_names, num_classes)
    few = num_classes <= MAX_COUNTED_CLASSES
    angle = -45 if max(map(len, names)) > 3 else 0
    across = alt.Axis(title="predicted class", ticks=False, domain=False, labelOverlap=not few, labelAngle=angle)
    down = alt.Axis(title="true class", ticks=False, domain=False, labelOverlap=not few)
    base = alt.Chart(alt.NamedData("counts")).encode(
        x=alt.X("predicted class:N", sort=names, axis=across),
        y=alt.Y("true class:N", sort=names, axis=down),
        tooltip=["true class:N", "predicted class:N", "count:Q", "share of the true class:N"],
    )
    shade = alt.Opacity("share:Q", legend=None, scale=alt.Scale(type="sqrt", domain=[0, 1], range=[0.04, 1]))
    colour = alt.condition("datum.right", alt.value(PALETTE[0]), alt.value(PALETTE[1]))
    layers = [base.mark_rect().encode(opacity=shade, color=colour)]
    if few:
        ink = alt.condition("datum.share > 0.5", alt.value("#ffffff"), alt.value(INK))
        text = base.mark_text(fontSize=11).encode(text="count:Q", color=ink)
        layers.append(text.transform_filter("datum.count > 0"))
    side = num_classes * min(32, max(4, 420 // num_classes))
    chart = alt.layer(*layers).properties(width=side, height=side)
    words = f"Confusion matrix of {model} on {dataset}: true classes down, predicted classes across."
    return finish(chart, words, {"counts": _tabulate_confusion(counts, names)})


def _tabulate_confusion(counts: NDArray[Any], names: Sequence[str]) -> list[Row]:
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return [
        {
            "true class": names[true],
            "predicted class": names[predicted],
            "count": int(counts[true, predicted]),
            "share of the true class": format_number(float(shares[true, predicted]), 3),
            "share": float(shares[true, predicted]),
            "right": true == predicted,
        }
        for true, predicted in np.ndindex(*counts.shape)
    ]


def _name_classes(class_names: Sequence[str], num_classes: int) -> list[str]:
    """Return one name per class, all different, so that no two classes share a row."""
    if len(class_names) != num_classes:
        return [str(position) for position in range(num_classes)]
    if len(set(class_names)) == num_classes:
        return list(class_names)
    return [f"{position}: {name}" for position, name in enumerate(class_names)]
