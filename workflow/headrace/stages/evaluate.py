"""Evaluate: what the best epoch of each run predicts on the test split, as metrics with bootstrap intervals."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from headrace.batching.batches import Batch, Split, open_split
from headrace.inference.bounds import bound_by_importance
from headrace.inference.corruption import add_noise, find_deviations
from headrace.inference.explanations import explain
from headrace.inference.grouping import read_groups
from headrace.inference.latents import map_samples, traverse
from headrace.inference.references import Series, make_references
from headrace.inference.trained import BATCH_SIZE, Outputs, TrainedRun, read_back
from headrace.judging.metrics import compute
from headrace.logs import logger
from headrace.models.base import Shapes
from headrace.provenance.digests import PICTURES
from headrace.provenance.manifests import read_manifest, write_json
from headrace.running.jobs import Job, Making, Task, making
from headrace.stores.arrays import save_arrays
from headrace.stores.groups import read_attributes
from headrace.stores.layout import STORE
from headrace.training.flops import flops_per_sample

COMPUTES = (
    "batching.ahead",
    "batching.batches",
    "batching.epochs",
    "batching.windows",
    "blocks",
    "inference.attributions",
    "inference.bounds",
    "inference.corruption",
    "inference.explanations",
    "inference.grouping",
    "inference.latents",
    "inference.occlusion",
    "inference.references",
    "inference.trained",
    "judging.calibration",
    "judging.metrics",
    "judging.rank_correlation",
    "judging.ranking",
    "judging.statistics",
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


def run(job: Job) -> None:
    """Evaluate what is not sealed yet; a run that failed has nothing to evaluate."""
    data: dict[str, Split] = {}
    deviations: Tensor | None = None
    for task in job.pending():
        if "run" not in task.inputs:
            with making(task) as work:
                judge_references(task, work)
            continue
        reason = task.input_failed("run")
        if reason is not None:
            logger.warning("evaluate %s: skipped, since its training failed: %s", task.id, reason)
            continue
        # All runs of a job read the same features.
        data = data or {split: open_split(task.input_folder("features"), split) for split in JUDGED}
        if deviations is None and "corruption" in task.spec:
            deviations = find_deviations(open_split(task.input_folder("features"), "train", resident_mib=0))
        with making(task) as work:
            evaluate_one(task, work, data, deviations)


def evaluate_one(task: Task, work: Making, data: Mapping[str, Split], deviations: Tensor | None) -> None:
    """Predict, judge, and keep what the report shows of the test split."""
    folder = task.input_folder("run")
    manifest = read_manifest(folder)
    assert manifest is not None
    trained = read_back(folder, manifest["spec"], manifest["spec"]["training"]["device"])
    metrics = []
    for split in JUDGED:
        outputs = predict(trained, data[split])
        means = outputs.pop("mean", None)
        bound = bound_test(task, trained, data[split]) if split == "test" else {}
        judged = judge(task, trained.shapes.task, split, outputs | bound)
        metrics += judged
        if split == "test":
            groups = read_groups(task.input_folder("features"), split) if "target" in outputs else {}
            shown = {} if means is None else pick_shown(data[split], means)
            save_arrays(work.folder / "predictions.safetensors", outputs | shown | groups)
            pictures = traverse(trained, data[split].in_order(BATCH_SIZE))
            pictures |= map_samples(trained, data[split].in_order(BATCH_SIZE), len(data[split]))
            if "attributions" in task.spec:
                shown, found = explain(trained, data[split], task.spec["attributions"], manifest["spec"]["seed"])
                pictures |= shown
                write_json(work.folder / "attributions.json", found)
            if pictures:
                save_arrays(work.folder / PICTURES, pictures)
            logger.info("evaluate %s: %s", task.id, _said(judged))
    write_json(work.folder / "metrics.json", metrics)
    if deviations is not None:
        write_json(work.folder / "corrupted.json", judge_corrupted(task, trained, data["test"], deviations))
    # Here and not in training, whose time it would take; all seeds of a job share what is counted.
    num_parameters = sum(parameter.numel() for parameter in trained.module.parameters())
    work.execution["flops_per_sample"] = flops_per_sample(trained.family, trained.shapes, num_parameters)


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
    found = []
    for reference in make_references(shapes, train, judged, seed=spec["seed"], series=open_series(task)):
        metrics = [
            row
            for split in JUDGED
            for row in judge(task, shapes.task, split, reference.outputs[split])
            if row["metric"] in reference.metrics
        ]
        found.append({"name": reference.name, "about": reference.about, "metrics": metrics})
        said = _said([row for row in metrics if row["split"] == "test"])
        logger.info("evaluate %s: %s: %s", task.id, reference.name, said)
    write_json(work.folder / "references.json", found)


def open_series(task: Task) -> Series | None:
    """The windows that a forecast begins with, in the units of the data; None where not all of it was seen before."""
    if "shards" not in task.inputs:
        return None
    folder = task.input_folder("shards")
    said = read_attributes(folder / STORE)
    names, wanted = said["feature_names"], said["target_columns"]
    if not set(wanted) <= set(names):
        return None
    windows = {split: open_split(folder, split, resident_mib=0) for split in JUDGED}
    return Series(windows, [names.index(name) for name in wanted], said["horizon"])


def judge(task: Task, kind: str, split: str, outputs: Outputs) -> list[dict[str, Any]]:
    """The rows of every metric of a kind of task, with intervals as the experiment asks for them."""
    rows = compute(
        kind,
        outputs,
        num_resamples=task.spec["bootstrap"],
        seed=task.spec["seed"],
        confidence=task.spec["confidence"],
    )
    return [{"split": split} | {key: _finite(value) for key, value in row.items()} for row in rows]


def _said(rows: Iterable[Mapping[str, Any]]) -> str:
    """Metrics in a line of a log."""
    return ", ".join(f"{row['metric']} {math.nan if row['value'] is None else row['value']:.4g}" for row in rows)


def judge_corrupted(task: Task, run: TrainedRun, data: Split, deviations: Tensor) -> list[dict[str, Any]]:
    """The metrics on noisy inputs of the test split: a row a metric and strength."""
    rows = []
    for strength in task.spec["corruption"]["noise"]:
        noisy = add_noise(data.in_order(BATCH_SIZE), deviations, strength, task.spec["seed"])
        judged = judge(task, run.shapes.task, "test", gather(run, noisy))
        rows += [{"corruption": "noise", "strength": strength} | row for row in judged]
        logger.info("evaluate %s: noise %g: %s", task.id, strength, _said(judged))
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
    inputs: list[np.ndarray] = []
    start = 0
    for batch in data.in_order(BATCH_SIZE):
        assert isinstance(batch.inputs, torch.Tensor)
        own = chosen[(chosen >= start) & (chosen < start + len(batch))]
        inputs.append(batch.inputs[own - start].numpy())
        start += len(batch)
    return {"inputs": np.concatenate(inputs), "mean": means[chosen]}


def _finite(value: Any) -> Any:
    """JSON has no NaN; an interval that cannot be had is null."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
