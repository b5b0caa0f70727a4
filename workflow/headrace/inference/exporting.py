"""A trained run as a program that needs nothing of Headrace: features in, probabilities or numbers out."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from headrace.errors import InputError
from headrace.inference.new_data import SealedRun
from headrace.inference.predictions import open_run, refuse_suffix, replaced
from headrace.inference.trained import TrainedRun
from headrace.provenance import read_json, read_manifest, write_json

SUFFIXES = {"torch": ".pt2", "onnx": ".onnx"}
NEEDED = ("onnx", "onnxscript")
"""Packages that torch writes ONNX with."""
EXAMPLE_ROWS = 3
"""Neither 0 nor 1, which torch would take for a size that never changes."""


class Program(nn.Module):
    """The module of a run and what follows it: softmax, or the way back to the units of the data."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, run: TrainedRun) -> None:
        super().__init__()
        # An archive holds weights in C order; of those that lie channels last torch would warn.
        self.module = run.module.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        self._family, self._task = run.family, run.shapes.task
        mean, deviation = run.scale if run.scale is not None else (0.0, 1.0)
        # In float64, as `predict` computes with them.
        self.register_buffer("mean", torch.as_tensor(mean, dtype=torch.float64))
        self.register_buffer("deviation", torch.as_tensor(deviation, dtype=torch.float64))

    def forward(self, features: Tensor) -> Tensor:
        """(batch, ...) to probabilities (batch, classes), or to numbers (batch, outputs) in float64."""
        predicted = self._family.predict(self.module(features), features, self._task)
        if self._task == "classification":
            return predicted["probabilities"]
        return predicted["prediction"] * self.deviation + self.mean


def export(run: SealedRun, form: str, output: Path | None) -> Path:
    """Write the program, and beside it a JSON file that says what it is; returns where. Raises InputError."""
    path = Path(f"{run.folder.name}{SUFFIXES[form]}") if output is None else output
    refuse_suffix(path, (SUFFIXES[form],))
    missing = [name for name in NEEDED if form == "onnx" and find_spec(name) is None]
    if missing:
        raise InputError(f"--format onnx needs what is not installed here: pip install {' '.join(missing)}")
    shapes = run.manifest["spec"]["shapes"]
    if shapes["task"] not in ("classification", "regression"):
        task = shapes["task"]
        raise InputError(f"{run.folder.name}: was trained for {task}; allowed: classification and regression")
    if shapes.get("layout") == "ragged":
        raise InputError(f"{run.folder.name}: reads ragged features; allowed: dense and sparse, which is filled up")
    trained = open_run(run, device="cpu")
    program = Program(trained).eval().requires_grad_(False)
    example = torch.zeros(
        (EXAMPLE_ROWS, *trained.shapes.inputs), dtype=torch.int64 if trained.shapes.num_codes else torch.float32
    )
    batch = ({0: torch.export.Dim("batch", min=1)},)
    with replaced(path, (SUFFIXES[form],)) as place, place.open("wb") as file, _unwarned():
        if form == "onnx":
            made = torch.onnx.export(program, (example,), dynamo=True, dynamic_shapes=batch, verbose=False)
            assert made is not None
            file.write(made.model_proto.SerializeToString())
        else:
            torch.export.save(torch.export.export(program, (example,), dynamic_shapes=batch), file)
    write_json(card_path(path), describe(run, example))
    return path


@contextmanager
def _unwarned() -> Iterator[None]:
    """Recurrent cells keep a list of their own weights, which torch notices while it looks at them."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"The tensor attributes? .*_flat_weights")
        yield


def card_path(path: Path) -> Path:
    """Where it is said what a program is."""
    return path.with_name(f"{path.name}.json")


def describe(run: SealedRun, example: Tensor) -> Mapping[str, Any]:
    """What the program reads and gives, and which run it is."""
    spec, features = run.manifest["spec"], read_manifest(run.features)
    is_classifier = spec["shapes"]["task"] == "classification"
    return {
        "run": {key: run.manifest[key] for key in ("id", "identity", "digest")},
        "task": spec["shapes"]["task"],
        "family": spec["family"],
        "training": {**spec["training"], "seed": spec["seed"]},
        "summary": read_json(run.folder / "summary.json"),
        "inputs": {"shape": ["batch", *spec["shapes"]["inputs"]], "dtype": str(example.dtype).removeprefix("torch.")},
        "outputs": {
            "shape": ["batch", spec["shapes"]["outputs"]],
            "meaning": "probabilities" if is_classifier else "predictions in the units of the data",
            **({"class_names": run.class_names} if is_classifier else {}),
        },
        "features": {
            "artifact": run.features.name,
            # The program begins behind them; `headrace predict` applies them itself.
            "steps": features["spec"].get("steps", []) if features else None,
        },
        "versions": run.manifest["environment"]["versions"],
    }
