"""How much faster the stages on Dask get with more workers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

from headrace.figures.numbers import format_number
from headrace.figures.scaling import draw_speed_up
from headrace.findings.results import Results
from headrace.scaling.laws import Law, fit_law
from headrace.sections.base import Context, Page

TITLE = "Parallel efficiency"


def describe(page: Page) -> Context | None:
    """Return a table and a chart a stage; None where nothing was measured."""
    found = page.results.scaling
    if not found:
        return None
    seconds = {
        stage: {int(count): times for count, times in values.items()} for stage, values in found["seconds"].items()
    }
    stages = [_describe_stage(stage, times, fit_law(times)) for stage, times in seconds.items()]
    return {
        "figures": [((stage,), each["spec"]) for stage, each in zip(seconds, stages, strict=True)],
        "rounds": found["rounds"],
        "cluster": found["cluster"],
        "num_cpus": found["num_cpus"],
        "is_as_today": set(found["made"]) == _find_made(page.results, seconds),
        "stages": stages,
    }


def _find_made(results: Results, stages: Iterable[str]) -> set[str]:
    """Return the identities of what the stages make as the experiment is now."""
    return {step["identity"] for step in results.steps if step["stage"] in stages}


def _describe_stage(stage: str, seconds: Mapping[int, Sequence[float]], law: Law) -> Context:
    medians = {count: median(times) for count, times in seconds.items()}
    alone = medians.get(1, law.seconds(1))
    rows: list[dict[str, Any]] = [
        {"workers": count, "seconds": value, "speed_up": alone / value, "efficiency": alone / value / count}
        for count, value in medians.items()
    ]
    return {
        "name": stage,
        "rows": rows,
        "serial_share": law.serial_share,
        "limit": "without limit" if math.isinf(law.limit) else f"at most {format_number(law.limit, 3)}",
        "last_worthwhile": law.last_worthwhile,
        "is_endless": math.isinf(law.last_worthwhile),
        "spec": draw_speed_up(stage, seconds, law),
    }
