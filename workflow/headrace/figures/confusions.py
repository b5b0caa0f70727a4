"""Confusion matrices of the chosen candidates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np
from numpy.typing import NDArray

from headrace.figures.charts import NAME_OF_KEY, make_key
from headrace.figures.comparisons import Candidate
from headrace.figures.numbers import format_number
from headrace.figures.theme import INK, PALETTE, Row, Spec, finish

MAX_CLASSES = 100
"""Above it a matrix has more cells than a page has room for, in bytes too."""

MAX_PANELS = 24
"""Models whose matrices are drawn: of hundreds the page would be too large to send."""

MAX_COUNTED_CLASSES = 20
"""Classes up to which a confusion matrix has room for its counts."""


def sum_confusions(candidate: Candidate) -> NDArray[Any] | None:
    """Add up the confusion matrices of a candidate's seeds."""
    matrices = [np.asarray(run.confusion) for run in candidate.counted if run.confusion is not None]
    return np.sum(matrices, axis=0) if matrices else None


def draw_confusion(counts: NDArray[Any], class_names: Sequence[str], model: str, dataset: str) -> Spec:
    """Draw a confusion matrix: true classes down, predicted classes across, shaded by the share of the true class."""
    num_classes = len(counts)
    names = name_classes(class_names, num_classes)
    few = num_classes <= MAX_COUNTED_CLASSES
    keys = [make_key(position, name) for position, name in enumerate(names)]
    angle = -45 if max(map(len, names)) > 3 else 0
    shared: dict[str, Any] = {"ticks": False, "domain": False, "labelOverlap": not few, "labelExpr": NAME_OF_KEY}
    axes = [
        alt.Axis(title="predicted class", labelAngle=angle, **shared),
        alt.Axis(title="true class", **shared),
    ]
    placed: dict[str, Any] = {"sort": keys, "scale": alt.Scale(domain=keys)}
    base = alt.Chart(alt.NamedData("counts")).encode(
        x=alt.X(
            "column:N",
            sort=keys,
            scale=alt.Scale(domain=keys),
            axis=alt.Axis(title="predicted class", labelAngle=angle, **shared),
        ),
        y=alt.Y("row:N", axis=axes[1], **placed),
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
            "row": make_key(true, names[true]),
            "column": make_key(predicted, names[predicted]),
            "true class": names[true],
            "predicted class": names[predicted],
            "count": int(counts[true, predicted]),
            "share of the true class": format_number(float(shares[true, predicted]), 3),
            "share": float(shares[true, predicted]),
            "right": true == predicted,
        }
        for true, predicted in np.ndindex(*counts.shape)
        # An empty cell of a large matrix is left out: it says nothing, and there may be thousands.
        if counts[true, predicted] or len(counts) <= MAX_COUNTED_CLASSES
    ]


def name_classes(class_names: Sequence[str], num_classes: int) -> list[str]:
    """Return one name per class, all different, so that no two classes share a row."""
    if len(class_names) != num_classes:
        return [str(position) for position in range(num_classes)]
    if len(set(class_names)) == num_classes:
        return list(class_names)
    return [f"{position}: {name}" for position, name in enumerate(class_names)]
