"""What predictions of images rest on: heat maps below the samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from headrace.figures.attribution_samples import (
    AGAINST,
    CELL,
    FOR,
    LINE_HEIGHT,
    SIGN_COLOUR,
    SIGNS,
    Sample,
    place_labels,
)
from headrace.figures.attributions import NAMES
from headrace.figures.charts import NAME_OF_KEY, make_key
from headrace.figures.images import image_uri, join_pixels, levels_uri
from headrace.figures.numbers import format_number
from headrace.figures.theme import PANEL, PAPER, Spec, finish
from headrace.findings.shown import Explanation

MIN_HIGH, MAX_HIGH = 20, 180
"""Pixels of height between which a sample is drawn, whatever its shape is."""


def draw_pictures(found: Explanation, samples: Sequence[Sample], model: str, dataset: str) -> Spec | None:
    """Draw every sample above its heat maps, one for each method; None where samples are no images."""
    if found.pictures is None or found.maps is None or found.reach is None:
        return None
    titles = ["sample", *(NAMES.get(method, method) for method in found.methods)]
    keys = [make_key(i, title) for i, title in enumerate(titles)]
    height, width = found.pictures.shape[1:3]
    high = round(min(MAX_HIGH, max(MIN_HIGH, CELL * height / width)))
    urls = [image_uri(join_pixels(found.pictures))]
    urls += [levels_uri(join_pixels(found.maps[:, i]), (AGAINST, FOR)) for i in range(len(found.methods))]
    strips = [{"row": key, "url": url} for key, url in zip(keys, urls, strict=True)]
    cells = [
        {"row": key, "column": sample.key, **sample.cells, "what": title, "largest share": largest}
        for i, (key, title) in enumerate(zip(keys, titles, strict=True))
        for sample, reach in zip(samples, found.reach.tolist(), strict=True)
        for largest in ["" if i == 0 else format_number(reach[i - 1], 3)]
    ]
    shown: dict[str, Any] = {"ticks": False, "domain": False, "title": None, "labelExpr": NAME_OF_KEY}
    columns = [sample.key for sample in samples]
    y = alt.Y("row:N", sort=keys, scale=alt.Scale(domain=keys, padding=0), axis=alt.Axis(**shown))
    x = alt.X("column:N", sort=columns, scale=alt.Scale(domain=columns, padding=0), axis=None)
    labels, top = place_labels(samples)
    broken: dict[str, Any] = {"lineBreak": "\n", "lineHeight": LINE_HEIGHT}
    text = alt.Chart(alt.NamedData("labels")).mark_text(baseline="top", fontSize=11, limit=CELL, **broken)
    size = {"width": CELL * len(samples), "height": high}
    base = alt.Chart(alt.NamedData("cells")).encode(x=x, y=y)
    strip = alt.Chart(alt.NamedData("strips")).mark_image(aspect=False, smooth=False, **size)
    about = [f"{name}:N" for name in ("what", "sample", "true", "predicted", "largest share")]
    chart = alt.layer(
        base.mark_rect(fill=PANEL),
        strip.encode(y=y, x=alt.value(size["width"] / 2), url="url:N"),
        base.mark_rect(fill=None, stroke=PAPER, strokeWidth=4),
        text.encode(x=x, y=alt.value(top), text="label:N"),
        alt.Chart(alt.NamedData("signs")).mark_square(size=0).encode(x=alt.value(0), y=alt.value(0), color=SIGN_COLOUR),
        base.mark_rect(opacity=0).encode(tooltip=about),
    ).properties(width=size["width"], height=high * len(keys))
    words = (
        f"Test samples of {dataset}, and below each what its prediction by {model} rests on, by "
        f"{' and '.join(titles[1:])}: blue raises what is predicted, orange lowers it. From left to right: "
        f"{'; '.join(sample.words for sample in samples)}."
    )
    # Nothing is drawn of them but the legend.
    signs = [{"sign": sign} for sign in SIGNS]
    return finish(chart, words, {"strips": strips, "cells": cells, "labels": labels, "signs": signs})
