"""Evaluate: what the best epoch of each run predicts on the test split, as metrics with bootstrap intervals."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from headrace.batching.batches import Batch, Split, open_split
from headrace.corruptions.base import CorruptionSpec, Original
from headrace.inference.bounds import bound_by_importance
from headrace.inference.chosen import read_rows
from headrace.inference.corruption import corrupt, measure_inputs
from headrace.inference.explanations import explain
from headrace.inference.grouping import read_groups
from headrace.inference.latents import picture_latents
from headrace.inference.references import make_references
from headrace.inference.series import Series, open_series
from headrace.inference.trained import BATCH_SIZE, Outputs, TrainedRun, read_back
from headrace.judging.metrics import MAIN_METRICS, RESAMPLES, resample, tabulate
from headrace.logs import logger
from headrace.models.base import Shapes
from headrace.provenance.digests import ATTRIBUTIONS, PICTURES
from headrace.provenance.manifests import read_manifest, write_json
from headrace.registry import restore
from headrace.running.jobs import Job, Making, Task, making
from headrace.stores.arrays import save_arrays
from headrace.training.flops import flops_per_sample
from headrace.training.targets import TargetScale, target_scale

COMPUTES = (
    "batching.ahead",
    "batching.batches",
    "batching.epochs",
    "batching.windows",
    "blocks",
    "inference.attributions",
    "inference.bounds",
    "inference.corruption",
    "inference.chosen",
    "inference.explanations",
    "inference.grouping",
    "inference.latents",
    "inference.occlusion",
    "inference.references",
    "inference.series",
    "inference.trained",
    "judging.calibration",
    "judging.checks",
    "judging.metrics",
    "judging.rank_correlation",
    "judging.ranking",
    "judging.regression",
    "judging.statistics",
    "judging.weighted",
    "linalg.blocks",
    "linalg.centred",
    "linalg.compiled",
    "linalg.distances",
    "linalg.kernels",
    "linalg.matrix",
    "linalg.residence",
    "models.base",
    "stores.arrays",
    "stores.foreign",
    "stores.groups",
    "stores.layout",
    "stores.reading",
    "stores.shards",
    "stores.writing",
    "training.generators",
    "training.targets",
)
JUDGED = ("validation", "test")
"""Validation chooses among the points of a sweep, so that test is looked at once."""
NUM_SHOWN = 12
"""Samples whose reconstruction is kept for the report."""


@dataclass(frozen=True)
class Shared:
    """What all runs of a job are judged on: they read the same features."""

    data: Mapping[str, Split]
    series: Mapping[str, Outputs] | None
    """By split, what a forecast is held against; None where there is none."""
    measured: tuple[Tensor | None, Tensor | None]
    """Mean and deviation of the training inputs, where a corruption needs them."""

    @classmethod
    def of(cls, task: Task) -> Shared:
        """Open and measure what a run needs."""
        folder = task.input_folder("features")
        measured: tuple[Tensor | None, Tensor | None] = (None, None)
        if any(spec.reads_training for spec in list_corruptions(task)):
            measured = measure_inputs(open_split(folder, "train", resident_mib=0))
        series = find_series(task)
        held_against = None if series is None else {split: series.measures(split) for split in JUDGED}
        return cls({split: open_split(folder, split) for split in JUDGED}, held_against, measured)


def run(job: Job) -> None:
    """Evaluate what is not sealed yet; a run that failed has nothing to evaluate."""
    shared: Shared | None = None
    for task in job.pending():
        if "run" not in task.inputs:
            with making(task) as work:
                judge_references(task, work)
            continue
        reason = task.input_failed("run")
        if reason is not None:
            logger.warning("evaluate %s: skipped, since its training failed: %s", task.id, reason)
            continue
        shared = shared or Shared.of(task)
        with making(task) as work:
            evaluate_one(task, work, shared)


def evaluate_one(task: Task, work: Making, shared: Shared) -> None:
    """Predict, judge, and keep what the report shows of the test split."""
    folder = task.input_folder("run")
    manifest = read_manifest(folder)
    assert manifest is not None
    trained = read_back(folder, manifest["spec"], manifest["spec"]["training"]["device"])
    data, metrics = shared.data, []
    beside = find_measures(trained.shapes, shared.series, trained.scale)
    for split in JUDGED:
        outputs = predict(trained, data[split])
        means = outputs.pop("mean", None)
        bound = bound_test(task, trained, data[split]) if split == "test" else {}
        judged, resampled = judge(task, trained.shapes.task, split, outputs | bound | beside[split])
        metrics += judged
        if split == "test":
            groups = read_groups(task.input_folder("features"), split) if "target" in outputs else {}
            shown = {} if means is None else pick_shown(data[split], means)
            save_arrays(work.folder / "predictions.safetensors", outputs | shown | groups)
            keep_resamples(work, {MAIN_METRICS[trained.shapes.task]: resampled})
            keep_pictures(task, work, trained, data[split], manifest["spec"]["seed"])
            logger.info("evaluate %s: %s", task.id, _said(judged))
    write_json(work.folder / "metrics.json", metrics)
    if "corruption" in task.spec:
        original = Original(trained.shapes.is_sequence, *shared.measured)
        worse = judge_corrupted(task, trained, data["test"], original, beside["test"])
        write_json(work.folder / "corrupted.json", worse)
    # Here and not in training, whose time it would take; all seeds of a job share what is counted.
    num_parameters = sum(parameter.numel() for parameter in trained.module.parameters())
    work.execution["flops_per_sample"] = flops_per_sample(trained.family, trained.shapes, num_parameters)


def keep_pictures(task: Task, work: Making, run: TrainedRun, data: Split, seed: int) -> None:
    """What the report shows and no metric follows from, and what is said of attributions; `seed` is the run's."""
    pictures = picture_latents(run, data.in_order(BATCH_SIZE))
    if asked := task.spec.get("attributions"):
        explained, said = explain(run, data, asked, seed)
        pictures |= explained
        write_json(work.folder / ATTRIBUTIONS, said)
    if pictures:
        save_arrays(work.folder / PICTURES, pictures)


