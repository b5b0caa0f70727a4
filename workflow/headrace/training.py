"""One training run: the loop, its checkpoints, and the best validation epoch."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from headrace import checkpoints
from headrace.batches import SplitData
from headrace.config import Training
from headrace.logs import logger
from headrace.models.base import ModelSpec, Shapes
from headrace.tries.stopping import NEVER, Stop

State = dict[str, Any]
SAY_S = 1.0
"""Epochs shorter than this are not all worth a line in the log."""


class RunFailedError(Exception):
    """A run that cannot be finished, for a reason of its own; the others go on. `curves` are its whole epochs."""

    def __init__(self, reason: str, curves: list[dict[str, float]]) -> None:
        super().__init__(reason)
        self.curves = curves


@dataclass(frozen=True)
class Trained:
    """What a run leaves behind."""

    weights: Mapping[str, Tensor]
    """Of the epoch with the lowest validation loss."""
    curves: list[dict[str, float]]
    best_epoch: int
    num_parameters: int
    target_scale: tuple[np.ndarray, np.ndarray] | None
    """Mean and deviation (outputs,) of the training targets; predictions of numbers are in these units."""
    resumed_from: int
    """Epochs that an earlier attempt had finished."""


class Stopping(Exception):  # noqa: N818 - not an error: there is no time for the next batch
    """Raised inside an epoch; the run's state is that between two batches."""


