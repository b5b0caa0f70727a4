"""Training gives the same bits however often it is interrupted and whatever ran before; and it fails out loud."""

import atexit
import functools
import math
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from headrace.batching.batches import Batch, Split, open_split
from headrace.experiments.config import Training
from headrace.models.base import ModelSpec, Shapes
from headrace.provenance import checkpoints
from headrace.provenance.digests import content_of
from headrace.registry import restore
from headrace.schedulers.base import Cause
from headrace.stores.layout import Layout
from headrace.training import generators, loop
from headrace.training.loop import RunFailedError, Trained, train
from headrace.training.run import Run
from headrace.tries.stopping import NEVER, Stop, StoppedError
from sample_stores import write_artifact

EPOCHS = 4
FOLDER = tempfile.mkdtemp()
atexit.register(shutil.rmtree, FOLDER, ignore_errors=True)
Data = Mapping[str, Split]
Arrays = dict[str, dict[str, np.ndarray]]


def draw(num_samples: int, task: str, seed: int) -> dict[str, np.ndarray]:
    """Inputs (samples, 6) and, but for a density, targets."""
    generator = np.random.default_rng(seed)
    inputs = generator.uniform(size=(num_samples, 6)).astype(np.float32)
    signal = inputs @ np.array([1, -1, 2, 0, 0, 1], np.float32) + 0.3 * generator.normal(size=num_samples)
    if task == "classification":
        return {"inputs": inputs, "target": (signal > 1.5).astype(np.int64)}
    return {"inputs": inputs} | (
        {"target": (3000 + 700 * signal[:, None]).astype(np.float32)} if task == "regression" else {}
    )


def make_arrays(task: str) -> Arrays:
    return {"train": draw(70, task, 1), "validation": draw(30, task, 2)}


def open_data(arrays: Arrays) -> Data:
    """The splits of an artifact that holds them."""
    folder = write_artifact(
        Path(tempfile.mkdtemp()), arrays, Layout(sum(len(split["inputs"]) for split in arrays.values()), 50, 10)
    )
    return {name: open_split(folder, name) for name in arrays}


def make_split(num_samples: int, task: str, seed: int) -> Split:
    return open_data({"train": draw(num_samples, task, seed)})["train"]


@functools.cache
def make_data(task: str) -> Data:
    return open_data(make_arrays(task))


CASES = {
    "dropout": ("classification", {"kind": "fnn", "hidden": (8, 8), "dropout": 0.5}),
    "regression": ("regression", {"kind": "fnn", "hidden": (8,), "dropout": 0.2}),
    "noise": ("density", {"kind": "vae", "hidden": 8, "latent": 2}),
}
OUTPUTS = {"classification": 2, "regression": 1, "density": 0}


def run_case(
    case: str, folder: Path, *, data: Data | None = None, seed: int = 3, stop: Stop = NEVER, **settings: Any
) -> Trained:
    task, family = CASES[case]
    chosen = Training(epochs=EPOCHS, batch_size=16, learning_rate=0.01, device="cpu").model_copy(update=settings)
    spec = restore("models", family, ModelSpec)
    return train(spec, Shapes((6,), OUTPUTS[task], task), chosen, seed, data or make_data(task), folder, stop)


def content(trained: Trained) -> tuple[Any, ...]:
    """All that a run leaves behind but what it took."""
    curves = content_of(trained.curves)
    weights = {name: value.numpy().tobytes() for name, value in trained.weights.items()}
    scale = None if trained.target_scale is None else [part.tobytes() for part in trained.target_scale]
    return weights, curves, trained.best_epoch, trained.num_parameters, scale


@pytest.fixture(autouse=True)
def saved_after_every_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "SAVE_S", 0.0)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Trained]:
    made: dict[str, Trained] = {}

    def get(case: str) -> Trained:
        if case not in made:
            made[case] = run_case(case, tmp_path_factory.mktemp(case))
        return made[case]

    return get


class Interrupted(BaseException):
    pass


# Resuming


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
@pytest.mark.parametrize("case", CASES)
def test_going_on_after_any_epoch_gives_the_same_bits(
    case: str, optimizer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"optimizer": optimizer, "learning_rate": 0.01, "weight_decay": 0.01}
    whole = run_case(case, tmp_path / "whole", **settings)
    save = checkpoints.save
    for last in range(1, EPOCHS + 1):

        def save_and_stop(folder: Path, state: dict[str, Any], last: int = last) -> None:
            save(folder, state)
            if len(state["curves"]) == last:
                raise Interrupted

        folder = tmp_path / f"after-{last}"
        with monkeypatch.context() as patch:
            patch.setattr(checkpoints, "save", save_and_stop)
            with pytest.raises(Interrupted):
                run_case(case, folder, **settings)
        torch.rand(last)
        resumed = run_case(case, folder, **settings)
        assert resumed.resumed_from == last
        assert content(resumed) == content(whole)


