"""One experiment as its folder of results tells it."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from headrace.errors import InputError
from headrace.figures.comparisons import format_point
from headrace.judging.metrics import MAIN_METRICS
from headrace.provenance.verification import PROVENANCE, artifacts_of

FILES = ("experiment.yaml", PROVENANCE, "results.csv")
COLUMNS = ("dataset", "model", "features", "task", "run", "seed", "split", "metric", "value")
"""Of results.csv, which has more."""
Key = tuple[str, str, str, str]
"""Id, dataset, model and features tell a run from all others: models that ask for the same share its id."""


@dataclass(frozen=True)
class Line:
    """What was trained, but for its seed: a line of a table of results."""

    dataset: str
    task: str
    model: str
    features: str
    point: str
    """Swept parameters, as `learning_rate=0.001`; empty without a sweep."""

    @property
    def name(self) -> str:
        """As a reader sees it."""
        return f"{self.model} ({self.point})" if self.point else self.model


@dataclass
class Finished:
    """An experiment whose results were written, all of them or those that there were."""

    folder: Path
    name: str
    description: str
    settings: dict[str, Any]
    """The resolved experiment file."""
    artifacts: list[dict[str, Any]]
    versions: dict[str, str]
    values: dict[Line, dict[str, dict[int, float]]] = field(default_factory=dict)
    """By line and split: the value of the task's main metric for every seed."""

    def of(self, line: Line, split: str) -> Mapping[int, float]:
        """The main metric by seed."""
        return self.values.get(line, {}).get(split, {})

    @property
    def num_runs(self) -> int:
        """Runs with a result."""
        return sum(len(self.of(line, "test")) for line in self.values)


def main_metric(task: str) -> str:
    """The metric by which a task is judged."""
    return MAIN_METRICS.get(task, "value")


def read_all(root: Path) -> tuple[list[Finished], list[str]]:
    """Every experiment with results in a folder, by name, and a line for each that cannot be read."""
    found, problems = list[Finished](), list[str]()
    # Asked one by one: a pattern would pass over folders that may not be entered.
    folders = sorted(entry for entry in root.iterdir() if entry.is_dir()) if root.is_dir() else []
    for path in (folder / PROVENANCE for folder in folders):
        if not _is_there(path):
            continue
        try:
            found.append(read_finished(path.parent))
        except InputError as error:
            problems += error.problems
    return found, problems


def _is_there(path: Path) -> bool:
    """Whether there is such a file, or nobody may say."""
    try:
        path.stat()
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return True


def read_finished(folder: Path) -> Finished:
    """Read a folder of results, as results/NAME. Raises InputError for what is no such folder, or is damaged."""
    entries = artifacts_of(folder)
    try:
        settings = yaml.safe_load((folder / "experiment.yaml").read_text(encoding="utf-8"))
        provenance = json.loads((folder / PROVENANCE).read_text(encoding="utf-8"))
        finished = Finished(
            folder=folder,
            name=str(settings["name"]),
            description=str(settings.get("description", "")),
            settings=dict(settings),
            artifacts=entries,
            versions=dict(provenance["environment"]["versions"]),
        )
        with (folder / "results.csv").open(newline="", encoding="utf-8") as file:
            for line, split, seed, value in _read_rows(csv.DictReader(file), _points(provenance["runs"])):
                by_seed = finished.values.setdefault(line, {}).setdefault(split, {})
                if seed in by_seed:
                    raise ValueError(f"seed {seed} of {line.name} appears twice")
                by_seed[seed] = value
    except (OSError, ValueError, TypeError, LookupError, AttributeError, yaml.YAMLError, csv.Error) as error:
        said = " ".join(str(error).split())
        raise InputError(
            f"{folder}: {', '.join(FILES)} do not belong together or are damaged ({said}); unless its report is being "
            "written just now, run the experiment's command again to write them anew"
        ) from None
    return finished


def _points(runs: Sequence[Mapping[str, Any]]) -> dict[Key, str]:
    """The point of the sweep of every run: the table has the same columns for models without a sweep."""
    return {(run["id"], run["dataset"], run["model"], run["features"]): format_point(run["point"]) for run in runs}


def _read_rows(rows: csv.DictReader[str], points: Mapping[Key, str]) -> Iterator[tuple[Line, str, int, float]]:
    """The main metric of every run on every split."""
    if missing := [name for name in COLUMNS if name not in (rows.fieldnames or ())]:
        raise ValueError(f"results.csv has no column {missing[0]}")
    for row in rows:
        if None in row or None in row.values():
            raise ValueError(f"line {rows.line_num} of results.csv does not have the columns of the first one")
        if row["metric"] == main_metric(row["task"]):
            point = points[row["run"], row["dataset"], row["model"], row["features"]]
            line = Line(row["dataset"], row["task"], row["model"], row["features"], point)
            yield line, row["split"], int(row["seed"]), float(row["value"])
