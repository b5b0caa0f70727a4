"""Pages over several experiments: the index of all results, and two of them held against each other."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from headrace.collection import text
from headrace.collection.differences import Differences
from headrace.collection.finished import Finished, Line, main_metric
from headrace.collection.joined import ALL
from headrace.figures.comparisons import LOWER_IS_BETTER
from headrace.figures.numbers import format_mean, format_number
from headrace.figures.references import NAMES
from headrace.judging.statistics import summarise
from headrace.reporting.report import TEMPLATES, hash_source


def render_index(root: Path, found: Sequence[Finished]) -> str:
    """Every experiment with its best line for each dataset and task, and the best of all; links begin at root."""
    rows = [_describe(root, finished) for finished in found]
    return _render("index.html.j2", "index.js", experiments=rows, best=_find_best(rows), table=ALL)


def render_comparison(first: Finished, second: Finished, found: Differences) -> str:
    """What `headrace compare` prints, as a page."""
    return _render(
        "compare.html.j2",
        None,
        sides=[("A", first), ("B", second)],
        sections=[(name, changes, text.same(name, found)) for name, changes in text.sections(found)],
        headings=text.HEADINGS,
        explanation=text.EXPLANATION,
        outcomes=[text.cells(outcome) for outcome in found.outcomes],
        only=[
            (name, [text.title(line) for line in lines])
            for name, lines in (("A", found.only_first), ("B", found.only_second))
        ],
    )


def _render(template: str, script: str | None, **context: Any) -> str:
    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined)
    environment.trim_blocks = environment.lstrip_blocks = True
    environment.filters["csp_hash"] = hash_source
    parts = {"style": "report.css", **({"script": script} if script else {})}
    texts = {name: Markup((TEMPLATES / file).read_text(encoding="utf-8")) for name, file in parts.items()}
    return environment.get_template(template).render(**texts, **context)


def _describe(root: Path, finished: Finished) -> dict[str, Any]:
    """A row of the index: the experiment, and its best line for every task of every dataset."""
    groups: dict[tuple[str, str], list[Line]] = {}
    for line in finished.values:
        groups.setdefault((line.dataset, line.task), []).append(line)
    best = [_best_line(finished, lines) for lines in groups.values()]
    for entry in filter(None, best):
        entry["reference"] = _hold_against_references(finished, entry)
    data = {entry["label"][1]: entry["digest"] for entry in finished.artifacts if entry["label"][0] == "shard"}
    states = [entry["status"] for entry in finished.artifacts if entry["label"][0] == "evaluate"]
    return {
        "name": finished.name,
        "description": finished.description,
        "link": f"{os.path.relpath(finished.folder, root)}/report.html",
        "num_runs": finished.num_runs,
        "num_unfinished": len(states) - states.count("done"),
        "best": [entry | {"data": data.get(entry["dataset"], "")} for entry in best if entry],
    }


def _best_line(finished: Finished, lines: Sequence[Line]) -> dict[str, Any] | None:
    """The line whose mean on validation is best, with its mean on test: what chooses is not what is told."""
    metric = main_metric(lines[0].task)
    sign = 1 if metric in LOWER_IS_BETTER else -1
    judged = []
    for line in lines:
        chosen, told = (summarise(list(finished.of(line, split).values())) for split in ("validation", "test"))
        judged.append((sign * (told.mean if math.isnan(chosen.mean) else chosen.mean), line, told))
    judged = [entry for entry in judged if not math.isnan(entry[0]) and not math.isnan(entry[2].mean)]
    if not judged:
        return None
    _, line, told = min(judged, key=lambda entry: entry[0])
    mean, deviation = format_mean(told.mean, told.standard_deviation)
    return {
        "dataset": line.dataset,
        "task": line.task,
        "metric": metric,
        "model": line.name,
        "value": told.mean,
        "shown": f"{mean} ± {deviation}" if deviation else format_number(told.mean),
        "num_seeds": told.count,
    }


def _hold_against_references(finished: Finished, entry: dict[str, Any]) -> dict[str, Any] | None:
    """The best predictor without training beside a best line, and whether that is better; None where there is none."""
    sign = 1 if entry["metric"] in LOWER_IS_BETTER else -1
    known = finished.references.get((entry["dataset"], entry["task"]), {})
    finite = {name: value for name, value in known.items() if math.isfinite(value)}
    if not finite:
        return None
    name, value = min(finite.items(), key=lambda pair: sign * pair[1])
    is_beaten = sign * entry["value"] < sign * value
    return {"shown": f"{NAMES.get(name, name)} {format_number(value)}", "is_beaten": is_beaten}


def _find_best(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """For every content of a dataset and task the best over all experiments: one name may stand for different data."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        for entry in row["best"]:
            key = (entry["data"] or f"{row['name']}/{entry['dataset']}", entry["task"])
            sign = 1 if entry["metric"] in LOWER_IS_BETTER else -1
            if key not in found or sign * entry["value"] < sign * found[key]["value"]:
                found[key] = {**entry, "experiment": row["name"], "link": row["link"]}
    return sorted(found.values(), key=lambda entry: (entry["dataset"], entry["task"]))
