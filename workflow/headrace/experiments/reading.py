"""From an experiment file to a checked `Experiment`: a mistake is one line that names file, line and key."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, cast

from headrace.corruptions.base import CorruptionSpec
from headrace.datasets.base import DataInfo, DatasetSpec
from headrace.errors import InputError
from headrace.experiments import yaml_files
from headrace.experiments.config import Kind, Split, Sweep, Training
from headrace.experiments.evaluation import Evaluation, evaluation_type
from headrace.experiments.experiment import RAW, Experiment, Model, ModelKeys, Setting, TopLevel
from headrace.experiments.splits import planned_sizes, resolve_split
from headrace.experiments.validation import KeyPath, Problems, parse, parse_mapping
from headrace.models.base import NEXT_STEP, ModelSpec
from headrace.preprocessing.base import StepSpec
from headrace.registry import load_kind, suggest
from headrace.sources.library import Known, Library


def load_experiment(path: str | Path, artifacts: Path = Path("artifacts")) -> Experiment:
    """Read and check one experiment file. Raises InputError."""
    return check_experiment(yaml_files.read(Path(path)), (Path(path),), artifacts)


def check_experiment(
    data: Mapping[str, Any], files: Iterable[Path] = (), artifacts: Path = Path("artifacts")
) -> Experiment:
    """Check an experiment that was read from `files`, which are only named in messages. Raises InputError.

    What is known of the files of its datasets is kept beside the artifacts.
    """
    problems = Problems(tuple(files))
    top = parse(TopLevel, yaml_files.tuples(data), (), problems)
    problems.raise_any()
    top = cast(TopLevel, top)
    datasets = parse_mapping(top.datasets, ("datasets",), problems, partial(_kind, "datasets"))
    features = parse_mapping(top.features, ("features",), problems, _chain)
    if RAW in features:
        problems.add(("features", RAW), "raw is the data without any step; choose another name")
    models = [model for i, value in enumerate(top.models) if (model := _model(value, ("models", i), problems))]
    training = parse(Training, top.training, ("training",), problems)
    evaluation = parse(evaluation_type(), top.evaluation, ("evaluation",), problems)
    for key, given in (("datasets", top.datasets), ("models", top.models)):
        if not given:
            problems.add((key,), f"{key} is empty; give at least one")
    problems.raise_any()
    library = Library(artifacts)
    known = {name: _look_up(name, cast(DatasetSpec, dataset), library, problems) for name, dataset in datasets.items()}
    features, step_contents = _look_into_steps(features, library, problems)
    problems.raise_any()
    split_datasets = {name: found[0] for name, found in known.items() if found}
    infos = {name: found[1].info for name, found in known.items() if found}
    contents = {name: found[1].sha256 for name, found in known.items() if found and found[1].sha256}
    experiment = Experiment(
        name=top.name,
        description=top.description,
        datasets=split_datasets,
        features={RAW: (), **features},
        models=tuple(models),
        training=cast(Training, training),
        evaluation=cast(Evaluation, evaluation),
        infos=infos,
        contents=contents,
        step_contents=step_contents,
    )
    _check_references(experiment, problems)
    problems.raise_any()
    _check_fit(experiment, problems)
    problems.raise_any()
    return experiment


def _kind(group: str, value: Any, path: KeyPath, problems: Problems) -> Kind | None:
    if not isinstance(value, Mapping) or not isinstance(value.get("kind"), str):
        problems.add(path, "needs a key `kind`, as in {kind: ...}")
        return None
    try:
        return cast(Kind | None, parse(load_kind(group, value["kind"]), value, path, problems))
    except InputError as error:
        problems.add((*path, "kind"), error.problems[0])
        return None


def _chain(value: Any, path: KeyPath, problems: Problems) -> tuple[StepSpec, ...]:
    if not isinstance(value, list | tuple) or not value:
        problems.add(path, "needs a list of steps, as in [{kind: standardize}]")
        return ()
    steps = (_kind("preprocessing", step, (*path, i), problems) for i, step in enumerate(value))
    return tuple(cast(StepSpec, step) for step in steps if step)


def _model(value: Any, path: KeyPath, problems: Problems) -> Model | None:
    """Sort an entry's keys into its own, its family's and training's; check them all."""
    if not isinstance(value, Mapping) or not isinstance(value.get("kind"), str):
        problems.add(path, "needs a key `kind`, as in {kind: fnn}")
        return None
    try:
        family_type = load_kind("models", value["kind"])
    except InputError as error:
        problems.add((*path, "kind"), error.problems[0])
        return None
    strange = [key for key in value if not isinstance(key, str)]
    if strange:
        problems.add(path, f"a key must be a word, not {strange[0]!r}")
        return None
    own = {key: item for key, item in value.items() if key in ModelKeys.model_fields}
    training = {key: item for key, item in value.items() if key in Training.model_fields}
    family = {key: item for key, item in value.items() if key not in own and key not in training}
    allowed = [*family_type.model_fields, *Training.model_fields, *ModelKeys.model_fields]
    keys = parse(ModelKeys, own, path, problems)
    parse(family_type, {"kind": value["kind"], **family}, path, problems, allowed=allowed)
    parse(Training, training, path, problems)
    if not isinstance(keys, ModelKeys):
        return None
    named = keys.datasets or ()
    twice = [name for i, name in enumerate(named) if name in named[:i]]
    if twice:
        problems.add((*path, "datasets"), f"{twice[0]!r} appears twice; every dataset may appear once")
    sweepable = sorted({*family_type.model_fields, *Training.model_fields} - {"kind", "seeds"})
    for way, names in _swept(keys.sweep):
        for name in names:
            if name not in sweepable:
                hint = f"allowed: {', '.join(sweepable)}{suggest(name, sweepable)}"
                problems.add((*path, "sweep", *way, name), f"unknown parameter; {hint}")
                return None
    return Model(keys=keys, family=family, training=training)


