"""The chart of the main metric: every seed of every candidate."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from headrace.figures.charts import NAME_OF_KEY, ROOM_PX, make_key, make_zoom
from headrace.figures.comparisons import Candidate, Comparison
from headrace.figures.numbers import format_number
from headrace.figures.theme import Row, Spec, finish

MAX_SEED_ROWS = 40
"""Candidates in one chart of seeds; the table has them all."""

SEED_HEIGHT = 11
"""Pixels of height that every seed of a candidate gets."""

LINE_HEIGHT = 15
"""Pixels of height of a line of a candidate's label."""

MAX_LABEL = 26
"""Characters of such a line; what is longer goes on in the next one."""

CENTRED = f"{-LINE_HEIGHT / 2} * (length(split(datum.value, '\\n')) - 2)"
"""Moves a label so that the middle of its lines stands where the first one would."""

BAND_SHARE = 0.5
"""How far t intervals may widen the axis on each side, as a share of what dots and bootstrap intervals take: those of
two seeds are 13 times as wide as their distance, and would leave nothing else to be seen."""

BOUNDS = {
    **dict.fromkeys(("accuracy", "macro_f1", "ece", "auroc"), (0.0, 1.0)),
    **dict.fromkeys(("rmse", "mae"), (0.0, math.inf)),
    "r2": (-math.inf, 1.0),
    "perplexity": (1.0, math.inf),
}
"""Values that a metric may take, where not all."""


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
    keys = [_label(position, candidate) for position, candidate in enumerate(shown)]
    offset_of_label: Any = {"condition": {"test": "true", "expr": CENTRED}, "value": 0}
    look: dict[str, Any] = {"labelLineHeight": LINE_HEIGHT, "labelOffset": offset_of_label, "labelExpr": NAME_OF_KEY}
    labels = alt.Axis(**look, ticks=False, domain=False, title=None)
    y = alt.Y("key:N", sort=keys, axis=labels, scale=alt.Scale(domain=keys, paddingInner=0.3, paddingOuter=0.15))
    fill = alt.Scale(domain=keys, range=[colours[candidate.name] for candidate in shown])
    low, high = _choose_ends(comparison, tables)
    tables["cuts"] = _tabulate_cuts(tables["bands"], low, high)
    x = _choose_metric_axis(comparison, low, high, is_cut=bool(tables["cuts"]))
    shared: dict[str, Any] = {"x": x, "y": y, "color": alt.Color("key:N", legend=None, scale=fill)}
    offset = alt.YOffset("position:O")
    about_mean = [alt.Tooltip(f"{name}:N") for name in ("model", "mean", "95 % interval", "seeds")]
    about_seed = [alt.Tooltip(f"{name}:N") for name in ("model", "seed", "exact", "bootstrap interval", "run")]
    charts = {name: alt.Chart(alt.NamedData(name)).encode(**shared) for name in tables}
    bands, rules, dots, ticks, cuts = (charts[name] for name in ("bands", "rules", "seeds", "means", "cuts"))
    arrows = alt.Scale(domain=["low", "high"], range=["triangle-left", "triangle-right"])
    side = alt.Shape("side:N", legend=None, scale=arrows)
    layers = {
        "bands": bands.mark_bar(opacity=0.18, clip=True).encode(x2="high:Q", tooltip=about_mean),
        "rules": rules.mark_rule(opacity=0.5, clip=True).encode(x2="high:Q", yOffset=offset, tooltip=about_seed),
        "seeds": dots.mark_circle(size=64, opacity=1, clip=True).encode(yOffset=offset, tooltip=about_seed),
        "means": ticks.mark_tick(thickness=3, opacity=1, clip=True).encode(tooltip=about_mean),
        "cuts": cuts.mark_point(size=70, filled=True, opacity=1).encode(shape=side, tooltip=about_mean),
    }
    rows = [14 + SEED_HEIGHT * len(candidate.runs) for candidate in shown]
    height = len(shown) * max(*rows, *(6 + LINE_HEIGHT * key.count("\n") for key in keys))
    chart = alt.layer(*(layer for name, layer in layers.items() if tables[name])).add_params(make_zoom("x"))
    words = f"{comparison.metric} of every seed on {comparison.dataset}, by model."
    return finish(chart.properties(width="container", height=height), words, tables)


