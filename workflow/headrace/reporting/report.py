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
from headrace.figures.environments import find_mixed_software
from headrace.figures.files import Figure, Picture
from headrace.figures.images import image_uri
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
from headrace.findings.results import Results
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
    comparisons,
    statistics,
    curves,
    confusions,
    classes,
    calibration,
    ranking,
    groups,
    robustness,
    attributions,
    reconstructions,
    latents,
    data,
    convergence,
    scaling,
    resources,
    failures,
    methods,
    cards,
    reproduce,
)
"""In the order of the contents."""

SCRIPTS = ("report.js", "report.tables.js", "report.runs.js")
"""They become one."""


@dataclass(frozen=True)
class Report:
    """A page, and the charts and pictures in it."""

    page: str
    figures: Sequence[Figure | Picture]


def render(results: Results) -> str:
    """Return the report as HTML; the same results give the same page, byte for byte."""
    return compose(Page(results)).page


def compose(page: Page) -> Report:
    """Return the report as HTML, and its figures in their order; the same results give the same, byte for byte."""
    results = page.results
    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined)
    environment.trim_blocks = environment.lstrip_blocks = True
    environment.filters.update(
        bytes=format_bytes,
        count=format_count,
        duration=format_seconds,
        energy=format_energy,
        image_uri=image_uri,
        json_data=embed_json,
        csp_hash=hash_source,
        number=format_number,
        mebibytes=format_mebibytes,
        share=format_share,
    )
    environment.tests["web_address"] = lambda text: text.startswith(("https://", "http://"))
    # A script or a style is let in by the hash of its text: whatever else claims to be one stays dead.
    style, *scripts = [(TEMPLATES / name).read_text(encoding="utf-8") for name in ("report.css", *SCRIPTS)]
    contexts = {_name(section): section.describe(page) for section in SECTIONS}
    sections = [
        _render_section(environment, section, context)
        for section in SECTIONS
        if (context := contexts[_name(section)]) is not None
    ]
    text = environment.get_template("report.html.j2").render(
        results=results,
        problems=_find_all_problems(page),
        num_done=sum(run.status == "done" for run in results.runs),
        runs=tabulate_runs(results, page.comparisons),
        sections=sections,
        style=Markup(style),
        script=Markup("\n".join(scripts)),
        bundle=Markup(load_bundle()),
    )
    figures: list[Figure | Picture] = []
    for name, context in contexts.items():
        figures += [Figure(name, *chart) for chart in (context or {}).get("figures", ())]
        figures += [Picture(name, *picture) for picture in (context or {}).get("pictures", ())]
    return Report(text, figures)


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


def _find_all_problems(page: Page) -> list[str]:
    """Return what a reader must know before believing any number."""
    results = page.results
    found = (find_problems(results, page.comparisons), find_unconverged(results.traces), find_mixed_software(results))
    return [problem for problems in found for problem in problems]


def _name(section: Section) -> str:
    return section.__name__.rpartition(".")[2]


def _render_section(environment: Environment, section: Section, context: Context) -> Context:
    name = _name(section)
    text = environment.get_template(f"sections/{name}.html.j2").render(context)
    return {"name": name, "title": section.TITLE, "text": Markup(text)}