def bound_test(task: Task, run: TrainedRun, data: Split) -> Outputs:
    """The tighter bound of each sample, for a density that has a latent space."""
    if run.shapes.task != "density":
        return {}
    draws, seed = task.spec["importance_draws"], task.spec["seed"]
    found = bound_by_importance(run, data.in_order(BATCH_SIZE), num_draws=draws, seed=seed)
    return {} if found is None else {"neg_iw_bound": found}


def judge_references(task: Task, work: Making) -> None:
    """What predictors without training reach on the features of a job, judged as its runs are."""
    spec, folder = task.spec["reference"], task.input_folder("features")
    shapes = Shapes(**{**spec["shapes"], "inputs": tuple(spec["shapes"]["inputs"])})
    # Read through once and not kept.
    train, *rest = (open_split(folder, split, resident_mib=0) for split in ("train", *JUDGED))
    judged = dict(zip(JUDGED, rest, strict=True))
    series = find_series(task)
    held_against = None if series is None else {split: series.measures(split) for split in JUDGED}
    beside = find_measures(shapes, held_against, target_scale(train) if shapes.task == "regression" else None)
    found, resamples = [], {}
    for reference in make_references(shapes, train, judged, seed=spec["seed"], series=series):
        metrics = []
        for split in JUDGED:
            rows, resampled = judge(task, shapes.task, split, reference.outputs[split] | beside[split])
            metrics += [row for row in rows if row["metric"] in reference.metrics]
            if split == "test":
                resamples[reference.name] = resampled
        found.append({"name": reference.name, "about": reference.about, "metrics": metrics})
        said = _said([row for row in metrics if row["split"] == "test"])
        logger.info("evaluate %s: %s: %s", task.id, reference.name, said)
    write_json(work.folder / "references.json", found)
    keep_resamples(work, resamples)


def find_series(task: Task) -> Series | None:
    """The series that a task is to forecast; None where that isn't its task."""
    return open_series(task.input_folder("shards"), JUDGED) if "shards" in task.inputs else None


