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
from headrace.figures.environments import describe_software
from headrace.findings.results import Environment
from headrace.judging.metrics import MAIN_METRICS
from headrace.provenance.verification import PROVENANCE, artifacts_of, find_changed_files
from headrace.reporting.tidy import REFERENCE

FILES = ("experiment.yaml", PROVENANCE, "results.csv")
COLUMNS = ("dataset", "model", "features", "task", "run", "seed", "split", "metric", "value")
"""Of results.csv, which has more."""
NOT_SETTINGS = frozenset({"name", "datasets", "features", "sweep", "seeds"})
"""Keys of a model that say nothing of how it is built and trained."""
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
    family: str = field(default="", compare=False)
    """The model's kind."""
    swept: Mapping[str, Any] = field(default_factory=dict, compare=False)
    """The same parameters with their values."""

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
    environment: dict[str, str]
    """What it was made with: versions in words, what was trained on, platforms."""
    knows_artifacts: bool = True
    """Whether `environment` is that of the artifacts, and not of the report alone, as in results of old."""
    references: dict[tuple[str, str], dict[str, float]] = field(default_factory=dict)
    """By dataset and task: what each predictor without training reaches in the main metric on test."""
    values: dict[Line, dict[str, dict[int, float]]] = field(default_factory=dict)
    """By line and split: the value of the task's main metric for every seed."""

    def of(self, line: Line, split: str) -> Mapping[int, float]:
        """The main metric by seed."""
        return self.values.get(line, {}).get(split, {})

    def resolved(self, line: Line) -> dict[str, Any]:
        """All settings of a line: the training's, the model's own, and those of its point of the sweep."""
        models = [model for model in self.settings.get("models", ()) if model.get("name") == line.model]
        own = models[0] if models else {}
        known = {**self.settings.get("training", {}), **own, **line.swept}
        return {name: value for name, value in known.items() if name not in NOT_SETTINGS}

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
    changed = [name for name in find_changed_files(folder) if name in FILES]
    try:
        if changed:
            raise ValueError(f"{changed[0]} is not as it was written: it was cut or changed since")
        settings = yaml.safe_load((folder / "experiment.yaml").read_text(encoding="utf-8"))
        provenance = json.loads((folder / PROVENANCE).read_text(encoding="utf-8"))
        finished = Finished(
            folder=folder,
            name=str(settings["name"]),
            description=str(settings.get("description", "")),
            settings=dict(settings),
            artifacts=entries,
            environment=_read_environment(provenance),
            knows_artifacts=bool(provenance.get("environments")),
            references=_read_references(provenance),
        )
        points = _points(provenance["runs"])
        unseen = {key for key, (_, status) in points.items() if status == "done"}
        with (folder / "results.csv").open(newline="", encoding="utf-8") as file:
            for key, line, split, seed, value in _read_rows(csv.DictReader(file), points):
                unseen.discard(key)
                by_seed = finished.values.setdefault(line, {}).setdefault(split, {})
                # As text, in which a value that is not a number is the same as another one.
                if repr(by_seed.setdefault(seed, value)) != repr(value):
                    raise ValueError(f"seed {seed} of {line.name} appears twice with different values")
        if unseen and "files" not in provenance:
            raise ValueError(f"results.csv has no line of {min(unseen)[0]}, which is done")
    except (OSError, ValueError, TypeError, LookupError, AttributeError, yaml.YAMLError, csv.Error) as error:
        said = " ".join(str(error).split())
        raise InputError(
            f"{folder}: {', '.join(FILES)} do not belong together or are damaged ({said}); unless its report is being "
            "written just now, run the experiment's command again to write them anew"
        ) from None
    return finished


def _points(runs: Sequence[Mapping[str, Any]]) -> dict[Key, tuple[Mapping[str, Any], str]]:
    """Point of the sweep and status of every run: the table has the same columns for models without a sweep."""
    return {(run["id"], run["dataset"], run["model"], run["features"]): (run["point"], run["status"]) for run in runs}


def _read_environment(provenance: Mapping[str, Any]) -> dict[str, str]:
    """What the artifacts were made with; of results of old, which do not say so, what their report was written with."""
    environments = [Environment(**each) for each in provenance.get("environments", ())]
    if not environments:
        return dict(provenance["environment"]["versions"])
    used = list(dict.fromkeys(entry["environment"] for entry in provenance["artifacts"] if entry["status"] == "done"))
    made = [environments[place] for place in used if place is not None]
    devices, platforms = ({getattr(each, name) for each in made} - {""} for name in ("device", "platform"))
    said = {"trained on": ", ".join(sorted(devices)), "platform": ", ".join(sorted(platforms))}
    software = describe_software(environments, provenance["artifacts"])
    return {**software, **{name: text for name, text in said.items() if text}}


def _read_references(provenance: Mapping[str, Any]) -> dict[tuple[str, str], dict[str, float]]:
    found: dict[tuple[str, str], dict[str, float]] = {}
    for said in provenance.get("references", ()):
        value = said["values"].get("test", {}).get(main_metric(said["task"]))
        if value is not None:
            found.setdefault((said["dataset"], said["task"]), {})[said["name"]] = float(value)
    return found


def _read_rows(
    rows: csv.DictReader[str], points: Mapping[Key, tuple[Mapping[str, Any], str]]
) -> Iterator[tuple[Key, Line, str, int, float]]:
    """The main metric of every run on every split."""
    if missing := [name for name in COLUMNS if name not in (rows.fieldnames or ())]:
        raise ValueError(f"results.csv has no column {missing[0]}")
    for row in rows:
        if None in row or None in row.values():
            raise ValueError(f"line {rows.line_num} of results.csv does not have the columns of the first one")
        if row["metric"] == main_metric(row["task"]) and row.get("kind") != REFERENCE:
            key = row["run"], row["dataset"], row["model"], row["features"]
            point, _ = points[key]
            named = row["dataset"], row["task"], row["model"], row["features"], format_point(point)
            yield key, Line(*named, row.get("family", ""), point), row["split"], int(row["seed"]), float(row["value"])
