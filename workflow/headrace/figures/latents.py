"""A latent space seen from the side from which its samples lie farthest apart."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import numpy as np

from headrace.figures.charts import NAME_OF_KEY, make_key
from headrace.figures.confusions import name_classes
from headrace.figures.numbers import format_share
from headrace.figures.theme import PALETTE, Row, Spec, finish
from headrace.findings.shown import LatentMap

MAX_PANELS = 8
"""Maps on a page."""
MAX_CLASSES = 24
"""Of more classes no colours can be told apart."""
SHAPES = ("circle", "square", "triangle-up", "diamond")
"""One after the other when the colours have all been used."""
SIDE = 360


def draw_map(found: LatentMap, class_names: Sequence[str], model: str, dataset: str) -> Spec:
    """Draw a dot for every sample, with the colour and shape of its class where there are classes and not too many."""
    names = _name(found, class_names)
    axes = [
        alt.Axis(title=f"axis {number}, {format_share(share)} of the variance", tickCount=5, labelFlush=False)
        for number, share in enumerate(found.explained, 1)
    ]
    base = alt.Chart(alt.NamedData("samples")).encode(
        x=alt.X("x:Q", axis=axes[0], scale=alt.Scale(zero=False)),
        y=alt.Y("y:Q", axis=axes[1], scale=alt.Scale(zero=False)),
    )
    if names:
        order = [make_key(code, name) for code, name in enumerate(names)]
        colours = [PALETTE[place % len(PALETTE)] for place in range(len(order))]
        shapes = [SHAPES[place // len(PALETTE) % len(SHAPES)] for place in range(len(order))]
        legend = alt.Legend(title=None, orient="right", symbolOpacity=1, columns=1, labelExpr=NAME_OF_KEY)
        base = base.encode(
            color=alt.Color("key:N", scale=alt.Scale(domain=order, range=colours), legend=legend),
            shape=alt.Shape("key:N", scale=alt.Scale(domain=order, range=shapes), legend=legend),
            tooltip=["class:N"],
        )
    chart = base.mark_point(filled=True, size=22, opacity=0.7, color=alt.Undefined if names else PALETTE[0])
    words = f"Samples of the test split of {dataset} in the latent space of {model}, along two principal components."
    return finish(alt.layer(chart).properties(width=SIDE, height=SIDE), words, {"samples": _tabulate(found, names)})


def _name(found: LatentMap, class_names: Sequence[str]) -> list[str]:
    """Return the names of all classes, or none where samples have no class or there are too many."""
    if found.classes is None or not class_names or len(class_names) > MAX_CLASSES:
        return []
    return name_classes(class_names, len(class_names))


def _tabulate(found: LatentMap, names: Sequence[str]) -> list[Row]:
    rows = []
    for number, (x, y) in enumerate(np.asarray(found.places, dtype=np.float64)):
        row: Row = {"x": float(f"{x:.4g}"), "y": float(f"{y:.4g}")}
        if names and found.classes is not None:
            code = int(found.classes[number])
            row |= {"key": make_key(code, names[code]), "class": names[code]}
        rows.append(row)
    return rows
