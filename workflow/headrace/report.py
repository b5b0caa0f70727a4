"""Results as one HTML page that needs nothing else: no network, no other file."""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import vl_convert
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from headrace.figures.answers import answer, find_broken_steps, find_problems
from headrace.figures.cards import make_cards
from headrace.figures.charts import (
    MAX_COUNTED_CLASSES,
    draw_confusion,
    draw_curves,
    draw_seeds,
    select_shown,
    sum_confusions,
)
from headrace.figures.comparisons import (
    HIGHER_IS_BETTER,
    LOWER_IS_BETTER,
    Candidate,
    Comparison,
    compare,
    find_metric,
)
from headrace.figures.convergence import MAX_POINTS, draw_convergence, find_unconverged, select_drawn
from headrace.figures.images import image_uri, join_images
from headrace.figures.numbers import (
    format_bytes,
    format_count,
    format_mean,
    format_mebibytes,
    format_number,
    format_seconds,
    format_share,
)
from headrace.figures.pairs import pair_with
from headrace.figures.theme import assign_colours, vegalite_version
from headrace.results import DatasetResult, Results, RunResult, Traversals

TEMPLATES = Path(__file__).parents[1] / "report"

MAX_IMAGES = 12
"""Reconstructions side by side."""

Context = dict[str, Any]


def render(results: Results) -> str:
    """Return the report as HTML; the same results give the same page, byte for byte."""
    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined)
    environment.trim_blocks = environment.lstrip_blocks = True
    environment.filters.update(
        bytes=format_bytes,
        count=format_count,
        duration=format_seconds,
        json_data=embed_json,
        csp_hash=hash_source,
        number=format_number,
        mebibytes=format_mebibytes,
        share=format_share,
    )
    environment.tests["web_address"] = lambda text: text.startswith(("https://", "http://"))
    # A script or a style is let in by the hash of its text: whatever else claims to be one stays dead.
    parts = {name: Markup((TEMPLATES / name).read_text(encoding="utf-8")) for name in ("report.css", "report.js")}
    page = environment.get_template("report.html.j2")
    return page.render(
        results=results,
        style=parts["report.css"],
        script=parts["report.js"],
        bundle=Markup(load_bundle()),
        **_describe(results),
    )


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


def _describe(results: Results) -> Context:
    comparisons = compare(results)
    names = [candidate.name for comparison in comparisons for candidate in comparison.candidates]
    colours = assign_colours(names)
    datasets = {dataset.name: dataset for dataset in results.datasets}
    return {
        "problems": [*find_problems(results, comparisons), *find_unconverged(results.traces)],
        "comparisons": [_describe_comparison(c, results, datasets.get(c.dataset), colours) for c in comparisons],
        "fits": [{"fit": fit, "spec": draw_convergence(fit)} for fit in select_drawn(results.traces)],
        "max_points": MAX_POINTS,
        "unfinished": [run for run in results.runs if run.status != "done"],
        "broken_steps": find_broken_steps(results),
        "stages": _add_up_stages(results.steps),
        "num_done": sum(run.status == "done" for run in results.runs),
    }


def _describe_comparison(
    comparison: Comparison, results: Results, dataset: DatasetResult | None, colours: Mapping[str, str]
) -> Context:
    class_names = dataset.class_names if dataset else ()
    return {
        "dataset": comparison.dataset,
        "task": comparison.task,
        "metric": comparison.metric,
        "split": comparison.split,
        "selection_split": comparison.selection_split,
        "answer": answer(comparison),
        "table": _make_table(comparison, results.baseline),
        "pairs": pair_with(comparison, results.baseline),
        "runs": _make_run_table(comparison),
        "seeds": draw_seeds(comparison, colours),
        "num_candidates": len(comparison.candidates),
        "num_shown": len(select_shown(comparison)),
        "curves": draw_curves(comparison, colours),
        "confusions": _draw_confusions(comparison, class_names),
        "reconstructions": _draw_reconstructions(comparison),
        "cards": make_cards(comparison, results),
    }


def _make_table(comparison: Comparison, baseline: str | None) -> Context:
    """Return one row per candidate, one column per metric."""
    split, reference = comparison.split, comparison.best.get(baseline or "")
    columns = [{"name": metric, **_describe_direction(metric)} for metric in comparison.metrics]
    best = {metric: _find_best(comparison, metric) for metric in comparison.metrics}
    rows = []
    for candidate in comparison.candidates:
        mean = candidate.summary(comparison.metric, split).mean
        difference = mean - reference.summary(comparison.metric, split).mean if reference else math.nan
        cells = [_make_cell(candidate, metric, split, best[metric]) for metric in comparison.metrics]
        is_chosen = comparison.is_swept(candidate.model) and comparison.best.get(candidate.model) is candidate
        numbers = {"difference": _format_difference(difference), "parameters": _format_parameters(candidate)}
        seconds = [run.seconds for run in candidate.finished if run.seconds is not None]
        row = {"candidate": candidate, "cells": cells, "is_chosen": is_chosen, "is_reference": candidate is reference}
        rows.append({**row, **numbers, "seconds": sum(seconds) / len(seconds) if seconds else None})
    return {"columns": columns, "rows": rows, "reference": reference if len(comparison.models) > 1 else None}


