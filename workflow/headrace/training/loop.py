"""The loop over epochs, its checkpoints, and the best validation epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from headrace.batching.batches import Split
from headrace.errors import StageError
from headrace.experiments.config import Training
from headrace.logs import logger
from headrace.models.base import EQUALLY, ModelSpec, Shapes, Weighting
from headrace.provenance import checkpoints
from headrace.training.distributed import ALONE, Ranks, SharedStop
from headrace.training.generators import make_deterministic
from headrace.training.run import Run, Stopping, peak_memory_mib
from headrace.training.targets import TargetScale, balanced_weights, target_scale
from headrace.tries.stopping import NEVER, Stop

SAVE_S = 5.0
"""A run is saved at the end of an epoch when it was not for so long: of tiny epochs saving would take the most."""
SAVE_INSIDE_S = 300.0
"""And inside an epoch when it was not for so long."""
SAY_S = 1.0
"""Epochs shorter than this are not all worth a line in the log."""
OVER_SAMPLES = frozenset({"classification", "regression", "density"})
"""Tasks whose loss is a mean over samples, of which all ranks have equally many."""


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
    target_scale: TargetScale | None
    """Mean and deviation (outputs,) of the training targets; predictions of numbers are in these units."""
    resumed_from: int
    """Epochs that an earlier attempt had finished."""


def train(
    spec: ModelSpec,
    shapes: Shapes,
    training: Training,
    seed: int,
    data: Mapping[str, Split],
    checkpoint: Path,
    stop: Stop = NEVER,
    ranks: Ranks = ALONE,
) -> Trained:
    """Train one run, or go on with it from its last checkpoint. Of several ranks each calls this alike.

    The result's bits follow from the arguments alone: not from what ran before in this process, nor from how often
    the run was interrupted. Raises RunFailedError when the loss is lost, StoppedError when `stop` says so; the run is
    saved between two batches then.
    """
    run = begin(spec, shapes, training, seed, data["train"], ranks)
    clock = time.monotonic
    if ranks.are_several:
        stop = shared = SharedStop(stop, ranks)
        clock = shared.clock
    saving = _Saving(run, checkpoint, ranks, clock)
    resumed_from, said = saving.resume(), -math.inf
    while not run.is_over():
        try:
            train_one_epoch(run, data, stop, saving)
        except Stopping:
            saving.save()
            done = len(run.curves)
            stop.check(f"saved after epoch {done} of {training.epochs} and {run.batches_done} batches")
            raise AssertionError("a stop that was asked for cannot be taken back") from None
        saving.after_epoch()
        if run.is_over() or time.monotonic() - said > SAY_S:
            logger.info("epoch %d of %d: %s", len(run.curves), training.epochs, show(run.curves[-1]))
            said = time.monotonic()
    if len(run.curves) < training.epochs:
        logger.info("ended early: no lower validation loss for %d epochs", len(run.curves) - run.best_epoch)
    num_parameters = sum(parameter.numel() for parameter in run.module.parameters())
    return Trained(run.best_weights, run.curves, run.best_epoch, num_parameters, run.scale, resumed_from)


def begin(spec: ModelSpec, shapes: Shapes, training: Training, seed: int, data: Split, ranks: Ranks = ALONE) -> Run:
    """A run that has done nothing yet. Raises ValueError for what cannot be shared out over the ranks."""
    if not ranks.usable(len(data)):
        raise ValueError(f"world_size: {len(data)} training samples cannot be shared out over {ranks.world_size} ranks")
    if ranks.are_several and shapes.layout == "ragged" and shapes.task not in OVER_SAMPLES:
        raise ValueError(f"world_size: the loss of {shapes.task} is no mean over samples; allowed here: 1")
    make_deterministic(training.threads, tf32=training.precision == "tf32")
    torch.manual_seed(seed)
    scale = target_scale(data) if shapes.task == "regression" else None
    weighting = EQUALLY
    if shapes.task == "classification":
        device = torch.device(training.device)
        is_balanced = training.class_weights == "balanced"
        weights = torch.from_numpy(balanced_weights(data, shapes.outputs)).to(device) if is_balanced else None
        weighting = Weighting(weights, training.label_smoothing)
    run = Run(spec, shapes, training, seed, num_samples=len(data), scale=scale, weighting=weighting, ranks=ranks)
    ranks.seed_noise(seed)
    return run


class _Saving:
    """When a run is saved: by a clock that all ranks read alike, by the first of them."""

    def __init__(self, run: Run, folder: Path, ranks: Ranks, clock: Callable[[], float]) -> None:
        self._run, self._folder, self._ranks, self._clock = run, folder, ranks, clock
        self._last = clock()

    def resume(self) -> int:
        """Put the run where its last checkpoint was taken; the epochs that were done then."""
        state = checkpoints.load(self._folder)
        if state is not None:
            self._run.restore(state)
            done, batches = len(self._run.curves), self._run.batches_done
            more = f" and {batches} batches" if batches else ""
            logger.info("going on after epoch %d of %d%s", done, self._run.training.epochs, more)
        found = self._ranks.gather(torch.tensor([len(self._run.curves), self._run.batches_done]))
        if not bool((found == found[0]).all()):
            raise StageError(f"{self._folder}: the ranks do not see the same checkpoint: {found.tolist()}")
        return len(self._run.curves)

    def save(self) -> None:
        state = self._run.state()
        if self._ranks.is_first:
            checkpoints.save(self._folder, state)
        # Whoever goes on, or ends, may be taken for a sign that all is saved.
        self._ranks.wait()
        self._last = self._clock()

    def after_epoch(self) -> None:
        if self._clock() - self._last >= SAVE_S:
            self.save()

    def between_batches(self) -> None:
        if self._clock() - self._last >= SAVE_INSIDE_S:
            self.save()


def train_one_epoch(run: Run, data: Mapping[str, Split], stop: Stop, saving: _Saving) -> None:
    """Train, validate, and add a line to the curves. Raises RunFailedError when the loss is not a number."""
    start, epoch = time.perf_counter(), len(run.curves) + 1
    trained = run.train_epoch(data["train"], epoch, stop, saving.between_batches)
    metrics = run.validate(data["validation"])
    losses = {"train_loss": trained.pop("train_loss"), **metrics}
    if not (math.isfinite(losses["train_loss"]) and math.isfinite(losses["validation_loss"])):
        raise RunFailedError(f"the loss was not finite in epoch {epoch}: {show(losses)}", run.curves)
    run.remember(epoch, losses["validation_loss"])
    seconds = round(time.perf_counter() - start, 4)
    used = {"peak_memory_mib": peak_memory_mib(run.device), "seconds": seconds}
    run.curves.append({"epoch": epoch, **losses, **trained, **used})


def show(values: Mapping[str, float]) -> str:
    """A line for the log."""
    return ", ".join(f"{name} {value:.4g}" for name, value in values.items() if name != "epoch")
