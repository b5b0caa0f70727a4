"""Pages over several experiments: the index of all results, and two of them held against each other."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from headrace.collection import text
from headrace.collection.differences import Differences
from headrace.collection.finished import Finished, Line, main_metric
from headrace.collection.joined import ALL
from headrace.figures.comparisons import LOWER_IS_BETTER, format_point
from headrace.figures.numbers import format_mean, format_number
from headrace.figures.references import NAMES
from headrace.judging.statistics import summarise
from headrace.reporting.report import TEMPLATES, hash_source


def render_index(root: Path, found: Sequence[Finished], problems: Sequence[str] = ()) -> str:
    """Every experiment with its best line for each dataset and task, and the best of all; links begin at root.

    `problems` are lines on what could not be read.
    """
    rows = [_describe(root, finished) for finished in found]
    best = _find_best(rows)
    _tell_apart(rows, best)
    left_out = [problem.removeprefix(f"{root}{os.sep}") for problem in problems]
    return _render("index.html.j2", "index.js", experiments=rows, best=best, table=ALL, problems=left_out)


def _tell_apart(rows: Sequence[dict[str, Any]], best: Sequence[dict[str, Any]]) -> None:
    """Add what experiments of one name, and datasets of one name, differ in."""
    names = Counter(row["name"] for row in rows)
    for row in rows:
        row["folder"] = row["folder"] if names[row["name"]] > 1 else ""
    experiments = {row["link"]: row["folder"] for row in rows}
    datasets = Counter((entry["dataset"], entry["task"]) for entry in best)
    splits = {
        name: {entry["split"] for entry in best if (entry["dataset"], entry["task"]) == name} for name in datasets
    }
    for entry in best:
        name = entry["dataset"], entry["task"]
        told = [entry["split"]] if len(splits[name]) > 1 else []
        told += [f"data {entry['data'][:12]}"] if entry["data"] else []
        entry["apart"] = ", ".join(told) if datasets[name] > 1 else ""
        entry["folder"] = experiments[entry["link"]]


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
    data = {entry["label"][1]: entry["digest"] for entry in finished.artifacts if entry["label"][0] == "shard"}
    states = [entry["status"] for entry in finished.artifacts if entry["label"][0] == "evaluate"]
    return {
        "name": finished.name,
        "folder": finished.folder.name,
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
        "split": format_point(finished.settings.get("datasets", {}).get(line.dataset, {}).get("split", {})),
        **_hold_against_references(finished, line, told.mean, sign),
    }


def _hold_against_references(finished: Finished, line: Line, mean: float, sign: int) -> dict[str, str]:
    """The best of what needs no training, and that again where the mean of a line is no better; "" without one."""
    references = finished.references.get((line.dataset, line.task), {})
    if not references:
        return {"reference": "", "unbeaten": ""}
    name, value = min(references.items(), key=lambda pair: sign * pair[1])
    shown = f"{NAMES.get(name, name)}", format_number(value)
    return {"reference": " ".join(shown), "unbeaten": "" if sign * mean < sign * value else " reaches ".join(shown)}


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