def _describe_direction(metric: str) -> Context:
    if metric in LOWER_IS_BETTER:
        return {"arrow": "↓", "direction": "lower is better"}
    return (
        {"arrow": "↑", "direction": "higher is better"}
        if metric in HIGHER_IS_BETTER
        else {"arrow": "", "direction": ""}
    )


def _find_best(comparison: Comparison, metric: str) -> float:
    """Return the best mean of a metric, nan where nobody knows which way it goes or nothing is compared."""
    means = [candidate.summary(metric, comparison.split).mean for candidate in comparison.candidates]
    finite = [mean for mean in means if math.isfinite(mean)]
    if len(finite) < 2 or metric not in LOWER_IS_BETTER | HIGHER_IS_BETTER:
        return math.nan
    return min(finite) if metric in LOWER_IS_BETTER else max(finite)


def _make_cell(candidate: Candidate, metric: str, split: str, best: float) -> Context:
    summary = candidate.summary(metric, split)
    mean, deviation = format_mean(summary.mean, summary.standard_deviation)
    seeds = [{"seed": run.seed, "metric": value} for run, value in candidate.values(metric, split)]
    return {"mean": mean, "deviation": deviation, "seeds": seeds, "is_best": summary.mean == best}


def _format_difference(difference: float) -> str:
    if not math.isfinite(difference):
        return "–"
    return ("+" if difference > 0 else "") + format_number(difference, 3)


def _format_parameters(candidate: Candidate) -> str:
    counts = sorted({run.num_parameters for run in candidate.runs if run.num_parameters is not None})
    return " to ".join(map(format_count, dict.fromkeys([counts[0], counts[-1]]))) if counts else "–"


def _make_run_table(comparison: Comparison) -> Context:
    """Return one row per run, one column per metric and split."""
    members = [(candidate, run) for candidate in comparison.candidates for run in candidate.runs]
    columns = dict.fromkeys((value.metric, value.split) for _, run in members for value in run.metrics)
    rows = [
        {"candidate": candidate, "run": run, "values": [find_metric(run, *column) for column in columns]}
        for candidate, run in members
    ]
    return {"columns": list(columns), "rows": rows}


def _draw_confusions(comparison: Comparison, class_names: Sequence[str]) -> list[Context]:
    panels = []
    for candidate in comparison.best.values():
        counts = sum_confusions(candidate)
        if counts is not None and counts.size:
            spec = draw_confusion(counts, class_names, candidate.name, comparison.dataset)
            num_seeds = sum(run.confusion is not None for run in candidate.finished)
            has_counts = len(counts) <= MAX_COUNTED_CLASSES
            panels.append({"name": candidate.name, "spec": spec, "num_seeds": num_seeds, "has_counts": has_counts})
    return panels


def _draw_reconstructions(comparison: Comparison) -> list[Context]:
    panels = []
    for candidate in comparison.best.values():
        run = next((run for run in candidate.finished if run.reconstructions and len(run.reconstructions[0])), None)
        if run is not None:
            pictures = {**_join_reconstructions(run), "traversals": _join_traversals(run.traversals)}
            panels.append({"name": candidate.name, "run": run, **pictures})
    return panels


def _join_reconstructions(run: RunResult) -> Context:
    assert run.reconstructions is not None
    # Spread over the split, which may be in the order of its classes.
    chosen = np.unique(np.linspace(0, len(run.reconstructions[0]) - 1, MAX_IMAGES).round().astype(int))
    inputs, outputs = (np.asarray(images)[chosen] for images in run.reconstructions)
    return {
        "num_images": len(inputs),
        "num_broken": int(np.count_nonzero(~np.isfinite(inputs)) + np.count_nonzero(~np.isfinite(outputs))),
        "inputs": image_uri(join_images(inputs)),
        "outputs": image_uri(join_images(outputs)),
    }


def _join_traversals(found: Traversals | None) -> list[Context]:
    """Return one strip of images per dimension, from the lowest step to the highest."""
    if found is None:
        return []
    ends = [f"{step:g}" for step in (found.steps[0], found.steps[-1])]
    rows = zip(found.dimensions, found.divergences, found.pictures, strict=True)
    return [
        {
            "dimension": int(dimension),
            "divergence": format_number(float(divergence), 3),
            "ends": ends,
            "strip": image_uri(join_images(pictures)),
        }
        for dimension, divergence, pictures in rows
    ]


def _add_up_stages(steps: Sequence[Mapping[str, Any]]) -> list[Context]:
    """Return how many artifacts each stage made, how many failed, and their seconds in all."""
    totals: dict[str, Context] = {}
    for step in steps:
        total = totals.setdefault(str(step["stage"]), {"name": step["stage"], "done": 0, "failed": 0, "seconds": 0.0})
        total["failed" if step["status"] != "done" else "done"] += 1
        total["seconds"] += step["seconds"] or 0.0
    return list(totals.values())
