"""How iterative fits went: a chart of each trace, and what a reader must know of those that did not converge."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence

import altair as alt
import numpy as np

from headrace.figures.numbers import format_bytes, format_number, format_seconds
from headrace.figures.theme import PALETTE, Row, Spec, finish
from headrace.findings.results import FitTrace

MAX_PANELS = 24
"""Charts on the page; the table has all fits."""

MAX_POINTS = 1000
"""Iterations in one chart; of more, some are left out, evenly."""

MAX_DOTS = 40
"""Iterations up to which each has a dot."""

MAX_TICKS = 7

HEIGHT = 220
"""Pixels."""


def find_unconverged(traces: Sequence[FitTrace]) -> list[str]:
    """Return a sentence about every fit that ended before it had converged."""
    return [
        f"Step {fit.name} of features {fit.features} on {fit.dataset} did not converge: {fit.measure} "
        f"{format_number(fit.value)} after {fit.iterations} of at most {fit.max_iterations} iterations, "
        f"tolerance {fit.tolerance:g}. What was computed from it rests on an unfinished fit."
        for fit in traces
        if not fit.converged
    ]


def select_drawn(traces: Sequence[FitTrace]) -> list[FitTrace]:
    """Return the fits that get a chart, in their order; where they are too many, those that did not converge first."""
    positions = [position for position, fit in enumerate(traces) if _finite_lines(fit)]
    kept = sorted(positions, key=lambda position: traces[position].converged)[:MAX_PANELS]
    return [traces[position] for position in sorted(kept)]


def draw_convergence(fit: FitTrace) -> Spec | None:
    """Draw what a fit measured over its iterations, and its tolerance as a rule; None where nothing can be drawn."""
    lines = _finite_lines(fit)
    if not lines:
        return None
    ends = [float(line["value"]) for line in lines] + ([fit.tolerance] if fit.bounds_value else [])
    x, y = _choose_iteration_axis(lines), _choose_value_axis(fit.measure, min(ends), max(ends))
    # One row is the whole line, as for learning curves: the page is much smaller than with a row per iteration.
    line = alt.Chart(alt.NamedData("fit")).transform_flatten(["iteration", "value", "time", "moved"])
    about = [
        alt.Tooltip("iteration:Q"),
        alt.Tooltip("value:Q", format=".6~g"),
        alt.Tooltip("time:N", title="time since the fit began"),
        alt.Tooltip("moved:N", title="data moved"),
    ]
    colour = PALETTE[0] if fit.converged else PALETTE[1]
    # A line knows the values of its first point alone: circles answer to the mouse, unseen ones where there are many.
    size, opacity = (36, 1) if len(lines) <= MAX_DOTS else (80, 0)
    limit = alt.Chart(alt.NamedData("tolerance")).encode(y=y)
    layers = [
        limit.mark_rule(strokeDash=[4, 3], strokeWidth=1.5).encode(tooltip=alt.Tooltip("label:N", title="limit")),
        limit.mark_text(align="left", baseline="bottom", dx=4, dy=-3).encode(x=alt.value(0), text="label:N"),
        line.mark_line(strokeWidth=1.5, color=colour).encode(x=x, y=y),
        line.mark_circle(color=colour, size=size, opacity=opacity).encode(x=x, y=y, tooltip=about),
    ]
    limits = [{"value": fit.tolerance, "label": f"tolerance {fit.tolerance:g}"}] if fit.bounds_value else []
    words = (
        f"{fit.measure} of step {fit.name} of features {fit.features} on {fit.dataset} by iteration; "
        f"{'it converged' if fit.converged else 'it did not converge'}, tolerance {fit.tolerance:g}."
    )
    chart = alt.layer(*(layers if limits else layers[2:])).properties(width="container", height=HEIGHT)
    return finish(chart, words, {"fit": [_tabulate(lines)], **({"tolerance": limits} if limits else {})})


def _finite_lines(fit: FitTrace) -> list[dict[str, float]]:
    """Return the iterations that have a place in a chart, the first and the last of them always."""
    lines = [dict(line) for line in fit.trace if math.isfinite(line["value"])]
    kept = np.unique(np.linspace(0, len(lines) - 1, MAX_POINTS).round().astype(int)) if len(lines) > MAX_POINTS else ()
    return [lines[position] for position in kept] if len(kept) else lines


def _tabulate(lines: Sequence[dict[str, float]]) -> Row:
    return {
        "iteration": [int(line["iteration"]) for line in lines],
        "value": [float(line["value"]) for line in lines],
        "time": [format_seconds(line["seconds"]) for line in lines],
        "moved": [format_bytes(line["bytes_moved"]) for line in lines],
    }


def _choose_iteration_axis(lines: Sequence[dict[str, float]]) -> alt.X:
    first, last = int(lines[0]["iteration"]), int(lines[-1]["iteration"])
    # Vega would put ticks between iterations where there are few.
    ticks = list(range(first, last + 1)) if last - first < MAX_TICKS else alt.Undefined
    axis = alt.Axis(title="iteration", tickCount=6, values=ticks, format="d", grid=False, labelFlush=False)
    scale = alt.Scale(domain=[first, last] if first < last else [first - 1, first + 1], nice=False)
    return alt.X("iteration:Q", axis=axis, scale=scale)


def _choose_value_axis(measure: str, low: float, high: float) -> alt.Y:
    """Return a log axis where everything on it is positive, else a linear one."""
    if low <= 0:
        margin = 0 if low < high else 0.01 * abs(low) or 0.01
        scale = alt.Scale(domain=[low - margin, high + margin], nice=True)
        return alt.Y("value:Q", scale=scale, axis=alt.Axis(title=measure, titleLimit=HEIGHT, tickCount=5))
    # Vega rounds a log axis to whole powers of ten and draws nine lines in each.
    scale = alt.Scale(type="log", domain=[low / 1.3, min(1.3 * high, sys.float_info.max)], nice=False)
    form = "~g" if low >= 1e-4 and high < 1e6 else "~e"
    title, ticks = f"{measure} (log scale)", _choose_ticks(low, high) or alt.Undefined
    axis = alt.Axis(title=title, titleLimit=HEIGHT, tickCount=5, format=form, values=ticks)
    return alt.Y("value:Q", scale=scale, axis=axis)


def _choose_ticks(low: float, high: float) -> list[float]:
    """Return powers of ten between two positive numbers, with 2 and 5 times them where they are few, or none."""
    powers = range(math.floor(math.log10(low)), math.floor(math.log10(high)) + 1)
    for steps in ((1,), (1, 2, 5)):
        ticks = [tick for power in powers for step in steps if low <= (tick := step * 10.0**power) <= high]
        if len(ticks) > 2:
            return ticks[:: math.ceil(len(ticks) / MAX_TICKS)]
    return []
