"""What is trained, and what needs no training: the two that a plan asks for and a report holds against each other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from headrace.datasets.base import DataInfo
from headrace.experiments.experiment import RAW, Experiment
from headrace.models.base import NEXT_STEP, is_sequence
from headrace.planning.artifacts import Artifact


@dataclass(frozen=True)
class Run:
    """One model at one point of its sweep with one seed on one dataset."""

    dataset: str
    model: str
    family: str
    features: str
    task: str
    seed: int
    point: Mapping[str, Any]
    train: Artifact
    evaluate: Artifact
    uncorrupted: Mapping[str, str] = field(default_factory=dict)
    """By the kind of corruption that it is left out of: what it reads instead of what that needs."""

    def describe(self) -> dict[str, Any]:
        """What the report is told."""
        names = ("dataset", "model", "family", "features", "task", "seed", "point")
        parameters = {**self.train.spec["training"], **self.train.spec["family"]}
        ids = {"train": self.train.id, "evaluate": self.evaluate.id}
        said = {**{name: getattr(self, name) for name in names}, "parameters": parameters, **ids}
        said |= {"uncorrupted": dict(self.uncorrupted)} if self.uncorrupted else {}
        return said | {"unexplained": find_obstacle(self.train.spec["shapes"])}


def find_obstacle(shapes: Mapping[str, Any]) -> str:
    """What keeps attributions from meaning anything for a model of these shapes, as `reads codes`; "" for nothing."""
    task, outputs = shapes["task"], shapes["outputs"]
    if shapes.get("num_codes"):
        return "reads codes"
    if shapes.get("layout", "dense") != "dense":
        return f"reads {shapes['layout']} inputs"
    if task == "regression" and outputs != 1:
        return f"predicts {outputs} numbers"
    return "" if task in ("classification", "regression") else f"was trained for {task}"


@dataclass(frozen=True)
class Reference:
    """What needs no training, for one task on one dataset: the least that its models have to beat."""

    dataset: str
    task: str
    features: str
    """Those that its predictors read."""
    beside: Artifact
    """The trained run whose job judges it too: a process of its own would cost more than the work."""
    evaluate: Artifact

    def describe(self) -> dict[str, Any]:
        """What the report is told."""
        names = {name: getattr(self, name) for name in ("dataset", "task", "features")}
        return {**names, "evaluate": self.evaluate.id}


def find_shapes(info: DataInfo, task: str) -> dict[str, Any]:
    """What a model is built for, as JSON."""
    counts = {"classification": len(info.class_names), "regression": info.num_targets, NEXT_STEP: info.num_codes}
    plain = info.layout == "dense" and not info.num_codes
    layout = {} if plain else {"layout": info.layout, "num_codes": info.num_codes}
    sequence = {"is_sequence": True} if is_sequence(info) else {}
    return {"inputs": list(info.shape), "outputs": counts.get(task, 0), "task": task, **layout, **sequence}


def find_series(experiment: Experiment, dataset: str, shards: Mapping[str, Artifact]) -> dict[str, Artifact]:
    """Beside the features, the shards with the series that a forecast is held against, where the dataset is one."""
    return {"shards": shards[dataset]} if "forecasting" in experiment.infos[dataset].tasks else {}


def choose_references(
    runs: Iterable[Run], experiment: Experiment, shards: Mapping[str, Artifact], evaluation: Mapping[str, Any]
) -> Iterable[Reference]:
    """One for every task on a dataset but densities, on features of its models that have distances.

    Which ones does not depend on the order of the models. Predictors that repeat values read the series too.
    """
    chosen: dict[tuple[str, str], Run] = {}
    for run in runs:
        first = chosen.setdefault((run.dataset, run.task), run)
        if _preference(run) < _preference(first):
            chosen[run.dataset, run.task] = run
    for (dataset, task), run in chosen.items():
        if task == "density":
            continue
        spec = experiment.datasets[dataset]
        inputs = {**run.train.inputs, **find_series(experiment, dataset, shards)}
        own = {"shapes": run.train.spec["shapes"], "seed": spec.split.seed}
        evaluate = Artifact("evaluate", f"{spec.kind}-reference", {**evaluation, "reference": own}, inputs, ())
        yield Reference(dataset, task, run.features, run.train, evaluate)


def _preference(run: Run) -> tuple[bool, bool, str]:
    """Dense measurements first, of which a run says nothing; then what was prepared; then by name."""
    return "layout" in run.train.spec["shapes"], run.features == RAW, run.features
