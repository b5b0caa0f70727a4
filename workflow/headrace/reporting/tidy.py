"""The tidy tables: of results, one metric of one run on one split a line, as CSV and as Parquet with types; of the same
on inputs made worse; and of statistics over the seeds.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from headrace.figures.aggregates import aggregate
from headrace.figures.comparisons import Candidate, compare
from headrace.figures.spreads import describe_spread
from headrace.findings.results import Results, RunResult

FIXED = ("experiment", "dataset", "family", "model", "features", "task", "run", "seed")
"""Columns in front of the swept parameters."""
MEASURED = ("split", "metric", "value", "low", "high")
"""Columns behind them."""
WORSE = ("corruption", "strength")
"""Columns between the two in the table of robustness."""
NOT_SWEPT = ""
"""In the column of a swept parameter, for a run whose model has no such parameter."""


def write_csv(results: Results) -> str:
    """The table as text; numbers are written so that reading gives the same bits."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([*FIXED, *_swept(results), *MEASURED])
    for fixed, point, measured in _rows(results):
        writer.writerow([*fixed, *map(_cell, point), *measured[:2], *map(repr, measured[2:])])
    return buffer.getvalue()


def write_robustness(results: Results) -> str | None:
    """The table of every metric on inputs made worse, as text: for every kind of corruption its strengths, behind a
    strength of 0, which is the split as it is. None where nothing was judged so.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([*FIXED, *_swept(results), *WORSE, *MEASURED])
    head = buffer.tell()
    for run, fixed, point in _list_runs(results):
        for corruption in dict.fromkeys(value.corruption for value in run.corrupted):
            own = [value for value in run.corrupted if value.corruption == corruption]
            clean = [(0.0, m) for m in run.metrics if (m.metric, m.split) in {(v.metric, v.split) for v in own}]
            for strength, m in [*clean, *sorted(((v.strength, v) for v in own), key=lambda pair: pair[0])]:
                measured = [m.split, m.metric, *map(repr, (m.value, m.low, m.high))]
                writer.writerow([*fixed, *map(_cell, point), corruption, repr(strength), *measured])
    return buffer.getvalue() if buffer.tell() > head else None


def write_parquet(results: Results) -> bytes:
    """The table with types: text, int64 for seeds, float64 for what was measured, in which nan stays nan.

    A swept parameter is a number, or true or false, where it is that for every run that has it, and else text as in the
    CSV; it is null for runs that do not have it. The same results give the same bytes.
    """
    rows = list(_rows(results))
    swept = _swept(results)
    # By all runs, finished or not: the type of a column must not depend on what has failed.
    types = [_type_of([_parameter(run, name) for run in results.runs]) for name in swept]
    columns: dict[str, pa.Array] = {}
    for place, name in enumerate(FIXED):
        columns[name] = pa.array([fixed[place] for fixed, _, _ in rows], pa.int64() if name == "seed" else pa.string())
    for place, (name, kind) in enumerate(zip(swept, types, strict=True)):
        columns[name] = pa.array([_typed(point[place], kind) for _, point, _ in rows], kind)
    for place, name in enumerate(MEASURED):
        kind = pa.string() if name in ("split", "metric") else pa.float64()
        columns[name] = pa.array([measured[place] for _, _, measured in rows], kind)
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer)
    return buffer.getvalue()


def _swept(results: Results) -> list[str]:
    return sorted({name for run in results.runs for name in run.point})


def _parameter(run: Any, name: str) -> Any:
    return {**run.parameters, **run.point}.get(name, NOT_SWEPT)


def _rows(results: Results) -> Iterator[tuple[list[Any], list[Any], list[Any]]]:
    """What a line holds: the fixed columns, the swept parameters, and what was measured."""
    for run, fixed, point in _list_runs(results):
        for m in run.metrics:
            yield fixed, point, [m.split, m.metric, m.value, m.low, m.high]


def _list_runs(results: Results) -> Iterator[tuple[RunResult, list[Any], list[Any]]]:
    """Every run with the fixed columns and the swept parameters of its lines."""
    swept = _swept(results)
    for run in results.runs:
        fixed = [results.experiment, run.dataset, run.family, run.model, run.features, run.task, run.id, run.seed]
        yield run, fixed, [_parameter(run, name) for name in swept]


def _cell(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _type_of(values: Sequence[Any]) -> pa.DataType:
    """The narrowest type that holds every value of a parameter as it is."""
    known = [value for value in values if value != NOT_SWEPT]
    if known and all(isinstance(value, bool) for value in known):
        return pa.bool_()
    if not known or not all(isinstance(value, int | float) and not isinstance(value, bool) for value in known):
        return pa.string()
    if all(isinstance(value, int) and -(2**63) <= value < 2**63 for value in known):
        return pa.int64()
    is_exact = all(isinstance(value, float) or abs(value) <= 2**53 for value in known)
    return pa.float64() if is_exact else pa.string()


def _typed(value: Any, kind: pa.DataType) -> Any:
    if value == NOT_SWEPT and isinstance(value, str):
        return None
    if pa.types.is_floating(kind):
        return float(value)
    return _cell(value) if pa.types.is_string(kind) else value


def write_statistics(results: Results) -> str:
    """The tidy table of statistics over the seeds: one of one candidate a line, as far as there is one.

    The interval of `mean` is Student's, those of `mean_bootstrap`, `median` and `iqm` are bootstrap intervals. Lines
    without a dataset are of a model over all datasets of its task. A candidate of which nothing can be said has none.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    columns = ["dataset", "task", "model", "setting", "metric", "split"]
    writer.writerow([*columns, "statistic", "value", "low", "high", "seeds"])
    comparisons = compare(results)
    for comparison in comparisons:
        for one in comparison.candidates:
            for metric, split in dict.fromkeys((m.metric, m.split) for run in one.finished for m in run.metrics):
                fixed = [comparison.dataset, comparison.task, one.model, one.setting, metric, split]
                writer.writerows([*fixed, *line] for line in _summarise(one, metric, split))
    for found in aggregate(comparisons):
        for standing in found.standings:
            fixed = ["", found.task, standing.model, "", found.metric, found.split]
            for name, each in (
                ("mean_rank", standing.rank),
                ("score_iqm", standing.iqm),
                ("score_mean", standing.mean),
            ):
                num_runs = sum(map(len, standing.scores))
                writer.writerow([*fixed, name, repr(each.value), repr(each.low), repr(each.high), num_runs])
    return buffer.getvalue()


def _summarise(candidate: Candidate, metric: str, split: str) -> Iterator[list[Any]]:
    """Name, value, both ends of the interval, and number of seeds of every statistic that there is."""
    spread = describe_spread(candidate, metric, split)
    summary = spread.summary
    lines = {
        "mean": (summary.mean, summary.low, summary.high),
        "mean_bootstrap": (spread.mean.value, spread.mean.low, spread.mean.high),
        "median": (spread.median.value, spread.median.low, spread.median.high),
        "iqm": (spread.iqm.value, spread.iqm.low, spread.iqm.high),
        "standard_deviation": (summary.standard_deviation, math.nan, math.nan),
        "minimum": (spread.minimum, math.nan, math.nan),
        "maximum": (spread.maximum, math.nan, math.nan),
        "sample_half_width": (spread.sample_half_width, math.nan, math.nan),
    }
    for name, numbers in lines.items():
        if not math.isnan(numbers[0]):
            yield [name, *map(repr, numbers), spread.count]
