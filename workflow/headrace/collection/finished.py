"""One finished experiment as its folder of results tells it."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from headrace.errors import InputError
from headrace.figures.comparisons import MAIN_METRICS, format_point
from headrace.verification import artifacts_of

FILES = ("experiment.yaml", "provenance.json", "results.csv")
COLUMNS = ("dataset", "model", "features", "task", "run", "seed", "split", "metric", "value")
"""Of results.csv, which has more."""


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
    """An experiment that has a report."""

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
    for path in sorted(root.glob("*/provenance.json")):
        try:
            found.append(read_finished(path.parent))
        except InputError as error:
            problems += error.problems
    return found, problems


def read_finished(folder: Path) -> Finished:
    """Read a folder of results, as results/NAME. Raises InputError for what is no such folder, or is damaged."""
    entries = artifacts_of(folder)
    try:
        settings = yaml.safe_load((folder / "experiment.yaml").read_text(encoding="utf-8"))
        environment = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))["environment"]
        finished = Finished(
            folder=folder,
            name=str(settings["name"]),
            description=str(settings.get("description", "")),
            settings=dict(settings),
            artifacts=entries,
            versions=dict(environment["versions"]),
        )
        with (folder / "results.csv").open(newline="", encoding="utf-8") as file:
            for line, split, seed, value in _read_rows(csv.DictReader(file), _points(entries)):
                by_seed = finished.values.setdefault(line, {}).setdefault(split, {})
                if seed in by_seed:
                    raise ValueError(f"seed {seed} of {line.name} appears twice")
                by_seed[seed] = value
    except (OSError, ValueError, TypeError, LookupError, AttributeError, yaml.YAMLError, csv.Error) as error:
        said = " ".join(str(error).split())
        raise InputError(
            f"{folder}: {', '.join(FILES)} do not belong together or are damaged ({said}); run the experiment's "
            "command again to write them anew"
        ) from None
    return finished


def _points(entries: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The point of the sweep of every run, by its id: the table has the same columns for models that are not swept."""
    return {entry["id"]: format_point(entry["label"][4]) for entry in entries if entry["label"][0] == "train"}


def _read_rows(rows: csv.DictReader[str], points: Mapping[str, str]) -> Iterator[tuple[Line, str, int, float]]:
    """The main metric of every run on every split."""
    if missing := [name for name in COLUMNS if name not in (rows.fieldnames or ())]:
        raise ValueError(f"results.csv has no column {missing[0]}")
    for row in rows:
        if row["metric"] == main_metric(row["task"]):
            line = Line(row["dataset"], row["task"], row["model"], row["features"], points[row["run"]])
            yield line, row["split"], int(row["seed"]), float(row["value"])