def _swept(sweep: Sweep | None) -> list[tuple[tuple[str, ...], Iterable[str]]]:
    if sweep is None:
        return []
    drawn = sweep.random.parameters if sweep.random else {}
    return [(("grid",), sweep.grid or {}), (("zip",), sweep.zip or {}), (("random", "parameters"), drawn)]


def _place_in_sweep(model: Model, path: KeyPath, message: str) -> KeyPath:
    """Where a parameter that a message begins with is swept; the entry itself when it is not."""
    for way, names in _swept(model.keys.sweep):
        if any(re.match(rf"{re.escape(name)}\b", message) for name in names):
            return (*path, "sweep", *way)
    return path


def _look_up(name: str, dataset: DatasetSpec, library: Library, problems: Problems) -> tuple[DatasetSpec, Known] | None:
    """Find out what a dataset holds, settle how it is split, and whether that can work."""
    try:
        known = library.look_up(dataset)
        split: Split = resolve_split(dataset.split, known.info)
        planned_sizes(known.info, split)
    except (InputError, ValueError) as error:
        for line in error.problems if isinstance(error, InputError) else (str(error),):
            problems.add(("datasets", name), line)
        return None
    return dataset.model_copy(update={"split": split}), known


def _look_into_steps(
    features: Mapping[str, tuple[StepSpec, ...]], library: Library, problems: Problems
) -> tuple[dict[str, tuple[StepSpec, ...]], dict[str, str]]:
    """The steps with what their files say filled in, and SHA-256 of every such file by its name."""
    contents: dict[str, str] = {}
    chains: dict[str, tuple[StepSpec, ...]] = {}
    for name, steps in features.items():
        chain = []
        for i, step in enumerate(steps):
            try:
                for parameter, file in step.files().items():
                    contents[file.name] = library.digest(parameter, file.path, file.sha256)
                chain.append(step.filled_in())
            except (InputError, ValueError) as error:
                problems.add(("features", name, i), str(error))
        chains[name] = tuple(chain)
    return chains, contents


