"""What predictions rest on, drawn: bars of features, lines over the steps of sequences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import altair as alt
import numpy as np

from headrace.figures.attribution_samples import CELL, LINE_HEIGHT, LINE_OF_KEY, SIGN_COLOUR, SIGNS, Sample
from headrace.figures.attributions import NAMES
from headrace.figures.charts import NAME_OF_KEY, make_key
from headrace.figures.theme import INK, LINE, MUTED, PALETTE, Spec, finish
from headrace.findings.results import RunResult
from headrace.findings.shown import Explanation

MAX_ROWS = 15
"""Features in one chart, those with the largest mean."""
METHOD_COLOURS = (PALETTE[2], PALETTE[5])
BAR = 9
"""Pixels of height of a bar."""
GAP = 8
"""Pixels between the bars of two samples."""
ZERO_LINE = alt.condition("datum.value == 0", alt.value(MUTED), alt.value(LINE))
PANELS, SERIES_WIDTH = 4, 190
"""Series side by side, and the pixels of each."""


def name_patches(found: Explanation, *, is_sequence: bool) -> list[str]:
    """Return a name for every feature or group of features, or for every step or group of steps."""
    assert found.edges is not None
    edges = found.edges.tolist()
    names = found.names if not is_sequence and len(found.names) == edges[-1] else ()
    unit = "step" if is_sequence else "feature"
    return [
        f"{names[start] if names else f'{unit} {start}'}"
        if stop - start == 1
        else f"{names[start]} to {names[stop - 1]}"
        if names
        else f"{unit}s {start} to {stop - 1}"
        for start, stop in pairwise(edges)
    ]


def _select_largest(means: np.ndarray) -> list[int]:
    """Return the places of the largest of (values,), at most MAX_ROWS; those that are not finite come last."""
    return [int(place) for place in np.argsort(-np.nan_to_num(means, nan=-math.inf), kind="stable")[:MAX_ROWS]]


def draw_means(found: Explanation, run: RunResult, model: str, dataset: str) -> Spec | None:
    """Draw the mean absolute share of the most important features by every method; None for images.

    Of a sequence those of integrated gradients alone, and only where a step has several features.
    """
    is_sequence = bool(run.shapes.get("is_sequence"))
    if is_sequence:
        if found.feature_means is None or len(found.feature_means) < 2:
            return None
        means, methods = found.feature_means[None], found.methods[:1]
        known = found.names if len(found.names) == len(found.feature_means) else ()
        names = known or [f"feature {i}" for i in range(len(found.feature_means))]
    elif found.means is None:
        return None
    else:
        means, methods, names = found.means, found.methods, name_patches(found, is_sequence=False)
    order = _select_largest(means[0])
    keys = [make_key(i, names[place]) for i, place in enumerate(order)]
    rows = [
        {"key": key, "feature": names[place], "method": NAMES.get(method, method), "mean": float(means[i, place])}
        for key, place in zip(keys, order, strict=True)
        for i, method in enumerate(methods)
    ]
    titles = [NAMES.get(method, method) for method in methods]
    legend = alt.Legend(title=None, orient="bottom", symbolType="square") if len(methods) > 1 else None
    scale = alt.Scale(domain=titles, range=list(METHOD_COLOURS[: len(titles)]))
    bars = (
        alt.Chart(alt.NamedData("means"))
        .mark_bar()
        .encode(
            x=alt.X("mean:Q", axis=alt.Axis(title=f"mean absolute share of {name_output(run)}", tickCount=4)),
            y=_feature_axis(keys),
            yOffset=alt.YOffset("method:N", sort=titles, scale=alt.Scale(domain=titles)),
            color=alt.Color("method:N", scale=scale, legend=legend),
            tooltip=["feature:N", "method:N", alt.Tooltip("mean:Q", format=".3r")],
        )
    )
    height = len(keys) * (BAR * len(methods) + 6)
    words = f"Mean absolute share of every feature in what {model} predicts of {dataset}, the largest first."
    return finish(alt.layer(bars).properties(width="container", height=height), words, {"means": rows})


def _feature_axis(keys: Sequence[str]) -> alt.Y:
    labels = alt.Axis(labelExpr=NAME_OF_KEY, ticks=False, domain=False, title=None)
    return alt.Y("key:N", sort=list(keys), axis=labels, scale=alt.Scale(domain=list(keys), paddingInner=0.3))


def name_output(run: RunResult) -> str:
    """Return what is taken apart."""
    return "the logit" if run.task == "classification" else "the number"


def draw_shares(found: Explanation, run: RunResult, samples: Sequence[Sample], model: str, dataset: str) -> Spec | None:
    """Draw what the most important features of every sample speak for: bars by integrated gradients, ticks by the other
    method. None where samples are no vectors.
    """
    if found.shares is None or found.means is None or run.shapes.get("is_sequence"):
        return None
    names, order = name_patches(found, is_sequence=False), _select_largest(found.means[0])
    keys = [make_key(i, names[place]) for i, place in enumerate(order)]
    first, second = (NAMES.get(method, method) for method in found.methods)
    rows = [
        {
            "column": sample.key,
            "key": key,
            "feature": names[place],
            **sample.cells,
            first: float(found.shares[i, 0, place]),
            second: float(found.shares[i, 1, place]),
            "sign": SIGNS[0 if found.shares[i, 0, place] > 0 else 1],
        }
        for i, sample in enumerate(samples)
        for key, place in zip(keys, order, strict=True)
    ]
    y = _feature_axis(keys)
    axis = alt.Axis(
        title=None, tickCount=2, format=".4~g", labelFontSize=10, labelOverlap="greedy", gridColor=ZERO_LINE
    )
    about = ["feature:N", "sample:N", "true:N", "predicted:N", *(f"{each}:Q" for each in (first, second))]
    base = alt.Chart().encode(y=y, tooltip=about)
    chart = alt.layer(
        base.mark_bar().encode(x=alt.X(f"{first}:Q", axis=axis), color=SIGN_COLOUR),
        base.mark_tick(color=INK, thickness=1.5, size=BAR + 3).encode(x=alt.X(f"{second}:Q", axis=axis)),
        data=alt.NamedData("shares"),
    ).properties(width=CELL, height=len(keys) * (BAR + 6))
    words = (
        f"Shares of the most important features in what {model} predicts of test samples of {dataset}: bars by "
        f"{first}, blue where they raise it and orange where they lower it, ticks by {second}. From left to right: "
        f"{'; '.join(sample.words for sample in samples)}."
    )
    shown: dict[str, Any] = {"labelExpr": NAME_OF_KEY, "labelLineHeight": LINE_HEIGHT, "labelFontSize": 11}
    header = alt.Header(title=None, labelLimit=CELL + GAP, **shown)
    column = alt.Column("column:N", sort=[sample.key for sample in samples], header=header)
    return finish(chart.facet(column=column, spacing=GAP), words, {"shares": rows})


def draw_series(found: Explanation, run: RunResult, samples: Sequence[Sample], model: str, dataset: str) -> Spec | None:
    """Draw what every step of a sequence speaks for, a line for each method; None where samples are no sequences."""
    if found.shares is None or found.edges is None or not run.shapes.get("is_sequence"):
        return None
    titles = [NAMES.get(method, method) for method in found.methods]
    starts, stops = found.edges[:-1].tolist(), found.edges[1:].tolist()
    rows = [
        {
            "panel": sample.key,
            **sample.cells,
            "method": title,
            "step": [(start + stop - 1) / 2 for start, stop in zip(starts, stops, strict=True)],
            "share": [_as_json(float(f"{value:.4g}")) for value in found.shares[i, j].tolist()],
        }
        for i, sample in enumerate(samples)
        for j, title in enumerate(titles)
    ]
    legend = alt.Legend(title=None, orient="bottom", symbolType="stroke")
    colour = alt.Color("method:N", scale=alt.Scale(domain=titles, range=list(METHOD_COLOURS)), legend=legend)
    x = alt.X("step:Q", axis=alt.Axis(title="step", tickCount=4, grid=False), scale=alt.Scale(nice=False))
    title = f"share of {name_output(run)}"
    y = alt.Y("share:Q", axis=alt.Axis(title=title, tickCount=3, format=".4~g", gridColor=ZERO_LINE))
    lines = alt.Chart().mark_line(strokeWidth=1.5)
    about = [f"{name}:N" for name in ("sample", "true", "predicted", "method")]
    chart = alt.layer(lines.encode(x=x, y=y, color=colour, tooltip=about), data=alt.NamedData("lines"))
    chart = chart.properties(width=SERIES_WIDTH, height=90)
    words = (
        f"Shares of the steps in what {model} predicts of test samples of {dataset}, by {' and '.join(titles)}. "
        f"Samples: {'; '.join(sample.words for sample in samples)}."
    )
    header = alt.Header(title=None, labelExpr=LINE_OF_KEY, labelLimit=SERIES_WIDTH)
    facet = alt.Facet("panel:N", sort=[sample.key for sample in samples], header=header)
    panels = chart.facet(facet=facet, columns=PANELS)
    # Inside a panel the lines of all samples would be taken apart.
    panels.transform = [alt.FlattenTransform(flatten=["step", "share"])]
    return finish(panels, words, {"lines": rows})


def _as_json(value: float) -> float | None:
    """JSON has no nan."""
    return value if math.isfinite(value) else None
