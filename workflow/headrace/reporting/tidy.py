"""The tidy tables: of results, of groups, of classes, of inputs made worse, and of statistics over the seeds."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from headrace.figures.classes import SCORES, score_classes
from headrace.figures.confusions import name_classes
from headrace.figures.spreads import Measured, Spread
from headrace.findings.results import MetricValue, ReferenceResult, Results, RunResult
from headrace.judging.group_metrics import GroupScores
from headrace.reporting.tables import NOT_SWEPT, Line, Table
from headrace.sections.base import Page

RUN, REFERENCE = "run", "reference"
"""What a line of the table of results is of: `kind`."""

OF_A_RUN: Mapping[str, pa.DataType] = MappingProxyType(
    {
        **dict.fromkeys(("experiment", "dataset", "family", "model", "features", "task", "run"), pa.string()),
        "seed": pa.int64(),
    }
)
FIXED: Mapping[str, pa.DataType] = MappingProxyType({**OF_A_RUN, "kind": pa.string()})
"""Columns in front of the swept parameters. A reference is its own family and model, and has neither run nor seed:
whoever groups by those never meets one, and whoever groups by family finds each under its own name."""
MEASURED: Mapping[str, pa.DataType] = MappingProxyType(
    {**dict.fromkeys(("split", "metric"), pa.string()), **dict.fromkeys(("value", "low", "high"), pa.float64())}
)
"""Columns behind them."""
OF_A_GROUP: Mapping[str, pa.DataType] = MappingProxyType(
    {
        **dict.fromkeys(("grouped_by", "group", "split", "metric"), pa.string()),
        "value": pa.float64(),
        "num_samples": pa.int64(),
    }
)
"""Columns of the table of groups behind them; `group` is empty in the line of a gap, which is between all of them."""
OF_A_CLASS: Mapping[str, pa.DataType] = MappingProxyType(
    {**dict.fromkeys(("class", "split", "metric"), pa.string()), "value": pa.float64(), "num_samples": pa.int64()}
)
OF_WORSE: Mapping[str, pa.DataType] = MappingProxyType(
    {"corruption": pa.string(), "strength": pa.float64(), **MEASURED}
)
"""Columns of the table of robustness behind them: what was done to the inputs and how much; 0 is the split as it is."""
JUDGED = "test"
"""The split on which groups and classes are looked at."""
WHERE_THERE_ARE_ANY = ("groups", "classes", "robustness")
"""Tables that a result without them has not."""


def tabulate(results: Results) -> dict[str, Table]:
    """Return the tables by name; that of results, and the others where there is anything in them."""
    found = {
        "results": tabulate_metrics(results),
        "groups": tabulate_groups(results),
        "classes": tabulate_classes(results),
        "robustness": tabulate_robustness(results),
    }
    return {name: table for name, table in found.items() if table.lines or name not in WHERE_THERE_ARE_ANY}


def tabulate_metrics(results: Results) -> Table:
    """Return the table of results: all runs, and behind them what needs no training."""
    swept = _find_swept(results)
    nowhere = [NOT_SWEPT] * len(swept)
    lines: list[Line] = []
    for run in results.runs:
        fixed, point = [*_describe_run(results, run), RUN], [_parameter(run, name) for name in swept]
        lines += [(fixed, point, _list_numbers(value)) for value in run.metrics]
    for reference in results.references:
        fixed = _describe_reference(results, reference)
        lines += [(fixed, nowhere, _list_numbers(value)) for value in reference.metrics]
    return Table(FIXED, swept, MEASURED, lines)


def tabulate_groups(results: Results) -> Table:
    """Return every score of every group in every run, and behind them the gaps between the groups."""
    swept = _find_swept(results)
    lines: list[Line] = []
    for run in results.runs:
        if run.groups is not None:
            fixed, point = _describe_run(results, run), [_parameter(run, name) for name in swept]
            lines += [(fixed, point, measured) for measured in _list_groups(run.groups)]
    return Table(OF_A_RUN, swept, OF_A_GROUP, lines)


def _list_groups(found: GroupScores) -> Iterator[list[Any]]:
    for place, name in enumerate(found.names):
        for score, values in found.scores.items():
            told = [JUDGED, _write_metric(score), float(values[place]), int(found.counts[place])]
            yield [found.column, name, *told]
    for name, gap in found.gaps.items():
        yield [found.column, None, JUDGED, _write_metric(name), float(gap), int(found.counts.sum())]


def tabulate_classes(results: Results) -> Table:
    """Return precision, recall and F1 of every class in every run."""
    swept, known = _find_swept(results), {dataset.name: dataset.class_names for dataset in results.datasets}
    lines: list[Line] = []
    for run in results.runs:
        if run.confusion is not None and run.confusion.size:
            fixed, point = _describe_run(results, run), [_parameter(run, name) for name in swept]
            counts = np.asarray(run.confusion)
            names = name_classes(known.get(run.dataset, ()), len(counts))
            lines += [(fixed, point, measured) for measured in _list_classes(counts, names)]
    return Table(OF_A_RUN, swept, OF_A_CLASS, lines)


def _list_classes(counts: NDArray[Any], names: Sequence[str]) -> Iterator[list[Any]]:
    scores = score_classes(counts)
    for place, name in enumerate(names):
        for score, values in zip(SCORES, scores, strict=True):
            yield [name, JUDGED, _write_metric(score), float(values[place]), int(counts[place].sum())]


def tabulate_robustness(results: Results) -> Table:
    """Return every metric on inputs made worse: for every kind of corruption its strengths, the least first."""
    swept = _find_swept(results)
    lines: list[Line] = []
    for run in results.runs:
        fixed, point = _describe_run(results, run), [_parameter(run, name) for name in swept]
        lines += [(fixed, point, measured) for measured in _list_worse(run)]
    return Table(OF_A_RUN, swept, OF_WORSE, lines)


def _list_worse(run: RunResult) -> Iterator[list[Any]]:
    for kind in dict.fromkeys(value.corruption for value in run.corrupted):
        own = sorted((value for value in run.corrupted if value.corruption == kind), key=lambda value: value.strength)
        judged = {(value.metric, value.split) for value in own}
        for value in run.metrics:
            if (value.metric, value.split) in judged:
                yield [kind, 0.0, *_list_numbers(value)]
        for worse in own:
            yield [kind, float(worse.strength), *_list_numbers(worse)]


def _write_metric(name: str) -> str:
    """Return a metric as the other tables name theirs: `selection_rate`."""
    return name.lower().replace(" ", "_")


def _find_swept(results: Results) -> dict[str, list[Any]]:
    """Return the values of every swept parameter in all runs, also in those of models that do not sweep it."""
    names = sorted({name for run in results.runs for name in run.point})
    return {name: [_parameter(run, name) for run in results.runs] for name in names}


def _parameter(run: RunResult, name: str) -> Any:
    return {**run.parameters, **run.point}.get(name, NOT_SWEPT)


def _describe_run(results: Results, run: RunResult) -> list[Any]:
    named = [results.experiment, run.dataset, run.family, run.model, run.features, run.task]
    return [*named, run.id, run.seed]


def _describe_reference(results: Results, reference: ReferenceResult) -> list[Any]:
    named = [results.experiment, reference.dataset, reference.name, reference.name, reference.features, reference.task]
    return [*named, None, None, REFERENCE]


def _list_numbers(value: MetricValue) -> list[Any]:
    return [value.split, value.metric, *map(float, (value.value, value.low, value.high))]


def write_statistics(page: Page) -> str:
    """Return the tidy table of statistics over the seeds: one of one candidate a line, as far as there is one.

    The interval of `mean` is Student's, those of `mean_bootstrap`, `median` and `iqm` are bootstrap intervals. Lines
    without a dataset are of a model over all datasets of its task. A candidate of which nothing can be said has none.
    What needs no training has a statistic of its own, `reference`, over no seeds.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    columns = ["dataset", "task", "model", "setting", "metric", "split"]
    writer.writerow([*columns, "statistic", "value", "low", "high", "seeds"])
    for comparison in page.comparisons:
        wanted: list[Measured] = [
            (one, metric, split)
            for one in comparison.candidates
            for metric, split in dict.fromkeys((m.metric, m.split) for run in one.finished for m in run.metrics)
        ]
        for (one, metric, split), spread in zip(wanted, page.describe_spreads(wanted), strict=True):
            fixed = [comparison.dataset, comparison.task, one.model, one.setting, metric, split]
            writer.writerows([*fixed, *line] for line in _summarise(spread))
        for reference in comparison.references:
            for value in (value for value in reference.metrics if not math.isnan(value.value)):
                fixed = [comparison.dataset, comparison.task, reference.name, "", value.metric, value.split, REFERENCE]
                writer.writerow([*fixed, *map(repr, (value.value, value.low, value.high)), 0])
    for found in page.aggregates:
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


def _summarise(spread: Spread) -> Iterator[list[Any]]:
    """Yield name, value, both ends of the interval, and number of seeds of every statistic that there is."""
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
