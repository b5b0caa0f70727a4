"""How every chart looks, and how a chart becomes a file."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import vl_convert

Spec = dict[str, Any]
Row = dict[str, Any]

PALETTE = ("#2f78c4", "#d95f02", "#0f9b76", "#c2559d", "#b98a00", "#7a68c9", "#3a9fc0", "#a0644a")
"""Told apart with the common colour blindnesses and at least 3:1 against white and against the dark page."""

INK, MUTED, LINE = "var(--ink, #1d2329)", "var(--muted, #5b6570)", "var(--line, #dde2e7)"
PAPER, PANEL = "var(--paper, #ffffff)", "var(--panel, #f5f7f9)"
"""Colours that follow the page from light to dark; a saved file falls back on the light ones."""

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"

CONFIG: Spec = {
    "background": "transparent",
    "font": FONT,
    "view": {"stroke": None},
    "axis": {
        "labelColor": INK,
        "titleColor": MUTED,
        "titleFontWeight": "normal",
        "titlePadding": 8,
        "labelFontSize": 12,
        "titleFontSize": 12,
        "labelLimit": 190,
        "domainColor": LINE,
        "tickColor": LINE,
        "gridColor": LINE,
    },
    "legend": {"labelColor": INK, "titleColor": MUTED, "labelFontSize": 12, "labelLimit": 280},
    "header": {"labelColor": INK, "titleColor": MUTED, "labelFontSize": 12, "titleFontSize": 12},
    "text": {"color": INK},
    "rule": {"color": MUTED},
}

_CLIP = re.compile(r"(?<=id=\")clip[0-9]+(?=\")|(?<=url\(#)clip[0-9]+(?=\))")

_PAGE_COLOUR = re.compile(r"var\(--[a-z]+, (#[0-9a-f]{6})\)")


def finish(chart: alt.LayerChart | alt.FacetChart, description: str, data: Mapping[str, Sequence[Row]]) -> Spec:
    """Return a chart as a checked Vega-Lite spec in the report's looks, with words for who can't see it.

    The rows come in after the check: looking at each of 100,000 rows of a large sweep takes a minute and finds nothing.
    Numbers that aren't finite have no place in JSON and become null.
    """
    spec: Spec = chart.properties(description=description).to_dict()
    tables = {
        name: [{key: _as_json(value) for key, value in row.items()} for row in rows] for name, rows in data.items()
    }
    return {**spec, "config": CONFIG, "datasets": tables}


def _as_json(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def assign_colours(names: Sequence[str]) -> dict[str, str]:
    """Give every name a colour, the same in every chart; they repeat when there are more names than colours."""
    return {name: PALETTE[position % len(PALETTE)] for position, name in enumerate(dict.fromkeys(names))}


def draw_svg(spec: Spec) -> str:
    """Return a chart as SVG in the light colours, 480 px wide where it would fill the page; needs no network.

    The first call of a process takes half a second more.
    """
    # A reader of the page hears of every mark; of a printed chart its description is enough, and it is half as large.
    printed = {**_for_print(spec), "config": {**_for_print(spec.get("config", {})), "mark": {"aria": False}}}
    svg: str = vl_convert.vegalite_to_svg(printed, vl_version=vegalite_version(), allowed_base_urls=[])
    # They are counted over all charts of the process, and a drawing must not depend on what was drawn before.
    numbers: dict[str, str] = {}
    return _CLIP.sub(lambda found: numbers.setdefault(found[0], f"clip{len(numbers)}"), svg)


def _for_print(node: Any) -> Any:
    """Return a spec without what only a page can resolve or answer."""
    if isinstance(node, dict):
        return {
            key: 480 if (key, value) == ("width", "container") else _for_print(value)
            for key, value in node.items()
            if key not in ("datasets", "tooltip")
        } | ({"datasets": node["datasets"]} if "datasets" in node else {})
    if isinstance(node, list):
        return [_for_print(value) for value in node if not _answers_only_to_the_mouse(value)]
    return _PAGE_COLOUR.sub(r"\1", node) if isinstance(node, str) else node


def _answers_only_to_the_mouse(layer: Any) -> bool:
    return isinstance(layer, dict) and isinstance(layer.get("mark"), dict) and layer["mark"].get("opacity") == 0


def vegalite_version() -> str:
    """Return Altair's Vega-Lite version as vl-convert writes it: v6.4.1 is 6.4."""
    return ".".join(alt.SCHEMA_VERSION.lstrip("v").split(".")[:2])