@pytest.mark.parametrize("case", CASES)
def test_a_run_stopped_in_every_epoch_gives_the_same_bits(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uninterrupted: Callable[[str], Trained]
) -> None:
    step = Run.step
    for _ in range(EPOCHS):
        steps = 0

        def stop_in_the_second_epoch(run: Run, batch: Batch) -> torch.Tensor:
            nonlocal steps
            steps += 1
            if steps == 7:
                raise Interrupted
            return step(run, batch)

        with monkeypatch.context() as patch:
            patch.setattr(Run, "step", stop_in_the_second_epoch)
            try:
                run_case(case, tmp_path)
            except Interrupted:
                continue
    assert content(run_case(case, tmp_path)) == content(uninterrupted(case))


class StopAfter(Stop):
    """Told to stop after so many looks."""

    def __init__(self, looks: int) -> None:
        super().__init__()
        self.looks = looks

    @property
    def cause(self) -> Cause | None:
        self.looks -= 1
        return "preemption" if self.looks < 0 else None


@pytest.mark.parametrize("looks", [0, 1, 3, 4, 5, 7, 19])
@pytest.mark.parametrize("case", CASES)
def test_a_run_told_to_stop_between_two_batches_goes_on_with_the_same_bits(
    case: str, looks: int, tmp_path: Path, uninterrupted: Callable[[str], Trained]
) -> None:
    # 70 samples in batches of 16 are five batches an epoch.
    with pytest.raises(StoppedError, match=f"saved after epoch {looks // 5} of 4 and {looks % 5} batches") as stopped:
        run_case(case, tmp_path, stop=StopAfter(looks))
    assert stopped.value.cause == "preemption"
    torch.rand(3)
    resumed = run_case(case, tmp_path)
    assert resumed.resumed_from == looks // 5
    assert content(resumed) == content(uninterrupted(case))


def test_a_run_stopped_after_every_single_batch_ends_and_gives_the_same_bits(
    tmp_path: Path, uninterrupted: Callable[[str], Trained]
) -> None:
    for _ in range(4 * 5 - 1):
        with pytest.raises(StoppedError):
            run_case("dropout", tmp_path, stop=StopAfter(1))
    assert content(run_case("dropout", tmp_path)) == content(uninterrupted("dropout"))


def test_a_damaged_checkpoint_costs_an_epoch_and_no_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uninterrupted: Callable[[str], Trained], log_lines: list[str]
) -> None:
    run_case("dropout", tmp_path, epochs=3)
    newest = tmp_path / checkpoints.NEWEST
    newest.write_bytes(newest.read_bytes()[:-1])
    resumed = run_case("dropout", tmp_path)
    assert resumed.resumed_from == 2
    assert any("is damaged and was not used" in line for line in log_lines)
    assert "INFO going on after epoch 2 of 4" in log_lines
    assert content(resumed) == content(uninterrupted("dropout"))


# Independence


@pytest.mark.parametrize("case", CASES)
def test_what_ran_before_changes_nothing(case: str, tmp_path: Path, uninterrupted: Callable[[str], Trained]) -> None:
    torch.manual_seed(999)
    torch.rand(17)
    np.random.seed(5)
    for other in CASES:
        run_case(other, tmp_path / other, seed=8, epochs=1)
    assert content(run_case(case, tmp_path / "again")) == content(uninterrupted(case))


def test_another_seed_gives_another_run(tmp_path: Path, uninterrupted: Callable[[str], Trained]) -> None:
    assert content(run_case("dropout", tmp_path, seed=4))[0] != content(uninterrupted("dropout"))[0]


@pytest.mark.parametrize("case", CASES)
def test_validation_moves_no_training_bit(case: str, tmp_path: Path) -> None:
    task, _ = CASES[case]
    for num_samples in (1, 30, 1500):
        data = {**make_data(task), "validation": make_split(num_samples, task, 9)}
        run_case(case, tmp_path / str(num_samples), data=data)
    states = [checkpoints.load(tmp_path / str(num_samples)) for num_samples in (1, 30, 1500)]
    for state in states[1:]:
        assert state is not None
        assert states[0] is not None
        assert [row["train_loss"] for row in state["curves"]] == [row["train_loss"] for row in states[0]["curves"]]
        for name, value in states[0]["module"].items():
            assert torch.equal(state["module"][name], value)


def test_validating_twice_says_the_same(tmp_path: Path) -> None:
    generators.make_deterministic(1)
    spec = restore("models", CASES["noise"][1], ModelSpec)
    run = Run(spec, Shapes((6,), 0, "density"), Training(device="cpu"), seed=1, num_samples=40)
    data = make_split(40, "density", 1)
    first = run.validate(data)
    torch.rand(3)
    assert run.validate(data) == first


