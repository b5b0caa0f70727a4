"""Evaluate: what the best epoch of each run predicts on the test split, as metrics with bootstrap intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from headrace import stores
from headrace.batches import SplitData, read_split
from headrace.jobs import Job, Making, Task, making
from headrace.logs import logger
from headrace.metrics import compute
from headrace.models.base import ModelSpec, Shapes
from headrace.provenance import read_json, read_manifest, write_json
from headrace.registry import restore
from headrace.training import make_deterministic

COMPUTES = ("batches", "stores", "metrics", "statistics", "training", "models.base")
JUDGED = ("validation", "test")
"""Validation chooses among the points of a sweep, so that test is looked at once."""
NUM_SHOWN = 12
"""Samples whose reconstruction is kept for the report."""


def run(job: Job) -> None:
    """Evaluate what is not sealed yet; a run that failed has nothing to evaluate."""
    data: dict[str, SplitData] = {}
    for task in job.pending():
        reason = task.input_failed("run")
        if reason is not None:
            logger.warning("evaluate %s: skipped, since its training failed: %s", task.id, reason)
            continue
        # All runs of a job read the same features.
        data = data or {split: read_split(task.input_folder("features"), split) for split in JUDGED}
        with making(task) as work:
            evaluate_one(task, work, data)


def evaluate_one(task: Task, work: Making, data: Mapping[str, SplitData]) -> None:
    """Predict, judge, and keep what the report shows of the test split."""
    folder = task.input_folder("run")
    manifest = read_manifest(folder)
    assert manifest is not None
    metrics = []
    for split in JUDGED:
        outputs = predict(folder, manifest["spec"], data[split])
        shown = {name: outputs.pop(name)[:NUM_SHOWN] for name in ("inputs", "mean") if name in outputs}
        judged = compute(
            manifest["spec"]["shapes"]["task"],
            outputs,
            num_resamples=task.spec["bootstrap"],
            seed=task.spec["seed"],
            confidence=task.spec["confidence"],
        )
        metrics += [{"split": split} | {key: _finite(value) for key, value in metric.items()} for metric in judged]
        if split == "test":
            stores.save_arrays(work.folder / "predictions.safetensors", outputs | shown)
            logger.info("evaluate %s: %s", task.id, ", ".join(f"{m['metric']} {m['value']:.4g}" for m in judged))
    write_json(work.folder / "metrics.json", metrics)


@torch.no_grad()
def predict(folder: Path, spec: Mapping[str, Any], data: SplitData) -> dict[str, np.ndarray]:
    """The outputs of a trained run for every sample, in the units of the data, and the targets."""
    shapes = Shapes(**{**spec["shapes"], "inputs": tuple(spec["shapes"]["inputs"])})
    family = restore("models", spec["family"], ModelSpec)
    device = torch.device(spec["training"]["device"])
    make_deterministic(spec["training"]["threads"])
    torch.manual_seed(spec["seed"])
    module = family.build(shapes)
    weights = stores.load_arrays(folder / "weights.safetensors")
    module.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
    module.to(device).eval()
    parts: list[dict[str, np.ndarray]] = []
    for inputs, _ in data.in_order(1024):
        moved = torch.from_numpy(inputs).to(device)
        predicted = family.predict(module(moved), moved, shapes.task)
        parts.append({name: values.cpu().numpy() for name, values in predicted.items()})
    outputs = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    if shapes.task == "density":
        return {**outputs, "inputs": data.inputs}
    assert data.target is not None
    if shapes.task == "regression":
        summary = read_json(folder / "summary.json")
        mean, deviation = np.array(summary["target_mean"]), np.array(summary["target_deviation"])
        outputs["prediction"] = outputs["prediction"] * deviation + mean
    return {**outputs, "target": data.target}


def _finite(value: Any) -> Any:
    """JSON has no NaN; an interval that cannot be had is null."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
