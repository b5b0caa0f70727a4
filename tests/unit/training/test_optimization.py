"""Updates agree with torch's own, written out step by step; options change what they say and nothing else."""

import itertools
import math
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight
from torch import nn
from torch.nn import functional

from headrace.batching.batches import Batch, Padded, Split, open_split
from headrace.experiments.config import Training
from headrace.models.base import ModelSpec, Shapes
from headrace.provenance import checkpoints
from headrace.registry import restore
from headrace.stores.layout import Layout
from headrace.training import loop
from headrace.training.loop import Trained, begin, train
from headrace.training.optimization import learning_rate
from headrace.training.run import Run
from headrace.training.targets import balanced_weights
from sample_stores import write_artifact

SAMPLES, BATCH = 70, 16
SHAPES = Shapes((6,), 3, "classification")
SPEC = restore("models", {"kind": "fnn", "hidden": (8,), "dropout": 0.0}, ModelSpec)


@pytest.fixture(scope="module")
def data() -> dict[str, Split]:
    generator = np.random.default_rng(3)
    arrays = {}
    for name, count in (("train", SAMPLES), ("validation", 30)):
        inputs = generator.normal(size=(count, 6)).astype(np.float32)
        target = np.digitize(inputs[:, 0] + 0.5 * inputs[:, 1], [0.3, 1.2]).astype(np.int64)
        arrays[name] = {"inputs": inputs, "target": target}
    folder = write_artifact(Path(tempfile.mkdtemp()), arrays, Layout(SAMPLES + 30, 50, 10))
    return {name: open_split(folder, name) for name in arrays}


def settings(**chosen: Any) -> Training:
    own = {"epochs": 3, "batch_size": BATCH, "learning_rate": 0.02, "optimizer": "sgd", "device": "cpu"}
    return Training.model_validate({**own, **chosen})


def trained(data: dict[str, Split], folder: Path, **chosen: Any) -> Trained:
    return train(SPEC, SHAPES, settings(**chosen), 5, data, folder)


def by_hand(data: dict[str, Split], chosen: Training) -> tuple[nn.Module, list[float]]:
    """Plain steps of SGD with what was chosen, as torch's documentation writes them; the norms of all gradients."""
    torch.manual_seed(5)
    torch.set_num_threads(1)
    module = SPEC.build(SHAPES)
    optimizer = torch.optim.SGD(module.parameters(), lr=chosen.learning_rate, momentum=0.9)
    steps, norms = itertools.count(), []
    for epoch in range(1, chosen.epochs + 1):
        for batch in data["train"].epoch(chosen.batch_size, 5, epoch):
            optimizer.param_groups[0]["lr"] = learning_rate(chosen, next(steps), -(-SAMPLES // BATCH))
            optimizer.zero_grad()
            functional.cross_entropy(module(batch.inputs), batch.target).backward()
            norms.append(math.sqrt(sum(float((p.grad**2).sum()) for p in module.parameters())))
            if chosen.gradient_clip is not None and norms[-1] > chosen.gradient_clip:
                for parameter in module.parameters():
                    parameter.grad *= chosen.gradient_clip / norms[-1]
            optimizer.step()
    return module, norms


def last_weights(data: dict[str, Split], folder: Path, **chosen: Any) -> dict[str, torch.Tensor]:
    """Of the last epoch, whichever was the best."""
    trained(data, folder, **chosen)
    state = checkpoints.load(folder)
    assert state is not None
    weights: dict[str, torch.Tensor] = state["module"]
    return weights


@pytest.fixture(autouse=True)
def saved_after_every_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "SAVE_S", 0.0)


@pytest.mark.parametrize(
    "chosen",
    [
        {},
        {"schedule": "cosine", "warmup_epochs": 1.0},
        {"schedule": "linear"},
        {"warmup_epochs": 2.5},
        {"gradient_clip": 0.3},
        {"schedule": "cosine", "gradient_clip": 0.5},
        {"accumulate": 4},
        {"accumulate": 16},
    ],
    ids=str,
)
def test_updates_are_those_of_a_plain_loop(chosen: dict[str, Any], data: dict[str, Split], tmp_path: Path) -> None:
    weights = last_weights(data, tmp_path, **chosen)
    module, _ = by_hand(data, settings(**chosen))
    for name, value in module.state_dict().items():
        assert torch.allclose(weights[name], value, rtol=1e-4, atol=1e-6), name


def test_the_norm_that_is_told_is_that_of_the_last_step(data: dict[str, Split], tmp_path: Path) -> None:
    found = [row["gradient_norm"] for row in trained(data, tmp_path / "free").curves]
    _, norms = by_hand(data, settings())
    assert found == pytest.approx(norms[4::5], rel=1e-4)
    clipped = [row["gradient_norm"] for row in trained(data, tmp_path / "clipped", gradient_clip=0.01).curves]
    assert clipped == pytest.approx([0.01] * 3, rel=1e-4)


# Learning rates


@given(
    st.sampled_from(["constant", "cosine", "linear"]),
    st.integers(1, 30),
    st.integers(1, 40),
    st.floats(0, 0.99),
)
def test_learning_rates_rise_then_fall_and_stay_in_their_range(
    schedule: str, epochs: int, steps: int, share: float
) -> None:
    chosen = settings(epochs=epochs, schedule=schedule, warmup_epochs=share * epochs)
    rates = [learning_rate(chosen, step, steps) for step in range(epochs * steps)]
    warmup = round(share * epochs * steps)
    assert all(0 < rate <= chosen.learning_rate * (1 + 1e-12) for rate in rates)
    assert rates[:warmup] == sorted(rates[:warmup])
    assert rates[warmup:] == sorted(rates[warmup:], reverse=True)
    if warmup:
        assert rates[warmup - 1] == pytest.approx(chosen.learning_rate)


def test_schedules_are_those_of_torch() -> None:
    """torch.optim.lr_scheduler's, from the same first step."""
    for name, theirs in (
        ("cosine", lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, T_max=40)),
        ("linear", lambda o: torch.optim.lr_scheduler.LinearLR(o, 1.0, 0.0, total_iters=40)),
    ):
        optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.3)
        scheduler = theirs(optimizer)
        expected = []
        for _ in range(40):
            expected.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
        chosen = settings(epochs=4, schedule=name, learning_rate=0.3)
        assert [learning_rate(chosen, step, 10) for step in range(40)] == pytest.approx(expected, rel=1e-9)


