"""A trained run as a program that needs nothing of Headrace: features in, probabilities or numbers out."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from headrace.batching.batches import Padded
from headrace.errors import InputError
from headrace.inference.new_data import SealedRun
from headrace.inference.predictions import open_run, refuse_suffix, replaced
from headrace.inference.stepwise import write_stepwise
from headrace.inference.trained import TrainedRun
from headrace.models.base import Inputs, Shapes
from headrace.provenance.manifests import read_json, read_manifest, write_json

SUFFIXES = {"torch": ".pt2", "onnx": ".onnx"}
NEEDED = ("onnx", "onnxscript")
"""Packages that torch writes ONNX with."""
EXAMPLE_ROWS, EXAMPLE_STEPS = 3, 5
"""Neither 0 nor 1, which torch would take for a size that never changes; of two that are equal it might take one for
the other."""


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
        return self._predict(features)

    def _predict(self, features: Inputs) -> Tensor:
        predicted = self._family.predict(self.module(features), features, self._task)
        if self._task == "classification":
            return predicted["probabilities"]
        return predicted["prediction"] * self.deviation + self.mean


class RaggedProgram(Program):
    """The same for sequences of different lengths."""

    def __init__(self, run: TrainedRun) -> None:
        super().__init__(run)
        # The run itself goes on with the layers that it was trained with, which are faster.
        self.module = deepcopy(self.module)
        write_stepwise(self.module)

    def forward(self, values: Tensor, lengths: Tensor) -> Tensor:  # type: ignore[override]
        """(batch, steps, ...) with 0 behind the ends, and lengths (batch,) int64, to what Program gives."""
        return self._predict(Padded(values, lengths))


def export(run: SealedRun, form: str, output: Path | None) -> Path:
    """Write the program, and beside it a JSON file that says what it is; returns where. Raises InputError."""
    path = Path(f"{run.folder.name}{SUFFIXES[form]}") if output is None else output
    refuse_suffix(path, (SUFFIXES[form],))
    missing = [name for name in NEEDED if form == "onnx" and find_spec(name) is None]
    if missing:
        raise InputError(f"--format onnx needs what is not installed here: pip install {' '.join(missing)}")
    task = run.manifest["spec"]["shapes"]["task"]
    if task not in ("classification", "regression"):
        raise InputError(f"{run.folder.name}: was trained for {task}; allowed: classification and regression")
    trained = open_run(run, device="cpu")
    program, example = make_program(trained)
    with replaced(path, (SUFFIXES[form],)) as place, place.open("wb") as file:
        try:
            traced = trace_onnx(program, example) if form == "onnx" else trace(program, example)
        except Exception as error:
            # What torch cannot follow in a family it tells in errors of many classes.
            family, why = run.manifest["spec"]["family"]["kind"], " ".join(str(error).split())[:200]
            raise InputError(f"{run.folder.name}: torch cannot write {family} as a program: {why}") from None
        if isinstance(traced, bytes):
            file.write(traced)
        else:
            torch.export.save(traced, file)
    write_json(card_path(path), describe(run, trained.shapes, example))
    return path


def make_program(run: TrainedRun) -> tuple[Program, tuple[Tensor, ...]]:
    """What is traced, and inputs to trace it with."""
    shapes = run.shapes
    is_ragged, kind = shapes.layout == "ragged", torch.int64 if shapes.num_codes else torch.float32
    sizes = (EXAMPLE_ROWS, EXAMPLE_STEPS) if is_ragged else (EXAMPLE_ROWS,)
    example = torch.zeros((*sizes, *shapes.inputs), dtype=kind)
    program = (RaggedProgram if is_ragged else Program)(run).eval().requires_grad_(False)
    return program, (example, EXAMPLE_STEPS - torch.arange(EXAMPLE_ROWS)) if is_ragged else (example,)


def trace(program: Program, example: tuple[Tensor, ...]) -> torch.export.ExportedProgram:
    """The program for any number of samples, and of steps where these differ. Raises what torch raises."""
    with _unwarned():
        return torch.export.export(program, example, dynamic_shapes=_sizes_of(example))


def trace_onnx(program: Program, example: tuple[Tensor, ...]) -> bytes:
    """The same as a model of ONNX."""
    with _silenced():
        made = torch.onnx.export(program, example, dynamo=True, dynamic_shapes=_sizes_of(example), verbose=False)
    assert made is not None
    written: bytes = made.model_proto.SerializeToString()
    return written


def _sizes_of(example: tuple[Tensor, ...]) -> tuple[dict[int, torch.export.Dim], ...]:
    """The dimensions of the inputs whose sizes are free."""
    batch, steps = (torch.export.Dim(name, min=1) for name in ("batch", "steps"))
    return ({0: batch},) if len(example) == 1 else ({0: batch, 1: steps}, {0: batch})


@contextmanager
def _unwarned() -> Iterator[None]:
    """Recurrent cells keep a list of their own weights, which torch notices while it looks at them."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"The tensor attributes? .*_flat_weights")
        yield


@contextmanager
def _silenced() -> Iterator[None]:
    """While torch writes ONNX it tells of packages that are not here, and warns of how it was written itself."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def card_path(path: Path) -> Path:
    """Where it is said what a program is."""
    return path.with_name(f"{path.name}.json")


def describe_inputs(shapes: Shapes, example: tuple[Tensor, ...]) -> Mapping[str, Any]:
    """What the program reads: one array, or, of sequences of different lengths, two in this order."""
    kind = str(example[0].dtype).removeprefix("torch.")
    if shapes.layout != "ragged":
        return {"shape": ["batch", *shapes.inputs], "dtype": kind}
    return {
        "values": {
            "shape": ["batch", "steps", *shapes.inputs],
            "dtype": kind,
            **({"num_codes": shapes.num_codes} if shapes.num_codes else {}),
            "padding": "0 behind the end of a sequence; as many steps as the longest has, or more, but at least 1",
        },
        "lengths": {"shape": ["batch"], "dtype": "int64", "meaning": "steps of each sequence, without the padding"},
    }


def describe(run: SealedRun, shapes: Shapes, example: tuple[Tensor, ...]) -> Mapping[str, Any]:
    """What the program reads and gives, and which run it is."""
    spec, features = run.manifest["spec"], read_manifest(run.features)
    is_classifier = shapes.task == "classification"
    return {
        "run": {key: run.manifest[key] for key in ("id", "identity", "digest")},
        "task": shapes.task,
        "family": spec["family"],
        "training": {**spec["training"], "seed": spec["seed"]},
        "summary": read_json(run.folder / "summary.json"),
        "inputs": describe_inputs(shapes, example),
        "outputs": {
            "shape": ["batch", shapes.outputs],
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
