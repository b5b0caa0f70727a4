"""Evaluate: what the best epoch of each run predicts on the test split, as metrics with bootstrap intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from headrace.batches import Split, open_split
from headrace.digests import PICTURES
from headrace.inference.grouping import read_groups
from headrace.inference.latents import traverse
from headrace.inference.trained import BATCH_SIZE, Outputs, TrainedRun, read_back
from headrace.jobs import Job, Making, Task, making
from headrace.logs import logger
from headrace.metrics import compute
from headrace.provenance import read_manifest, write_json
from headrace.stores.arrays import save_arrays
from headrace.training.flops import flops_per_sample

COMPUTES = (
    "ahead",
    "batches",
    "blocks",
    "calibration",
    "epochs",
    "inference.grouping",
    "inference.latents",
    "inference.trained",
    "metrics",
    "models.base",
    "ranking",
    "statistics",
    "stores.arrays",
    "stores.foreign",
    "stores.groups",
    "stores.layout",
    "stores.reading",
    "stores.shards",
    "stores.writing",
    "training.generators",
    "training.targets",
    "windows",
)
JUDGED = ("validation", "test")
"""Validation chooses among the points of a sweep, so that test is looked at once."""
NUM_SHOWN = 12
"""Samples whose reconstruction is kept for the report."""


def run(job: Job) -> None:
    """Evaluate what is not sealed yet; a run that failed has nothing to evaluate."""
    data: dict[str, Split] = {}
    for task in job.pending():
        reason = task.input_failed("run")
        if reason is not None:
            logger.warning("evaluate %s: skipped, since its training failed: %s", task.id, reason)
            continue
        # All runs of a job read the same features.
        data = data or {split: open_split(task.input_folder("features"), split) for split in JUDGED}
        with making(task) as work:
            evaluate_one(task, work, data)


def evaluate_one(task: Task, work: Making, data: Mapping[str, Split]) -> None:
    """Predict, judge, and keep what the report shows of the test split."""
    folder = task.input_folder("run")
    manifest = read_manifest(folder)
    assert manifest is not None
    trained = read_back(folder, manifest["spec"], manifest["spec"]["training"]["device"])
    metrics = []
    for split in JUDGED:
        outputs = predict(trained, data[split])
        shown = {name: outputs.pop(name)[:NUM_SHOWN] for name in ("inputs", "mean") if name in outputs}
        judged = compute(
            trained.shapes.task,
            outputs,
            num_resamples=task.spec["bootstrap"],
            seed=task.spec["seed"],
            confidence=task.spec["confidence"],
        )
        metrics += [{"split": split} | {key: _finite(value) for key, value in metric.items()} for metric in judged]
        if split == "test":
            groups = read_groups(task.input_folder("features"), split) if "target" in outputs else {}
            save_arrays(work.folder / "predictions.safetensors", outputs | shown | groups)
            if pictures := traverse(trained, data[split].in_order(BATCH_SIZE)):
                save_arrays(work.folder / PICTURES, pictures)
            logger.info("evaluate %s: %s", task.id, ", ".join(f"{m['metric']} {m['value']:.4g}" for m in judged))
    write_json(work.folder / "metrics.json", metrics)
    # Here and not in training, whose time it would take; all seeds of a job share what is counted.
    num_parameters = sum(parameter.numel() for parameter in trained.module.parameters())
    work.execution["flops_per_sample"] = flops_per_sample(trained.family, trained.shapes, num_parameters)


def predict(run: TrainedRun, data: Split) -> Outputs:
    """The outputs of a trained run for every sample, in the units of the data, and the targets."""
    parts: list[Outputs] = []
    for batch, outputs in run.predict(data.in_order(BATCH_SIZE)):
        parts.append(outputs if batch.target is None else {**outputs, "target": batch.target.numpy()})
    outputs = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    if run.shapes.task == "density":
        outputs.pop("target", None)
        first = next(data.in_order(NUM_SHOWN)).inputs
        return {**outputs, "inputs": first.numpy()} if isinstance(first, torch.Tensor) else outputs
    return outputs


def _finite(value: Any) -> Any:
    """JSON has no NaN; an interval that cannot be had is null."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