# What counts how much


def test_balanced_classes_weigh_what_scikit_learn_says(data: dict[str, Split]) -> None:
    target = np.concatenate([values[:, 0] for values in data["train"].targets()])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=target)
    assert balanced_weights(data["train"], 3) == pytest.approx(expected, rel=1e-6)
    # A class that never comes takes no share.
    four = balanced_weights(data["train"], 4)
    assert four[:3] == pytest.approx(expected, rel=1e-6)
    assert four[3] == 0


def test_the_loss_of_a_weighted_smoothed_batch_is_written_out(data: dict[str, Split]) -> None:
    run = begin(SPEC, SHAPES, settings(class_weights="balanced", label_smoothing=0.2), 5, data["train"])
    batch = next(data["train"].epoch(BATCH, 5, 1))
    weights = torch.from_numpy(balanced_weights(data["train"], 3))
    assert isinstance(batch.inputs, torch.Tensor)
    with torch.no_grad():
        logs = run.module(batch.inputs).log_softmax(dim=1)
    spread = 0.8 * functional.one_hot(batch.target, 3) + 0.2 / 3  # type: ignore[arg-type]
    expected = -(spread * weights * logs).sum(dim=1).mean()
    assert float(run.step(batch)) == pytest.approx(float(expected), rel=1e-5)


def test_validation_counts_every_sample_alike(data: dict[str, Split]) -> None:
    plain, weighted = (
        begin(SPEC, SHAPES, settings(**chosen), 5, data["train"])
        for chosen in ({}, {"class_weights": "balanced", "label_smoothing": 0.3})
    )
    assert plain.validate(data["validation"]) == weighted.validate(data["validation"])


# The average


def test_the_average_is_kept_and_validated(data: dict[str, Split], tmp_path: Path) -> None:
    decay, averages = 0.8, {}
    torch.manual_seed(5)
    run = begin(SPEC, SHAPES, settings(average=decay), 5, data["train"])
    for step, batch in enumerate(data["train"].epoch(BATCH, 5, 1)):
        run.step(batch)
        for name, value in run.module.state_dict().items():
            averages[name] = value.clone() if step == 0 else decay * averages[name] + (1 - decay) * value
    for name, value in run.kept.state_dict().items():
        assert torch.allclose(value, averages[name], rtol=1e-4, atol=1e-6), name
    found = trained(data, tmp_path, average=decay, epochs=1)
    assert set(found.weights) == set(averages)
    for name, value in found.weights.items():
        assert torch.allclose(value, averages[name], rtol=1e-4, atol=1e-6), name
    module = SPEC.build(SHAPES)
    module.load_state_dict(found.weights)
    with torch.no_grad():
        losses = [functional.cross_entropy(module(b.inputs), b.target) for b in data["validation"].in_order(10)]
    assert found.curves[0]["validation_loss"] == pytest.approx(float(torch.stack(losses).mean()), rel=1e-5)


# Ending early


