"""What the stages took: time, memory, processors and energy."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from headrace.figures.comparisons import Candidate, Comparison
from headrace.figures.energy import find_trained, measure_joules
from headrace.sections.base import Context, Page
from headrace.tries.usage import WATTS_PER_CORE, Energy

TITLE = "Resources and energy"


def describe(page: Page) -> Context | None:
    """Return what stages and jobs took, and the energy of the models; None where nothing was done yet."""
    steps, usage = page.results.steps, page.results.usage
    if not steps and not usage:
        return None
    trained = find_trained(usage)
    comparisons = [found for each in page.comparisons if (found := _describe_energy(each, trained))]
    return {
        "stages": _add_up_stages(steps),
        "usage": usage,
        "said_of_energy": _say_how([stage.energy for stage in usage]),
        "comparisons": comparisons,
    }


def _say_how(energies: Sequence[Energy]) -> str:
    """Say where the numbers of energy are from."""
    if not energies:
        return "nothing is known of the jobs."
    how = {energy.is_measured for energy in energies}
    measured = "measured by the counters of the processors (RAPL), whoever else worked there"
    estimated = f"estimated (≈) from the CPU time at {WATTS_PER_CORE:g} W for a busy core"
    said = measured if how == {True} else estimated if how == {False} else f"{measured}, or else {estimated}"
    return f"{said}{'; of GPUs by their mean power' if any(energy.gpu_j for energy in energies) else ''}."


def _describe_energy(comparison: Comparison, trained: Energy | None) -> Context | None:
    rows = []
    for candidate in comparison.best.values():
        row = _energy_of(candidate, trained) if trained else None
        if row is not None:
            accuracy = candidate.summary("accuracy", comparison.split).mean
            rows.append({**row, "for_a_point": row["joules"] / (100 * accuracy) if accuracy > 0 else None})
    has_points = any(row["for_a_point"] is not None for row in rows)
    about = {"dataset": comparison.dataset, "task": comparison.task, "has_points": has_points}
    return {**about, "rows": rows} if rows else None


def _energy_of(candidate: Candidate, trained: Energy) -> dict[str, Any] | None:
    """Return the means over the runs of a candidate; None where a run's CPU time isn't known."""
    found = [(run.cpu_s, measure_joules(run, trained)) for run in candidate.counted]
    known = [(cpu_s, joules) for cpu_s, joules in found if cpu_s is not None and joules is not None]
    if not known or len(known) < len(found):
        return None
    cpu_s, joules = (math.fsum(values) / len(known) for values in zip(*known, strict=True))
    return {"name": candidate.name, "num_runs": len(known), "cpu_s": cpu_s, "joules": joules}


def _add_up_stages(steps: Sequence[Mapping[str, Any]]) -> list[Context]:
    """Return how many artifacts each stage made, how many failed, and their seconds in all."""
    totals: dict[str, Context] = {}
    for step in steps:
        total = totals.setdefault(str(step["stage"]), {"name": step["stage"], "done": 0, "failed": 0, "seconds": 0.0})
        total["failed" if step["status"] != "done" else "done"] += 1
        total["seconds"] += step["seconds"] or 0.0
    return list(totals.values())
