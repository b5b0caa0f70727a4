"""An experiment in as few words as say it: what differs from the defaults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headrace.datasets.base import DataInfo, DatasetSpec
from headrace.experiments.config import Split, Training
from headrace.experiments.experiment import RAW, Experiment, Model, ModelKeys
from headrace.experiments.splits import resolve_split
from headrace.registry import load_kind

KEPT = ("name", "datasets", "models")
"""Keys that every experiment file needs, whatever they hold."""
FIRST: tuple[str, ...] = ("kind", "name", "features", "datasets")
"""Keys that stand in front of an entry's parameters."""


def shorten(experiment: Experiment) -> dict[str, Any]:
    """Every setting that is not as it is by default: itself a valid experiment file, which gives the same runs."""
    short = {
        "name": experiment.name,
        "description": experiment.description,
        "datasets": {
            name: _shorten_dataset(dataset, experiment.infos[name]) for name, dataset in experiment.datasets.items()
        },
        "features": {
            name: [{"kind": step.kind, **step.model_dump(mode="json", exclude_defaults=True)} for step in steps]
            for name, steps in experiment.features.items()
            if name != RAW
        },
        "models": [_shorten_model(model) for model in experiment.models],
        "training": experiment.training.model_dump(mode="json", exclude_defaults=True),
        "evaluation": experiment.evaluation.model_dump(mode="json", exclude_defaults=True),
    }
    return {key: value for key, value in short.items() if value or key in KEPT}


def _shorten_dataset(dataset: DatasetSpec, info: DataInfo) -> dict[str, Any]:
    short = {"kind": dataset.kind, **dataset.model_dump(mode="json", exclude_defaults=True)}
    split = short.pop("split", {})
    if "by" in split and resolve_split(dataset.split.model_copy(update={"by": Split().by}), info) == dataset.split:
        del split["by"]
    return {**short, "split": split} if split else short


def _shorten_model(model: Model) -> dict[str, Any]:
    """An entry without what its family has by default; swept parameters stand in the sweep alone."""
    family = load_kind("models", model.keys.kind).model_validate({"kind": model.keys.kind, **model.family})
    own = family.model_dump(mode="json", exclude_defaults=True)
    # All that are given: one that says the same as `training` goes on saying it when that is edited.
    given = Training.model_validate(model.training).model_dump(mode="json")
    own |= {key: given[key] for key in model.training}
    keys = model.keys.model_dump(mode="json", exclude_defaults=True)
    if keys.get("name") == model.keys.kind:
        del keys["name"]
    first: dict[str, Any] = {key: keys.pop(key) for key in FIRST if key in keys}
    return {**first, **{key: value for key, value in own.items() if key not in {*first, *_swept(model.keys)}}, **keys}


def _swept(keys: ModelKeys) -> set[str]:
    sweep = keys.sweep
    drawn: Mapping[str, Any] = sweep.random.parameters if sweep and sweep.random else {}
    return {*(sweep.grid or {}), *(sweep.zip or {}), *drawn} if sweep else set()