def test_a_run_ends_when_the_validation_loss_falls_no_more(
    data: dict[str, Split], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = iter([1.0, 0.8, 0.9, 0.7, 0.75, 0.72, 0.71, 0.1, 0.1])
    monkeypatch.setattr(Run, "validate", lambda run, data: {"validation_loss": next(losses)})
    found = trained(data, tmp_path, epochs=9, early_stopping=3)
    assert len(found.curves) == 7
    assert found.best_epoch == 4


def test_a_run_that_ended_early_is_not_gone_on_with(data: dict[str, Split], tmp_path: Path) -> None:
    """It was saved in its last epoch, and killed before it was sealed."""
    whole = trained(data, tmp_path / "whole", epochs=9, early_stopping=1, learning_rate=2.0)
    assert len(whole.curves) < 9
    again = trained(data, tmp_path / "whole", epochs=9, early_stopping=1, learning_rate=2.0)
    assert again.curves == whole.curves
    assert again.resumed_from == len(whole.curves)


# Going on

OPTIONS: dict[str, dict[str, Any]] = {
    "schedule": {"schedule": "cosine", "warmup_epochs": 1.5},
    "average": {"average": 0.9},
    "parts": {"accumulate": 3, "gradient_clip": 0.2},
    "weights": {"class_weights": "balanced", "label_smoothing": 0.1},
    "bf16": {"precision": "bf16"},
    "fp16": {"precision": "fp16"},
    "all": {"schedule": "linear", "average": 0.5, "accumulate": 2, "gradient_clip": 1.0, "precision": "bf16"},
}


def bits(found: Trained) -> tuple[Any, ...]:
    measured = {"seconds", "samples_per_second", "input_wait_share", "peak_memory_mib"}
    curves = [{key: value for key, value in row.items() if key not in measured} for row in found.curves]
    return {name: value.numpy().tobytes() for name, value in found.weights.items()}, curves, found.best_epoch


class Interrupted(BaseException):
    pass


@pytest.mark.parametrize("option", OPTIONS)
def test_a_run_that_is_saved_inside_an_epoch_goes_on_with_the_same_bits(
    option: str, data: dict[str, Split], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = {**OPTIONS[option], "optimizer": "adam"}
    whole = trained(data, tmp_path / "whole", **chosen)
    monkeypatch.setattr(loop, "SAVE_INSIDE_S", 0.0)
    step, steps = Run.step, iter(range(1000))

    def stop_now_and_then(run: Run, batch: Batch) -> torch.Tensor:
        if next(steps) % 7 == 6:
            raise Interrupted
        return step(run, batch)

    monkeypatch.setattr(Run, "step", stop_now_and_then)
    for _ in range(10):
        try:
            found = trained(data, tmp_path / "parts", **chosen)
            break
        except Interrupted:
            torch.rand(3)
    assert next(steps) > 7
    assert bits(found) == bits(whole)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_reduced_precision_learns_nearly_the_same(precision: str, data: dict[str, Split], tmp_path: Path) -> None:
    full, reduced = (
        trained(data, tmp_path / name, epochs=15, optimizer="adam", precision=name).curves[-1]
        for name in ("fp32", precision)
    )
    assert reduced["train_loss"] == pytest.approx(full["train_loss"], rel=0.05)
    assert reduced["train_loss"] != full["train_loss"]


# Parts of batches


@given(st.integers(1, 9), st.integers(1, 12), st.booleans())
def test_parts_of_a_batch_are_all_of_it(samples: int, count: int, is_ragged: bool) -> None:
    values = torch.arange(samples * 4.0).reshape(samples, 4)
    inputs = Padded(values, torch.full((samples,), 4)) if is_ragged else values
    parts = list(Batch(inputs, torch.arange(samples)).parts(count))
    sizes = [len(part) for part in parts]
    assert len(parts) == min(count, samples)
    assert max(sizes) - min(sizes) <= 1
    rows: Iterator[Any] = (part.inputs.values if isinstance(part.inputs, Padded) else part.inputs for part in parts)
    assert torch.equal(torch.cat(list(rows)), values)
    assert torch.equal(torch.cat([part.target for part in parts]), torch.arange(samples))  # type: ignore[misc]


def test_a_compiled_model_learns_the_same(
    data: dict[str, Split], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Traced by torch's compiler, and run by the backend that needs no C++ compiler."""
    asked, real = [], torch.compile

    def trace(module: nn.Module) -> Any:
        asked.append(module)
        return real(module, backend="eager")

    monkeypatch.setattr(torch, "compile", trace)
    whole, same = (trained(data, tmp_path / name, compile=name) for name in ("never", "always"))
    assert len(asked) == 1
    assert bits(whole) == bits(same)
    trained(data, tmp_path / "auto", compile="auto")
    assert len(asked) == 1
