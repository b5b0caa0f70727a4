"""Every run alone: what the page shows of one when its link is followed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from headrace.figures.cards import write_commands
from headrace.figures.comparisons import Candidate, Comparison, find_metric, format_value
from headrace.figures.energy import find_trained, measure_joules
from headrace.figures.numbers import format_count, format_energy, format_number, format_seconds
from headrace.findings.results import DatasetResult, Results, RunResult
from headrace.tries.usage import Energy

Row = dict[str, Any]


def tabulate_runs(results: Results, comparisons: Sequence[Comparison]) -> Row:
    """Return all runs as texts that only need to be laid out, the runs of a candidate side by side.

    Parameters are listed once for all runs that share them: of a large sweep they would be most of the page.
    """
    datasets = {dataset.name: dataset for dataset in results.datasets}
    trained = find_trained(results.usage)
    candidates: list[Row] = []
    parameters: dict[tuple[tuple[str, str], ...], int] = {}
    runs: list[Row] = []
    for comparison in comparisons:
        members = [run for candidate in comparison.candidates for run in candidate.runs]
        columns = list(dict.fromkeys((value.metric, value.split) for run in members for value in run.metrics))
        for candidate in comparison.candidates:
            for run in candidate.runs:
                pairs = tuple((name, format_value(value)) for name, value in {**run.parameters, **run.point}.items())
                place = {"candidate": len(candidates), "parameters": parameters.setdefault(pairs, len(parameters))}
                runs.append({**place, **_describe(run, columns, trained), **_tell_use(run, datasets.get(run.dataset))})
            candidates.append(_describe_candidate(comparison, candidate, columns))
    return {"parameters": list(parameters), "candidates": candidates, "runs": runs}


def _describe_candidate(comparison: Comparison, candidate: Candidate, columns: Sequence[tuple[str, str]]) -> Row:
    first = candidate.runs[0]
    return {
        "name": candidate.name,
        "swept": list(first.point),
        "columns": columns,
        "facts": [
            ["dataset", comparison.dataset],
            ["task", comparison.task],
            ["model", candidate.name],
            ["kind", candidate.family],
            ["features", first.features],
        ],
    }


def _describe(run: RunResult, columns: Sequence[tuple[str, str]], trained: Energy | None) -> Row:
    joules = measure_joules(run, trained)
    sign = "" if trained is None or trained.is_measured else "≈ "
    facts = {
        "seed": str(run.seed),
        "status": run.status,
        "time": "" if run.seconds is None else format_seconds(run.seconds),
        "CPU time": "" if run.cpu_s is None else format_seconds(run.cpu_s),
        "energy of training": "" if joules is None else f"{sign}{format_energy(joules)}",
        "device": run.device,
        "best epoch": "" if run.best_epoch is None else str(run.best_epoch),
        "trainable parameters": "" if run.num_parameters is None else format_count(run.num_parameters),
        "artifact": run.artifact,
    }
    values = [_describe_value(run, *column) for column in columns]
    named = {"id": run.id, "seed": run.seed, "status": run.status, "reason": run.reason}
    return {**named, "facts": [[name, text] for name, text in facts.items() if text], "values": values}


def _describe_value(run: RunResult, metric: str, split: str) -> list[str] | None:
    """Return the value exactly, for a reader, and its bootstrap interval; None where there is none."""
    value = find_metric(run, metric, split)
    if value is None:
        return None
    interval = "" if math.isnan(value.low) else f"[{format_number(value.low)}, {format_number(value.high)}]"
    return [repr(float(value.value)), format_number(value.value), interval]


def _tell_use(run: RunResult, dataset: DatasetResult | None) -> Mapping[str, list[str]]:
    return {"commands": list(write_commands(run.task, run, dataset)) if run.status == "done" else []}