def _label(position: int, candidate: Candidate) -> str:
    """Return the key of a candidate's row: its model, and a line for each parameter, or more for a long one."""
    lines = [line for text in (candidate.model, *candidate.parts) for line in textwrap.wrap(text, MAX_LABEL) or [text]]
    return make_key(position, *lines)


def _choose_ends(comparison: Comparison, tables: Mapping[str, Sequence[Row]]) -> tuple[float, float]:
    """Return the ends of the axis: all dots and bootstrap intervals, and the bands as far as they leave those room."""
    names = {name: ("x", "high") if name in ("rules", "bands") else ("x",) for name in tables}
    ends = {name: [row[end] for row in tables[name] for end in names[name]] for name in tables}
    seen = [*ends["seeds"], *ends["rules"], *ends["means"]]
    low, high = min(seen), max(seen)
    if low == high:
        margin = 0.01 * abs(low) or 0.01
        return low - margin, high + margin
    room = BAND_SHARE * (high - low)
    least, most = BOUNDS.get(comparison.metric, (-math.inf, math.inf))
    lowest, highest = max(low - room, min(low, least)), min(high + room, max(high, most))
    return max(lowest, min([low, *ends["bands"]])), min(highest, max([high, *ends["bands"]]))


def _tabulate_cuts(bands: Sequence[Row], low: float, high: float) -> list[Row]:
    """Return where bands leave the axis."""
    cuts = [{**row, "x": low, "side": "low"} for row in bands if row["x"] < low]
    cuts += [{**row, "x": high, "side": "high"} for row in bands if row["high"] > high]
    return [{name: value for name, value in row.items() if name != "high"} for row in cuts]


def _choose_metric_axis(comparison: Comparison, low: float, high: float, *, is_cut: bool) -> alt.X:
    better = "lower" if comparison.lower_is_better else "higher"
    title = f"{comparison.metric} on {comparison.split} ({better} is better)"
    axis = alt.Axis(title=title, tickCount=5, labelFlush=False)
    # An arrow stands at the end of the axis, which must then not be moved to a round number.
    scale = alt.Scale(zero=False, nice=not is_cut, padding=ROOM_PX, domain=[low, high])
    return alt.X("x:Q", axis=axis, scale=scale)


def _tabulate_seeds(comparison: Comparison, candidates: Sequence[Candidate]) -> dict[str, list[Row]]:
    """Return the dots, their intervals, the means and their bands; what isn't finite has no place to be drawn at."""
    tables: dict[str, list[Row]] = {"bands": [], "rules": [], "seeds": [], "means": []}
    for number, candidate in enumerate(candidates):
        named = {"key": _label(number, candidate), "model": candidate.name}
        for position, (run, metric) in enumerate(candidate.values(comparison.metric, comparison.split)):
            value, low, high = float(metric.value), float(metric.low), float(metric.high)
            texts = {"seed": str(run.seed), "run": run.id, "exact": repr(value)}
            row = {**named, **texts, "position": position, "bootstrap interval": _format_interval(low, high)}
            tables["seeds"].append({**row, "x": value})
            tables["rules"].append({**row, "x": low, "high": high})
        summary = candidate.summary(comparison.metric, comparison.split)
        interval = _format_interval(summary.low, summary.high)
        row = {**named, "mean": format_number(summary.mean), "95 % interval": interval, "seeds": str(summary.count)}
        if summary.count > 1:
            tables["means"].append({**row, "x": summary.mean})
        tables["bands"].append({**row, "x": summary.low, "high": summary.high})
    return {name: [row for row in rows if _can_be_drawn(row)] for name, rows in tables.items()}


def _can_be_drawn(row: Row) -> bool:
    return all(math.isfinite(row[end]) for end in ("x", "high") if end in row)


def _format_interval(low: float, high: float) -> str:
    return "none" if math.isnan(low) else f"{format_number(low)} to {format_number(high)}"