# What is kept


@pytest.mark.parametrize("case", CASES)
def test_a_curve_has_one_row_an_epoch(case: str, uninterrupted: Callable[[str], Trained]) -> None:
    trained = uninterrupted(case)
    expected = {"epoch", "train_loss", "validation_loss", "learning_rate", "gradient_norm"}
    expected |= {"samples_per_second", "input_wait_share", "peak_memory_mib", "seconds"}
    if case == "dropout":
        expected |= {"validation_accuracy"}
    assert [row["epoch"] for row in trained.curves] == list(range(1, EPOCHS + 1))
    assert all(set(row) == expected for row in trained.curves)
    assert all(math.isfinite(value) for row in trained.curves for value in row.values())


def test_the_best_epoch_has_the_lowest_validation_loss(tmp_path: Path) -> None:
    # A step this large makes the loss go up and down.
    trained = run_case("regression", tmp_path / "whole", epochs=12, learning_rate=0.3)
    losses = [row["validation_loss"] for row in trained.curves]
    assert trained.best_epoch == int(np.argmin(losses)) + 1
    assert trained.best_epoch < 12
    run_case("regression", tmp_path / "part", epochs=trained.best_epoch, learning_rate=0.3)
    state = checkpoints.load(tmp_path / "part")
    assert state is not None
    for name, value in trained.weights.items():
        assert torch.equal(value, state["module"][name])


def test_parameters_are_counted(uninterrupted: Callable[[str], Trained]) -> None:
    assert uninterrupted("dropout").num_parameters == (6 * 8 + 8) + (8 * 8 + 8) + (8 * 2 + 2)


def test_training_learns(tmp_path: Path) -> None:
    trained = run_case("dropout", tmp_path, epochs=25)
    assert trained.curves[-1]["validation_accuracy"] > 0.8
    assert trained.curves[-1]["train_loss"] < 0.9 * trained.curves[0]["train_loss"]


# Regression


def test_targets_are_standardised_by_the_training_split(
    tmp_path: Path, uninterrupted: Callable[[str], Trained]
) -> None:
    target = make_arrays("regression")["train"]["target"]
    scale = uninterrupted("regression").target_scale
    assert scale is not None
    assert scale[0] == pytest.approx(target.astype(np.float64).mean(axis=0), rel=1e-12)
    assert scale[1] == pytest.approx(target.astype(np.float64).std(axis=0), rel=1e-12)
    assert uninterrupted("dropout").target_scale is None


def test_the_units_of_the_targets_do_not_matter(tmp_path: Path, uninterrupted: Callable[[str], Trained]) -> None:
    # A power of two changes no digit.
    arrays = make_arrays("regression")
    for split in arrays.values():
        split["target"] *= np.float32(1024)
    assert (
        content(run_case("regression", tmp_path, data=open_data(arrays)))[:4]
        == content(uninterrupted("regression"))[:4]
    )


def test_constant_targets_are_learned_without_dividing_by_zero(tmp_path: Path) -> None:
    arrays = make_arrays("regression")
    for split in arrays.values():
        split["target"][...] = 7
    trained = run_case("regression", tmp_path, data=open_data(arrays))
    assert trained.target_scale is not None
    assert [part.tolist() for part in trained.target_scale] == [[7.0], [1.0]]


# Failures


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("split", ["train", "validation"])
@pytest.mark.parametrize("case", CASES)
def test_a_loss_that_is_not_finite_ends_the_run(case: str, split: str, bad: float, tmp_path: Path) -> None:
    arrays = make_arrays(CASES[case][0])
    arrays[split]["inputs"][5, 2] = bad
    with pytest.raises(RunFailedError, match="the loss was not finite in epoch 1"):
        run_case(case, tmp_path, data=open_data(arrays))


def test_the_last_good_state_outlives_a_lost_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    epoch = Run.train_epoch

    def lose_the_third(run: Run, data: Split, number: int, stop: Stop, save: Callable[[], None]) -> dict[str, float]:
        found = epoch(run, data, number, stop, save)
        return {**found, "train_loss": math.nan} if number == 3 else found

    monkeypatch.setattr(Run, "train_epoch", lose_the_third)
    with pytest.raises(
        RunFailedError, match="the loss was not finite in epoch 3: train_loss nan, validation_"
    ) as failure:
        run_case("dropout", tmp_path)
    assert not set("{'}") & set(str(failure.value))
    assert [row["epoch"] for row in failure.value.curves] == [1, 2]
    state = checkpoints.load(tmp_path)
    assert state is not None
    assert len(state["curves"]) == 2


def test_a_step_far_too_large_ends_the_run(tmp_path: Path) -> None:
    with pytest.raises(RunFailedError):
        run_case("dropout", tmp_path, optimizer="sgd", learning_rate=1e30)
