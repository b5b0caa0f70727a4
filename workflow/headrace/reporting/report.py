"""Results as one HTML page that needs nothing else: no network, no other file."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import vl_convert
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from headrace.figures.answers import find_problems
from headrace.figures.convergence import find_unconverged
from headrace.figures.files import Figure
from headrace.figures.numbers import (
    format_bytes,
    format_count,
    format_energy,
    format_mebibytes,
    format_number,
    format_seconds,
    format_share,
)
from headrace.figures.runs import tabulate_runs
from headrace.figures.theme import vegalite_version
from headrace.reporting.results import Results
from headrace.sections import (
    answer,
    attributions,
    calibration,
    cards,
    classes,
    comparisons,
    confusions,
    convergence,
    curves,
    data,
    failures,
    groups,
    latents,
    methods,
    ranking,
    reconstructions,
    reproduce,
    resources,
    robustness,
    scaling,
    statistics,
)
from headrace.sections import (
    results as metrics,
)
from headrace.sections.base import Context, Page, Section

TEMPLATES = Path(__file__).parents[2] / "report"

SECTIONS: Sequence[Section] = (
    answer,
    metrics,
    statistics,
    comparisons,
    curves,
    confusions,
    classes,
    calibration,
    ranking,
    groups,
    reconstructions,
    latents,
    robustness,
    attributions,
    methods,
    cards,
    data,
    convergence,
    scaling,
    resources,
    failures,
    reproduce,
)
"""In the order of the contents."""

SCRIPTS = ("report.js", "report.tables.js", "report.runs.js")
"""They become one."""


@dataclass(frozen=True)
class Report:
    """A page, and the charts that are drawn in it."""

    page: str
    figures: Sequence[Figure]


def render(results: Results) -> str:
    """Return the report as HTML; the same results give the same page, byte for byte."""
    return compose(results).page


def compose(results: Results) -> Report:
    """Return the report as HTML, and its charts in their order; the same results give the same, byte for byte."""
    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined)
    environment.trim_blocks = environment.lstrip_blocks = True
    environment.filters.update(
        bytes=format_bytes,
        count=format_count,
        duration=format_seconds,
        energy=format_energy,
        json_data=embed_json,
        csp_hash=hash_source,
        number=format_number,
        mebibytes=format_mebibytes,
        share=format_share,
    )
    environment.tests["web_address"] = lambda text: text.startswith(("https://", "http://"))
    # A script or a style is let in by the hash of its text: whatever else claims to be one stays dead.
    style, *scripts = [(TEMPLATES / name).read_text(encoding="utf-8") for name in ("report.css", *SCRIPTS)]
    page = Page(results)
    contexts = {_name(section): section.describe(page) for section in SECTIONS}
    sections = [
        _render_section(environment, section, context)
        for section in SECTIONS
        if (context := contexts[_name(section)]) is not None
    ]
    text = environment.get_template("report.html.j2").render(
        results=results,
        problems=[*find_problems(results, page.comparisons), *find_unconverged(results.traces)],
        num_done=sum(run.status == "done" for run in results.runs),
        runs=tabulate_runs(results, page.comparisons),
        sections=sections,
        style=Markup(style),
        script=Markup("\n".join(scripts)),
        bundle=Markup(load_bundle()),
    )
    charts = [(name, *chart) for name, context in contexts.items() for chart in (context or {}).get("figures", ())]
    return Report(text, [Figure(*chart) for chart in charts])


@cache
def load_bundle() -> str:
    """Return Vega, Vega-Lite and Vega-Embed as one script; takes seconds, so once per process."""
    bundle = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=vegalite_version())
    if "</script" in bundle.lower() or "<!--" in bundle:
        raise ValueError("the Vega bundle holds a tag that would end its script element")
    return bundle


def embed_json(value: Any) -> Markup:
    """Write JSON that can't leave its script element, whatever its strings say."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def hash_source(text: str) -> str:
    """Return the hash by which a content security policy names a script or a style."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


def _name(section: Section) -> str:
    return section.__name__.rpartition(".")[2]


def _render_section(environment: Environment, section: Section, context: Context) -> Context:
    name = _name(section)
    text = environment.get_template(f"sections/{name}.html.j2").render(context)
    return {"name": name, "title": section.TITLE, "text": Markup(text)}