class Run:
    """A model, its optimizer and where they stand."""

    def __init__(self, spec: ModelSpec, shapes: Shapes, training: Training, seed: int) -> None:
        self.spec, self.shapes, self.training, self.seed = spec, shapes, training, seed
        self.device = torch.device(training.device)
        self.module = spec.build(shapes).to(self.device)
        self.optimizer = build_optimizer(self.module, training)
        self.curves: list[dict[str, float]] = []
        self.best_weights: dict[str, Tensor] = {}
        self.best_epoch = 0
        self.best_loss = math.inf
        self.batches_done = 0
        """Of the epoch under way."""
        self.loss_total = 0.0

    def step(self, inputs: Tensor, target: Tensor) -> Tensor:
        """One update; returns the loss without waiting for the device."""
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.spec.loss(self.module(inputs), inputs, target, self.shapes.task)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return loss.detach()

    def train_epoch(self, data: SplitData, epoch: int, stop: Stop) -> float:
        """Mean loss over the samples of the training split while the weights moved.

        Goes on after the batch at which it was stopped. Raises Stopping with the epoch unfinished when it is time.
        """
        self.module.train()
        total = torch.full((), self.loss_total, dtype=torch.float64, device=self.device)
        for inputs, target in data.epoch(self.training.batch_size, self.seed, epoch, self.batches_done):
            if stop.cause is not None:
                self.loss_total = float(total)
                raise Stopping
            total += self.step(*self._move(inputs, target)).double() * len(inputs)
            self.batches_done += 1
        self.batches_done, self.loss_total = 0, 0.0
        return float(total) / len(data)

    @torch.no_grad()
    def validate(self, data: SplitData) -> dict[str, float]:
        """Mean loss over a split, and the accuracy where there are classes.

        Noise is drawn from a generator state that is put back, so that validating moves no training bit.
        """
        self.module.eval()
        loss, correct = 0.0, 0
        with kept_generators(self.device):
            torch.manual_seed(self.seed)
            for inputs, target in data.in_order(1024):
                moved, wanted = self._move(inputs, target)
                outputs = self.module(moved)
                loss += float(self.spec.loss(outputs, moved, wanted, self.shapes.task)) * len(inputs)
                if self.shapes.task == "classification":
                    predicted = self.spec.predict(outputs, moved, self.shapes.task)["probabilities"].argmax(dim=1)
                    correct += int((predicted == wanted).sum())
        metrics = {"validation_loss": loss / len(data)}
        return (
            {**metrics, "validation_accuracy": correct / len(data)} if self.shapes.task == "classification" else metrics
        )

    def remember(self, epoch: int, validation_loss: float) -> None:
        """Keep the weights when this epoch is the best so far."""
        if validation_loss < self.best_loss:
            self.best_loss, self.best_epoch = validation_loss, epoch
            self.best_weights = {name: value.detach().cpu().clone() for name, value in self.module.state_dict().items()}

    def state(self) -> State:
        """All that the rest of the run depends on."""
        return {
            "module": self.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "curves": copy.deepcopy(self.curves),
            "best": {"weights": self.best_weights, "epoch": self.best_epoch, "loss": self.best_loss},
            "epoch": {"batches_done": self.batches_done, "loss_total": self.loss_total},
            "generators": generator_states(self.device),
        }

    def restore(self, state: State) -> None:
        """Go back to where a checkpoint was taken."""
        self.module.load_state_dict(state["module"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.curves = state["curves"]
        best = state["best"]
        self.best_weights, self.best_epoch, self.best_loss = best["weights"], best["epoch"], best["loss"]
        self.batches_done, self.loss_total = state["epoch"]["batches_done"], state["epoch"]["loss_total"]
        set_generator_states(self.device, state["generators"])

    def _move(self, inputs: np.ndarray, target: np.ndarray | None) -> tuple[Tensor, Tensor]:
        wanted = np.empty(0, np.float32) if target is None else target
        return (
            torch.from_numpy(inputs).to(self.device, non_blocking=True),
            torch.from_numpy(wanted).to(self.device, non_blocking=True),
        )


def train(
    spec: ModelSpec,
    shapes: Shapes,
    training: Training,
    seed: int,
    data: Mapping[str, SplitData],
    checkpoint: Path,
    stop: Stop = NEVER,
) -> Trained:
    """Train one run, or go on with it from its last checkpoint.

    The result's bits follow from the arguments alone: not from what ran before in this process, nor from how often
    the run was interrupted. Raises RunFailedError when the loss is lost, StoppedError when `stop` says so; the run is
    saved between two batches then.
    """
    make_deterministic(training.threads)
    torch.manual_seed(seed)
    scale = target_scale(data["train"]) if shapes.task == "regression" else None
    data = {name: scaled(split, scale) for name, split in data.items()}
    run = Run(spec, shapes, training, seed)
    state = checkpoints.load(checkpoint)
    if state is not None:
        run.restore(state)
        more = f" and {run.batches_done} batches" if run.batches_done else ""
        logger.info("going on after epoch %d of %d%s", len(run.curves), training.epochs, more)
    resumed_from, said = len(run.curves), -math.inf
    for epoch in range(resumed_from + 1, training.epochs + 1):
        try:
            train_one_epoch(run, epoch, data, stop)
        except Stopping:
            checkpoints.save(checkpoint, run.state())
            stop.check(f"saved after epoch {epoch - 1} of {training.epochs} and {run.batches_done} batches")
            raise AssertionError("a stop that was asked for cannot be taken back") from None
        checkpoints.save(checkpoint, run.state())
        if epoch == training.epochs or time.monotonic() - said > SAY_S:
            logger.info("epoch %d of %d: %s", epoch, training.epochs, show(run.curves[-1]))
            said = time.monotonic()
    num_parameters = sum(parameter.numel() for parameter in run.module.parameters())
    return Trained(run.best_weights, run.curves, run.best_epoch, num_parameters, scale, resumed_from)


def train_one_epoch(run: Run, epoch: int, data: Mapping[str, SplitData], stop: Stop) -> None:
    """Train, validate, and add a line to the curves. Raises RunFailedError when the loss is not a number."""
    start = time.perf_counter()
    train_loss = run.train_epoch(data["train"], epoch, stop)
    metrics = run.validate(data["validation"])
    if not (math.isfinite(train_loss) and math.isfinite(metrics["validation_loss"])):
        raise RunFailedError(f"the loss was not finite in epoch {epoch} (training {train_loss}, {metrics})", run.curves)
    run.remember(epoch, metrics["validation_loss"])
    seconds = round(time.perf_counter() - start, 4)
    rate = {"learning_rate": float(run.optimizer.param_groups[0]["lr"])}
    run.curves.append({"epoch": epoch, "train_loss": train_loss, **metrics, **rate, "seconds": seconds})


def build_optimizer(module: nn.Module, training: Training) -> torch.optim.Optimizer:
    """The update rule; fused, which is the fastest on CPU and on GPU."""
    settings: dict[str, Any] = {"lr": training.learning_rate, "weight_decay": training.weight_decay, "fused": True}
    if training.optimizer == "sgd":
        return torch.optim.SGD(module.parameters(), momentum=0.9, **settings)
    if training.optimizer == "adamw":
        return torch.optim.AdamW(module.parameters(), **settings)
    return torch.optim.Adam(module.parameters(), **settings)


def make_deterministic(threads: int) -> None:
    """Ask torch for the same bits every time."""
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False


def target_scale(data: SplitData) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of the training targets: an optimizer with a fixed step needs targets near one."""
    assert data.target is not None
    deviation = data.target.std(axis=0, dtype=np.float64)
    return data.target.mean(axis=0, dtype=np.float64), np.where(deviation > 0, deviation, 1.0)


def scaled(data: SplitData, scale: tuple[np.ndarray, np.ndarray] | None) -> SplitData:
    """The same inputs, with targets in standardised units."""
    if scale is None or data.target is None:
        return data
    return SplitData(data.inputs, ((data.target - scale[0]) / scale[1]).astype(np.float32))


def generator_states(device: torch.device) -> dict[str, Tensor]:
    """The states of all generators that a run draws from."""
    states = {"cpu": torch.get_rng_state()}
    return {**states, "cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else states


def set_generator_states(device: torch.device, states: Mapping[str, Tensor]) -> None:
    """Put the generators where they were."""
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(states["cuda"], device)


@contextmanager
def kept_generators(device: torch.device) -> Iterator[None]:
    """Draw freely inside; outside nothing has moved."""
    states = generator_states(device)
    try:
        yield
    finally:
        set_generator_states(device, states)


def show(values: Mapping[str, float]) -> str:
    """A line for the log."""
    return ", ".join(f"{name} {value:.4g}" for name, value in values.items() if name != "epoch")