def find_measures(
    shapes: Shapes, series: Mapping[str, Outputs] | None, scale: TargetScale | None
) -> Mapping[str, Outputs]:
    """By split, what metrics need beside outputs: of forecasts what the series says, of several numbers `scale`."""
    if series is not None:
        return series
    own: Outputs = {"deviation": scale[1]} if scale is not None and shapes.outputs > 1 else {}
    return dict.fromkeys(JUDGED, own)


def judge(task: Task, kind: str, split: str, outputs: Outputs) -> tuple[list[dict[str, Any]], np.ndarray]:
    """The rows of every metric of a kind of task, with intervals as the experiment asks for them.

    Beside them the main metric on every resample: (resamples,) float32.
    """
    plain, resampled = resample(kind, outputs, num_resamples=task.spec["bootstrap"], seed=task.spec["seed"])
    rows = tabulate(plain, resampled, task.spec["confidence"])
    told = [{"split": split} | {key: _finite(value) for key, value in row.items()} for row in rows]
    return told, to_float32(resampled[MAIN_METRICS[kind]])


def to_float32(values: np.ndarray) -> np.ndarray:
    """Half the room; what is too large for it becomes infinite."""
    with np.errstate(over="ignore"):
        return values.astype(np.float32)


def keep_resamples(work: Making, found: dict[str, np.ndarray]) -> None:
    """Write what was found on the resamples of the test split, by metric or by reference, where there are any."""
    if any(len(values) for values in found.values()):
        save_arrays(work.folder / RESAMPLES, found)


def _said(rows: Iterable[Mapping[str, Any]]) -> str:
    """Metrics in a line of a log."""
    return ", ".join(f"{row['metric']} {math.nan if row['value'] is None else row['value']:.4g}" for row in rows)


def list_corruptions(task: Task) -> list[CorruptionSpec]:
    """What is done to the test inputs of a run."""
    asked = task.spec.get("corruption", {})
    return [
        restore("corruptions", {"kind": kind, "strengths": strengths}, CorruptionSpec)
        for kind, strengths in asked.items()
    ]


def judge_corrupted(
    task: Task, run: TrainedRun, data: Split, original: Original, beside: Outputs
) -> list[dict[str, Any]]:
    """The metrics on inputs of the test split made worse: a row a metric, strength and kind of corruption.

    `beside` is what they need beside outputs.
    """
    rows = []
    for spec in list_corruptions(task):
        for strength in spec.strengths:
            worse = corrupt(spec, data.in_order(BATCH_SIZE), strength, original, task.spec["seed"])
            judged, _ = judge(task, run.shapes.task, "test", gather(run, worse) | beside)
            rows += [{"corruption": spec.kind, "strength": strength} | row for row in judged]
            logger.info("evaluate %s: %s %g: %s", task.id, spec.kind, strength, _said(judged))
    return rows


def gather(run: TrainedRun, batches: Iterable[Batch]) -> Outputs:
    """The outputs of a trained run for all samples of batches, and the targets."""
    parts: list[Outputs] = []
    for batch, outputs in run.predict(batches):
        parts.append(outputs if batch.target is None else {**outputs, "target": batch.target.numpy()})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def predict(run: TrainedRun, data: Split) -> Outputs:
    """The outputs of a trained run for every sample, in the units of the data, and the targets."""
    outputs = gather(run, data.in_order(BATCH_SIZE))
    if run.shapes.task == "density":
        outputs.pop("target", None)
    return outputs


def pick_shown(data: Split, means: np.ndarray) -> Outputs:
    """Some inputs and what is made of them; spread over the split, which may be in the order of its classes."""
    chosen = np.unique(np.linspace(0, len(data) - 1, NUM_SHOWN).round().astype(np.int64))
    return {"inputs": read_rows(data, chosen).numpy(), "mean": means[chosen]}


def _finite(value: Any) -> Any:
    """JSON has no NaN; an interval that cannot be had is null."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
