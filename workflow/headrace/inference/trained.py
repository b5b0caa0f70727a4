"""A trained run, read back: the module with the weights of its best epoch, and what it predicts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from headrace.batching.batches import Batch, move
from headrace.models.base import ModelSpec, Shapes
from headrace.provenance.manifests import read_json
from headrace.registry import restore
from headrace.stores.arrays import load_arrays
from headrace.training.generators import generator_states, make_deterministic, set_generator_states
from headrace.training.targets import TargetScale

BATCH_SIZE = 1024
"""Samples that are predicted at once. The last bits of a product may depend on it."""
Outputs = dict[str, np.ndarray]


@dataclass(frozen=True)
class TrainedRun:
    """What is needed to predict."""

    family: ModelSpec
    shapes: Shapes
    module: nn.Module
    device: torch.device
    scale: TargetScale | None
    """Mean and deviation (outputs,) that bring predicted numbers into the units of the data."""
    generators: Mapping[str, Tensor]
    """Where noise is drawn from, so that the same rows are given the same."""

    def predict(self, batches: Iterable[Batch]) -> Iterator[tuple[Batch, Outputs]]:
        """Every batch with what is predicted of it, (batch, ...), numbers in the units of the data."""
        set_generator_states(self.device, self.generators)
        for batch in batches:
            inputs = move(batch.inputs, self.device)
            with torch.no_grad():
                predicted = self.family.predict(self.module(inputs), inputs, self.shapes.task)
            outputs = {name: values.cpu().numpy() for name, values in predicted.items()}
            if self.scale is not None:
                mean, deviation = self.scale
                outputs["prediction"] = outputs["prediction"] * deviation + mean
            yield batch, outputs


def read_back(folder: Path, spec: Mapping[str, Any], device: str) -> TrainedRun:
    """The run that a sealed artifact of `train` holds; `spec` is what its manifest says of it."""
    shapes = Shapes(**{**spec["shapes"], "inputs": tuple(spec["shapes"]["inputs"])})
    family = restore("models", spec["family"], ModelSpec)
    make_deterministic(spec["training"]["threads"])
    torch.manual_seed(spec["seed"])
    module = family.build(shapes)
    generators = generator_states(torch.device(device))
    weights = load_arrays(folder / "weights.safetensors")
    module.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
    module.to(torch.device(device)).eval()
    scale: TargetScale | None = None
    if shapes.task == "regression":
        summary = read_json(folder / "summary.json")
        scale = np.array(summary["target_mean"]), np.array(summary["target_deviation"])
    return TrainedRun(family, shapes, module, torch.device(device), scale, generators)
