"""An experiment, checked and whole: datasets, features, models and their settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from pydantic import SerializeAsAny, SkipValidation

from headrace.corruptions.base import CorruptionSpec
from headrace.datasets.base import DataInfo, DatasetSpec
from headrace.experiments.config import Frozen, Name, Sweep, Training
from headrace.experiments.evaluation import Evaluation
from headrace.experiments.splits import planned_sizes
from headrace.experiments.sweeps import Point, expand
from headrace.experiments.validation import Problems, parse
from headrace.models.base import ModelSpec
from headrace.preprocessing.base import StepSpec
from headrace.registry import load_kind, restore

RAW = "raw"


class ModelKeys(Frozen):
    """Keys that every entry of `models` has, beside its family's parameters and any key of `training`."""

    kind: Name
    """The model family: the name of a file in workflow/headrace/models/."""
    name: Name | None = None
    """What to call this entry; needed when a family appears twice. By default its kind."""
    features: Name = RAW
    """Which feature set it reads: a key of `features`, or `raw` for the data as they were sharded."""
    datasets: tuple[Name, ...] | None = None
    """Which datasets it meets; by default all whose task fits."""
    sweep: Sweep | None = None
    """Parameters of the family or of training to vary."""


class Model(Frozen):
    """One entry of `models`."""

    keys: ModelKeys
    family: Mapping[str, Any]
    """The family's parameters as given."""
    training: Mapping[str, Any]
    """Overrides of `training` as given."""

    @property
    def name(self) -> str:
        """What the entry is called."""
        return self.keys.name or self.keys.kind


class Setting(Frozen):
    """A model at one point of its sweep, whole."""

    point: Mapping[str, Any]
    spec: SerializeAsAny[ModelSpec]
    training: Training