def _check_references(experiment: Experiment, problems: Problems) -> None:
    """Every name that is used must exist, and no two models may share one."""
    names = [model.name for model in experiment.models]
    for i, model in enumerate(experiment.models):
        if model.name in names[:i]:
            problems.add(("models", i), f"{model.name!r} appears twice; give one of the two another `name`")
        if model.keys.features not in experiment.features:
            allowed = list(experiment.features)
            hint = f"allowed: {', '.join(allowed)}{suggest(model.keys.features, allowed)}"
            problems.add(("models", i, "features"), f"unknown feature set {model.keys.features!r}; {hint}")
        for dataset in model.keys.datasets or ():
            if dataset not in experiment.datasets:
                allowed = list(experiment.datasets)
                hint = f"allowed: {', '.join(allowed)}{suggest(dataset, allowed)}"
                problems.add(("models", i, "datasets"), f"unknown dataset {dataset!r}; {hint}")
    baseline = experiment.evaluation.baseline
    if baseline is not None and baseline not in names:
        hint = f"allowed: {', '.join(names)}{suggest(baseline, names)}"
        problems.add(("evaluation", "baseline"), f"unknown model {baseline!r}; {hint}")


def _check_fit(experiment: Experiment, problems: Problems) -> None:
    """Every model must meet a dataset, read its features, and be allowed at every point of its sweep."""
    _check_corruption(experiment, problems)
    for i, model in enumerate(experiment.models):
        path: KeyPath = ("models", i)
        try:
            settings = experiment.settings(model)
        except InputError as error:
            problems.add(_place_in_sweep(model, path, error.problems[0]), error.problems[0])
            continue
        pairs = experiment.pairs(model)
        missing = set(model.keys.datasets or ()) - {dataset for dataset, _ in pairs}
        if missing or not pairs:
            tasks = cast(type[ModelSpec], load_kind("models", model.keys.kind)).tasks
            who = ", ".join(sorted(missing)) or "every dataset"
            problems.add(path, f"{model.keys.kind} serves {' and '.join(tasks)}, which does not fit {who}")
        for dataset, _ in pairs:
            _check_shapes(experiment, model, dataset, settings, path, problems)


def _check_shapes(
    experiment: Experiment,
    model: Model,
    dataset: str,
    settings: list[Setting],
    path: KeyPath,
    problems: Problems,
) -> None:
    try:
        info = experiment.features_info(dataset, model.keys.features)
    except ValueError as error:
        problems.add((), str(error))
        return
    try:
        for setting in settings:
            _check_setting(setting, info)
    except ValueError as error:
        problems.add(path, f"{error} (dataset {dataset}, features {model.keys.features})")


def _check_corruption(experiment: Experiment, problems: Problems) -> None:
    """Every kind of corruption must fit a model; others are left out of it."""
    fitting: set[str] = set()
    unfit: dict[str, str] = {}
    for model in experiment.models:
        for dataset, task in experiment.pairs(model):
            if task == "density":
                continue
            try:
                found, reasons = experiment.corruptions(dataset, model.keys.features)
            except ValueError:
                # Said of the model itself.
                continue
            fitting |= found.keys()
            where = f"(dataset {dataset}, features {model.keys.features})"
            unfit = {kind: f"{model.name} reads {what} {where}" for kind, what in reasons.items()} | unfit
    for kind, who in unfit.items():
        if kind not in fitting:
            needs = cast(type[CorruptionSpec], load_kind("corruptions", kind)).needs
            problems.add(("evaluation", "corruption", kind), f"needs a model that reads {needs}, and {who}")


def _check_setting(setting: Setting, info: DataInfo) -> None:
    """Raise ValueError for a model that cannot read such features, or cannot be trained on them like this."""
    spec = setting.spec
    if info.layout not in spec.reads:
        raise ValueError(f"{spec.kind} reads {' and '.join(spec.reads)} inputs, not {info.layout} ones")
    if info.has_missing:
        raise ValueError(f"{spec.kind} reads no missing values; put impute into its features")
    spec.check(info)
    for key in ("world_size", "accumulate"):
        # A mean over the steps of some sequences does not weigh as much as that over the steps of others.
        if info.layout == "ragged" and NEXT_STEP in info.tasks and getattr(setting.training, key) > 1:
            raise ValueError(f"{key}: steps of different sequences cannot be shared out; allowed here: 1")
