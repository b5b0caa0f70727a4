"""Measured speed-up over workers, and what Amdahl's and Gustafson's laws make of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

import altair as alt

from headrace.figures.numbers import format_seconds
from headrace.figures.theme import MUTED, PALETTE, Row, Spec, finish
from headrace.scaling.laws import Law

BEYOND = 4
"""Laws are drawn up to this many times the most workers that were tried."""
NUM_POINTS = 60
KINDS = ("ideal", "Amdahl: the same data", "Gustafson: data that grows with the workers")


def draw_speed_up(stage: str, seconds: Mapping[int, Sequence[float]], law: Law) -> Spec:
    """Draw a dot for every measurement, and the laws as lines beyond them; both axes double from tick to tick."""
    last = BEYOND * max(seconds)
    ticks = [2**power for power in range(last.bit_length())]
    axis: dict[str, Any] = {"values": ticks, "format": "~g", "grid": False}
    rows = _tabulate(seconds, law)
    lowest = min(1.0, *(row["speed-up"] for row in rows))
    log = alt.Scale(type="log", base=2, domain=[1, last], nice=False)
    up = alt.Scale(type="log", base=2, domain=[lowest, last], nice=False)
    x = alt.X("workers:Q", scale=log, axis=alt.Axis(title="Dask workers", **axis))
    y = alt.Y("speed-up:Q", scale=up, axis=alt.Axis(title="speed-up over one worker", **axis))
    colour = alt.Scale(domain=list(KINDS), range=[MUTED, PALETTE[0], PALETTE[2]])
    legend = alt.Legend(title=None, orient="bottom", columns=1, symbolType="stroke")
    dash = alt.StrokeDash("law:N", legend=None, scale=alt.Scale(domain=list(KINDS), range=[[2, 3], [1, 0], [6, 3]]))
    lines = alt.Chart(alt.NamedData("laws")).transform_flatten(["workers", "speed-up"])
    about = [alt.Tooltip(f"{name}:N") for name in ("workers", "speed-up", "took", "round")]
    chart = alt.layer(
        lines.mark_line(strokeWidth=1.5).encode(
            x=x, y=y, strokeDash=dash, color=alt.Color("law:N", scale=colour, legend=legend)
        ),
        alt.Chart(alt.NamedData("measured"))
        .mark_circle(size=64, opacity=1, color=PALETTE[0])
        .encode(x=x, y=y, tooltip=about),
    )
    words = f"Speed-up of {stage} over the number of Dask workers, measured and by Amdahl's and Gustafson's laws."
    tables = {"laws": _tabulate_laws(law, last), "measured": rows}
    return finish(chart.properties(width="container", height=260), words, tables)


def _tabulate_laws(law: Law, last: int) -> list[Row]:
    workers = [last ** (place / (NUM_POINTS - 1)) for place in range(NUM_POINTS)]
    laws: Sequence[Callable[[float], float]] = (float, law.speed_up, law.scaled_speed_up)
    return [
        {
            "law": kind,
            "workers": [float(f"{count:.6g}") for count in workers],
            "speed-up": [float(f"{of(count):.6g}") for count in workers],
        }
        for kind, of in zip(KINDS, laws, strict=True)
    ]


def _tabulate(seconds: Mapping[int, Sequence[float]], law: Law) -> list[Row]:
    """Return one row a measurement; speed-ups are over the median of one worker, or what the law says of it."""
    alone = median(seconds[1]) if 1 in seconds else law.seconds(1)
    return [
        {"workers": count, "speed-up": alone / value, "took": format_seconds(value), "round": str(number)}
        for count, values in seconds.items()
        for number, value in enumerate(values, 1)
    ]