class Experiment(Frozen):
    """A checked experiment."""

    name: str
    description: str
    datasets: Mapping[str, SerializeAsAny[DatasetSpec]]
    features: Mapping[str, tuple[SerializeAsAny[StepSpec], ...]]
    models: tuple[Model, ...]
    training: Training
    evaluation: Evaluation
    infos: Mapping[str, SkipValidation[DataInfo]]
    """What each dataset holds."""
    contents: Mapping[str, str] = {}
    """SHA-256 of what the files of a dataset hold, where it has files."""
    step_contents: Mapping[str, str] = {}
    """SHA-256 of every file that a step names, by its name."""

    def features_info(self, dataset: str, features: str) -> DataInfo:
        """What a feature set of a dataset holds. Raises ValueError when a step cannot work on it."""
        info = self.infos[dataset]
        num_train = planned_sizes(info, self.datasets[dataset].split)["train"]
        for i, step in enumerate(self.features[features]):
            try:
                _refuse_unfit(step, info)
                info = step.describe(info, num_train)
            except ValueError as error:
                raise ValueError(f"features.{features}[{i}].{error} (dataset {dataset})") from error
        return info

    def corruptions(self, dataset: str, features: str) -> tuple[dict[str, list[float]], dict[str, str]]:
        """What is done to a feature set to judge its models once more: strengths by kind; and, of kinds that do not fit
        it, what it holds instead of what they need. Raises ValueError as `features_info` does.
        """
        asked, info = self.evaluation.corruption, self.features_info(dataset, features)
        fitting: dict[str, list[float]] = {}
        unfit: dict[str, str] = {}
        for kind, strengths in (asked.strengths if asked is not None else {}).items():
            found = restore("corruptions", {"kind": kind, "strengths": strengths}, CorruptionSpec).misfit(info)
            if found is None:
                fitting[kind] = strengths
            else:
                unfit[kind] = found
        return fitting, unfit

    def pairs(self, model: Model) -> list[tuple[str, str]]:
        """The (dataset, task) that a model meets: all whose task fits, unless it names its datasets."""
        tasks = cast(type[ModelSpec], load_kind("models", model.keys.kind)).tasks
        names = self.datasets if model.keys.datasets is None else model.keys.datasets
        fitting = ((name, [task for task in self.infos[name].tasks if task in tasks]) for name in names)
        return [(name, tasks[0]) for name, tasks in fitting if tasks]

    def settings(self, model: Model) -> list[Setting]:
        """A model at every point of its sweep. Raises InputError for a point that is not allowed."""
        return [self._setting(model, point) for point in expand(model.keys.sweep)]

    def _setting(self, model: Model, point: Point) -> Setting:
        spec_type = load_kind("models", model.keys.kind)
        at_training = {key: value for key, value in point.items() if key in Training.model_fields}
        at_family = {key: value for key, value in point.items() if key not in at_training}
        problems = Problems()
        spec = parse(spec_type, {"kind": model.keys.kind, **model.family, **at_family}, (), problems)
        training = self.training
        if model.training or at_training:
            overridden = {**self.training.model_dump(), **model.training, **at_training}
            training = cast(Training, parse(Training, overridden, (), problems))
        problems.raise_any()
        wrong = training.contradiction()
        if wrong is not None:
            problems.add((), wrong)
            problems.raise_any()
        return Setting(point=point, spec=cast(ModelSpec, spec), training=training)

    def resolved(self) -> dict[str, Any]:
        """The experiment with every default written out: itself a valid experiment file, with the same runs."""
        models = []
        for model in self.models:
            spec = load_kind("models", model.keys.kind).model_validate({"kind": model.keys.kind, **model.family})
            keys = model.keys.model_dump(mode="json", exclude_none=True)
            family = spec.model_dump(mode="json")
            swept = {name for point in expand(model.keys.sweep)[:1] for name in point}
            own = {key: value for key, value in {**family, **model.training}.items() if key not in swept}
            models.append({"kind": model.keys.kind, "name": model.name, **own, **keys})
        return {
            "name": self.name,
            "description": self.description,
            "datasets": {
                name: dataset.model_dump(mode="json", exclude_none=True) for name, dataset in self.datasets.items()
            },
            "features": {
                name: [step.model_dump(mode="json") for step in steps]
                for name, steps in self.features.items()
                if name != RAW
            },
            "models": models,
            "training": self.training.model_dump(mode="json", exclude_none=True),
            "evaluation": self.evaluation.model_dump(mode="json", exclude_none=True),
        }


def _refuse_unfit(step: StepSpec, info: DataInfo) -> None:
    """Raise ValueError when a step cannot work on such inputs, or needs what the data do not have."""
    if info.layout not in step.reads:
        raise ValueError(f"kind: {step.kind} reads {' and '.join(step.reads)} inputs, not {info.layout} ones")
    if info.num_codes and not step.reads_codes:
        raise ValueError(f"kind: {step.kind} reads measurements, not codes; make numbers of them first, as by one_hot")
    if info.has_missing and not step.reads_missing:
        raise ValueError(f"kind: {step.kind} reads no missing values; put impute before it")
    has = {"target": bool(info.class_names or info.num_targets), "graph": info.has_graph}
    for need in sorted(step.needs):
        if not has[need]:
            what = {"target": "labels or numbers to predict", "graph": "a graph, as that of synthetic_graph"}[need]
            raise ValueError(f"kind: {step.kind} needs {what}, and these data have none")


class TopLevel(Frozen):
    """The keys of an experiment file."""

    name: Name
    """The experiment's name: its results lie in results/NAME."""
    description: str = ""
    """The question that the experiment answers."""
    datasets: Mapping[str, Any]
    """Named datasets."""
    features: Mapping[str, Any] = {}
    """Named chains of preprocessing steps, fitted on the training split alone; `raw`, without steps, always exists."""
    models: tuple[Any, ...]
    """The model families to compare."""
    training: Any = {}
    """How they are trained."""
    evaluation: Any = {}
    """How they are judged."""
