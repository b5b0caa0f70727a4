"""Networks with more than weights and noise: trained from stores, interrupted, stored and judged as the stages do."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from headrace.batching.batches import Split, open_split
from headrace.blocks import Block, Ragged
from headrace.experiments.config import Training
from headrace.inference.trained import read_back
from headrace.models.base import ModelSpec, Shapes
from headrace.provenance import checkpoints
from headrace.provenance.digests import content_of
from headrace.registry import restore
from headrace.stages.evaluate import predict
from headrace.stores.arrays import save_arrays
from headrace.stores.layout import Layout
from headrace.training import loop
from headrace.training.loop import Trained, train
from sample_stores import write_artifact

SIZES = {"train": 41, "validation": 20}
"""The last batch of an epoch is a single sample."""
TRAINING = Training(epochs=3, batch_size=8, learning_rate=0.01, device="cpu")
IMAGES, SEQUENCES, STEPS = (4, 6), (6, 3), (3,)
RAGGED = Shapes(STEPS, 2, "classification", "ragged")
CODES = Shapes((7,), 5, "next_step", num_codes=5)
CASES: dict[str, tuple[dict[str, Any], Shapes]] = {
    "residual cnn": (
        {"kind": "cnn", "blocks": "residual", "channels": [4, 6], "hidden": 8, "dropout": 0.2},
        Shapes(IMAGES, 2, "classification"),
    ),
    "cnn along steps": (
        {"kind": "cnn", "blocks": "residual", "channels": [4], "hidden": 8},
        Shapes(SEQUENCES, 2, "classification", is_sequence=True),
    ),
    "rnn": ({"kind": "rnn", "bidirectional": True, "layers": 2, "hidden": 5, "dropout": 0.2}, RAGGED),
    "transformer": ({"kind": "transformer", "width": 8, "heads": 2, "layers": 2, "read": "token"}, RAGGED),
    "decoder": ({"kind": "transformer", "width": 8, "heads": 2, "position": "learned"}, CODES),
    "rnn that says what comes next": ({"kind": "rnn", "layers": 2, "hidden": 5, "dropout": 0.2}, CODES),
    "convolutional vae": (
        {"kind": "vae", "architecture": "convolutional", "channels": [4], "hidden": 8, "latent": 2, "beta": 2.0},
        Shapes(IMAGES, 0, "density"),
    ),
}


def draw(shapes: Shapes, number: int, seed: int) -> dict[str, Block]:
    generator = np.random.default_rng(seed)
    target = np.arange(number) % 2
    if shapes.num_codes:
        return {"inputs": ((target[:, None] + generator.integers(0, 3, (number, *shapes.inputs))) % 5).astype(np.uint8)}
    if shapes.layout == "ragged":
        rows = [
            generator.normal(size=(length, *STEPS)) + which
            for length, which in zip(generator.integers(0, 9, number), target, strict=True)
        ]
        return {"inputs": Ragged.of(rows, np.float32), "target": target}
    inputs = generator.uniform(size=(number, *shapes.inputs)) * (0.5 + 0.5 * target[:, None, None])
    values = {"inputs": inputs.astype(np.float32)}
    return values if shapes.task == "density" else {**values, "target": target}


def open_data(shapes: Shapes, folder: Path) -> dict[str, Split]:
    blocks = {split: draw(shapes, number, seed) for seed, (split, number) in enumerate(SIZES.items())}
    write_artifact(folder, blocks, Layout(sum(SIZES.values()), 50, 10), {"num_codes": shapes.num_codes})
    return {split: open_split(folder, split) for split in SIZES}


def content(trained: Trained) -> tuple[Any, ...]:
    """All that a run leaves behind but what it took."""
    weights = {name: value.numpy().tobytes() for name, value in trained.weights.items()}
    return weights, content_of(trained.curves), trained.best_epoch


class Interrupted(BaseException):
    pass


@pytest.mark.parametrize("case", CASES)
def test_a_run_goes_on_with_the_same_bits_and_is_judged_as_it_was_validated(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parameters, shapes = CASES[case]
    monkeypatch.setattr(loop, "SAVE_S", 0.0)
    spec, data = restore("models", parameters, ModelSpec), open_data(shapes, tmp_path / "data")
    whole = train(spec, shapes, TRAINING, 3, data, tmp_path / "whole")

    save = checkpoints.save

    def save_and_stop(folder: Path, state: dict[str, Any]) -> None:
        save(folder, state)
        if len(state["curves"]) == 1:
            raise Interrupted

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "save", save_and_stop)
        with pytest.raises(Interrupted):
            train(spec, shapes, TRAINING, 3, data, tmp_path / "cut")
    torch.rand(5)
    resumed = train(spec, shapes, TRAINING, 3, data, tmp_path / "cut")
    assert resumed.resumed_from == 1
    assert content(resumed) == content(whole)

    save_arrays(tmp_path / "weights.safetensors", {name: value.numpy() for name, value in whole.weights.items()})
    told = {
        "shapes": asdict(shapes),
        "family": spec.model_dump(mode="json"),
        "training": TRAINING.model_dump(mode="json"),
        "seed": 3,
    }
    outputs = predict(read_back(tmp_path, told, "cpu"), data["validation"])
    best = whole.curves[whole.best_epoch - 1]
    if shapes.task == "density":
        weighted = 2 * outputs["neg_elbo"] - outputs["reconstruction"]
        # The posterior is sampled again, by other noise.
        assert weighted.mean() == pytest.approx(best["validation_loss"], rel=0.02)
    elif shapes.task == "next_step":
        assert outputs["nats"].sum() / outputs["steps"].sum() == pytest.approx(best["validation_loss"])
    else:
        right = outputs["probabilities"].argmax(axis=1) == outputs["target"]
        assert right.mean() == pytest.approx(best["validation_accuracy"])
