"""Report: everything an experiment found, in results/NAME."""

from __future__ import annotations

import fcntl
import math
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from headrace.figures.files import FIGURES, write_figures
from headrace.findings.gathering import gather
from headrace.findings.results import SEALED, ReferenceResult, Results
from headrace.logs import logger
from headrace.planning.artifacts import figures_path
from headrace.provenance.manifests import RESULT_FORMAT, digest_file, write_atomically, write_json
from headrace.reporting.crate import write_crate
from headrace.reporting.report import compose
from headrace.reporting.tables import write_csv, write_parquet
from headrace.reporting.tidy import WHERE_THERE_ARE_ANY, tabulate, write_statistics
from headrace.running.jobs import Job, environment
from headrace.sections.base import Page

COMPUTES = (
    "datasets.base",
    "figures.absences",
    "figures.aggregates",
    "figures.answers",
    "figures.attribution_charts",
    "figures.attribution_pictures",
    "figures.attribution_samples",
    "figures.attributions",
    "figures.cards",
    "figures.charts",
    "figures.citations",
    "figures.claims",
    "figures.classes",
    "figures.comparisons",
    "figures.confusions",
    "figures.convergence",
    "figures.energy",
    "figures.environments",
    "figures.files",
    "figures.groups",
    "figures.images",
    "figures.latents",
    "figures.leads",
    "figures.methods",
    "figures.numbers",
    "figures.pairs",
    "figures.peaks",
    "figures.ranking",
    "figures.references",
    "figures.robustness",
    "figures.runs",
    "figures.scaling",
    "figures.seeds",
    "figures.spreads",
    "figures.theme",
    "figures.trainings",
    "figures.words",
    "judging.calibration",
    "judging.group_metrics",
    "judging.metrics",
    "judging.ranking",
    "judging.resampling",
    "judging.significance",
    "judging.statistics",
    "judging.weighted",
    "reporting.crate",
    "findings.environments",
    "findings.feature_names",
    "findings.gathering",
    "findings.kinds",
    "findings.pictures",
    "reporting.report",
    "findings.results",
    "findings.shown",
    "findings.unfinished",
    "reporting.tables",
    "reporting.tidy",
    "scaling.laws",
    "sections.answer",
    "sections.attributions",
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
    "sections.latents",
    "sections.methods",
    "sections.ranking",
    "sections.reconstructions",
    "sections.reproduce",
    "sections.resources",
    "sections.results",
    "sections.robustness",
    "sections.scaling",
    "sections.statistics",
    "stores.arrays",
    "stores.groups",
    "stores.layout",
    "tries.usage",
)
TABLES = (
    "experiment.yaml",
    *(f"{name}.{ending}" for name in ("results", *WHERE_THERE_ARE_ANY) for ending in ("csv", "parquet")),
    "statistics.csv",
)
"""Files of a result whose digests stand in its provenance: one that was cut would pass for a smaller experiment."""
RUN_KEYS = ("id", "dataset", "model", "features", "point", "seed", "status")


def run(job: Job) -> None:
    """Gather, render and write; receipts of the experiment's other plans are withdrawn, since this replaces them."""
    folder = Path(job.spec["results"]) / job.spec["experiment"]["name"]
    folder.mkdir(parents=True, exist_ok=True)
    with alone(job.receipt.with_name(f".{folder.name}.lock")):
        write(job, gather(job), folder)


def write(job: Job, results: Results, folder: Path) -> None:
    """Write all files of a result. Of a whole one that is written once more, the receipts stay."""
    is_whole = all(step["status"] in SEALED for step in results.steps)
    for other in job.receipt.parent.glob(f"{results.experiment}-????????.ok"):
        if other != job.receipt or not is_whole:
            other.unlink(missing_ok=True)
            job.receipt_of("gate", other.stem).unlink(missing_ok=True)
    write_tables(results, folder)
    page = Page(results)
    write_atomically(folder / "statistics.csv", write_statistics(page).encode())
    write_atomically(folder / "experiment.yaml", results.resolved_yaml.encode())
    write_json(folder / "provenance.json", provenance(job, results, folder))
    report = compose(page)
    write_atomically(folder / "report.html", report.page.encode())
    listed = write_figures(report.figures, folder / FIGURES)
    copy_drawings(listed, folder / FIGURES, figures_path(job.root, job.id))
    write_crate(results, folder)
    logger.info("report: %s", folder / "report.html")


def write_tables(results: Results, folder: Path) -> None:
    """Write every table as text and with types; one that an earlier report left and this one lacks must not stay."""
    tables = tabulate(results)
    for name in WHERE_THERE_ARE_ANY:
        for path in (folder / f"{name}.csv", folder / f"{name}.parquet") if name not in tables else ():
            path.unlink(missing_ok=True)
    for name, table in tables.items():
        write_atomically(folder / f"{name}.csv", write_csv(table).encode())
        write_atomically(folder / f"{name}.parquet", write_parquet(table))


def copy_drawings(listed: Iterable[Mapping[str, Any]], folder: Path, shown: Path) -> None:
    """Leave the drawings where Snakemake takes them from, in the place of those of the experiment's other plans.

    The folder of results is none of Snakemake's outputs: before a job it would remove whatever a person has put there.
    """
    experiment, _, _ = shown.name.rpartition("-")
    for older in shown.parent.glob(f"{experiment}-????????"):
        shutil.rmtree(older, ignore_errors=True)
    shown.mkdir(parents=True)
    for file in (file for each in listed for file in each["files"] if file.endswith(".svg")):
        shutil.copyfile(folder / file, shown / file)


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Wait until nobody else writes these results: of two reports the later one must have seen what the other saw."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        # Some file systems know no locks; then two at once are as they may be.
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def provenance(job: Job, results: Results, folder: Path) -> dict[str, Any]:
    """Which artifacts the results stand on, and what the tables in `folder` hold that were made from them.

    `headrace digest` and `headrace verify` start here.
    """
    return {
        "format": RESULT_FORMAT,
        "experiment": results.experiment,
        "plan": results.plan_digest,
        "root": str(job.root),
        # Models that ask for the same share an artifact, which tells of one of them alone.
        "runs": [{key: getattr(run, key) for key in RUN_KEYS} for run in results.runs],
        "artifacts": [{"label": label, **step} for label, step in zip(_labels(job.spec), results.steps, strict=True)],
        "shards": {dataset.name: dict(dataset.shard_digests) for dataset in results.datasets},
        "repository": results.repository,
        "references": [describe_reference(reference) for reference in results.references],
        "environments": [asdict(each) for each in results.environments],
        # That of the report alone: of each artifact it is the place in the list above.
        "environment": environment(),
        "files": {name: digest_file(folder / name) for name in TABLES if (folder / name).exists()},
    }


def describe_reference(reference: ReferenceResult) -> dict[str, Any]:
    """What needs no training, with all of its metrics that are numbers, by split."""
    names = {name: getattr(reference, name) for name in ("name", "dataset", "task", "features")}
    values: dict[str, dict[str, float]] = {}
    for each in (each for each in reference.metrics if math.isfinite(each.value)):
        values.setdefault(each.split, {})[each.metric] = each.value
    return {**names, "values": values}


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
    for reference in spec.get("references", ()):
        names.setdefault(("evaluate", reference["evaluate"]), ["reference", reference["dataset"], reference["task"]])
    return [names[step["stage"], step["id"]] for step in spec["steps"]]
