"""Report: everything an experiment found, in results/NAME."""

from __future__ import annotations

import csv
import fcntl
import io
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from headrace.crate import write_crate
from headrace.figures.aggregates import aggregate
from headrace.figures.comparisons import Candidate, compare
from headrace.figures.spreads import describe_spread
from headrace.gathering import gather
from headrace.jobs import Job, environment
from headrace.logs import logger
from headrace.provenance import write_atomically, write_json
from headrace.report import render
from headrace.results import Results

COMPUTES = (
    "gathering",
    "results",
    "report",
    "crate",
    "metrics",
    "resampling",
    "calibration",
    "datasets.base",
    "group_metrics",
    "ranking",
    "significance",
    "statistics",
    "tries.usage",
    "stores.arrays",
    "stores.groups",
    "stores.layout",
    "figures.aggregates",
    "figures.answers",
    "figures.cards",
    "figures.charts",
    "figures.classes",
    "figures.comparisons",
    "figures.convergence",
    "figures.groups",
    "figures.images",
    "figures.numbers",
    "figures.pairs",
    "figures.peaks",
    "figures.scaling",
    "figures.spreads",
    "figures.ranking",
    "figures.theme",
    "scaling.laws",
    "sections.answer",
    "sections.base",
    "sections.calibration",
    "sections.cards",
    "sections.classes",
    "sections.comparisons",
    "sections.confusions",
    "sections.convergence",
    "sections.curves",
    "sections.data",
    "sections.failures",
    "sections.groups",
    "sections.ranking",
    "sections.reconstructions",
    "sections.reproduce",
    "sections.results",
    "sections.scaling",
    "sections.statistics",
)
RUN_KEYS = ("id", "dataset", "model", "features", "point", "seed", "status")


def run(job: Job) -> None:
    """Gather, render and write; receipts of the experiment's other plans are withdrawn, since this replaces them."""
    folder = Path(job.spec["results"]) / job.spec["experiment"]["name"]
    folder.mkdir(parents=True, exist_ok=True)
    with alone(job.receipt.with_name(f".{folder.name}.lock")):
        write(job, gather(job), folder)


def write(job: Job, results: Results, folder: Path) -> None:
    """Write all files of a result. Of a whole one that is written once more, the receipts stay."""
    is_whole = all(step["status"] != "missing" for step in results.steps)
    for other in job.receipt.parent.glob(f"{results.experiment}-????????.ok"):
        if other != job.receipt or not is_whole:
            other.unlink(missing_ok=True)
            job.receipt_of("gate", other.stem).unlink(missing_ok=True)
    write_atomically(folder / "results.csv", table(results).encode())
    write_atomically(folder / "statistics.csv", statistics_table(results).encode())
    write_atomically(folder / "experiment.yaml", results.resolved_yaml.encode())
    write_json(folder / "provenance.json", provenance(job, results))
    write_atomically(folder / "report.html", render(results).encode())
    write_crate(results, folder)
    logger.info("report: %s", folder / "report.html")


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Wait until nobody else writes these results: of two reports the later one must have seen what the other saw."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        # Some file systems know no locks; then two at once are as they may be.
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def table(results: Results) -> str:
    """The tidy table: one metric of one run on one split a line."""
    swept = sorted({name for run in results.runs for name in run.point})
    columns = ["experiment", "dataset", "family", "model", "features", "task", "run", "seed", *swept]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([*columns, "split", "metric", "value", "low", "high"])
    for run in results.runs:
        fixed = [results.experiment, run.dataset, run.family, run.model, run.features, run.task, run.id, run.seed]
        point = [_cell({**run.parameters, **run.point}.get(name, "")) for name in swept]
        for m in run.metrics:
            writer.writerow([*fixed, *point, m.split, m.metric, repr(m.value), repr(m.low), repr(m.high)])
    return buffer.getvalue()


def statistics_table(results: Results) -> str:
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
                writer.writerows([*fixed, *line] for line in _statistics(one, metric, split))
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


def _statistics(candidate: Candidate, metric: str, split: str) -> Iterator[list[Any]]:
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


def provenance(job: Job, results: Results) -> dict[str, Any]:
    """Which artifacts the results stand on; `headrace digest` and `headrace verify` start here."""
    return {
        "experiment": results.experiment,
        "plan": results.plan_digest,
        "root": str(job.root),
        # Models that ask for the same share an artifact, which tells of one of them alone.
        "runs": [{key: getattr(run, key) for key in RUN_KEYS} for run in results.runs],
        "artifacts": [{"label": label, **step} for label, step in zip(_labels(job.spec), results.steps, strict=True)],
        "environment": environment(),
    }


def _labels(spec: Mapping[str, Any]) -> Iterable[list[Any]]:
    """What each artifact is called in a digest: names of the experiment, since its id holds the code's fingerprint."""
    names: dict[tuple[str, str], list[Any]] = {}
    for dataset, shard in spec["shards"].items():
        names.setdefault(("shard", shard), ["shard", dataset])
    for name, features in spec["features"].items():
        names.setdefault(("preprocess", features), ["preprocess", name])
    for run in spec["runs"]:
        label = [run["dataset"], run["model"], run["features"], run["point"], run["seed"]]
        names.setdefault(("train", run["train"]), ["train", *label])
        names.setdefault(("evaluate", run["evaluate"]), ["evaluate", *label])
    return [names[step["stage"], step["id"]] for step in spec["steps"]]


def _cell(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
