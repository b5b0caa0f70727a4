"""A model in training, and where it stands: all that the rest of a run depends on."""

from __future__ import annotations

import copy
import math
import resource
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from headrace.batching.batches import Batch, Split, move
from headrace.experiments.config import Training
from headrace.models.base import EQUALLY, Inputs, ModelSpec, Shapes, Weighting
from headrace.training.distributed import ALONE, Ranks, share_batch_norms
from headrace.training.generators import generator_states, kept_generators, set_generator_states
from headrace.training.optimization import Updater, average_of, compiled, copy_buffers
from headrace.training.targets import TargetScale
from headrace.tries.stopping import Stop

State = dict[str, Any]
MIB = 2**20


class Stopping(Exception):  # noqa: N818 - not an error: there is no time for the next batch
    """Raised inside an epoch; the run's state is that between two batches."""


class Run:
    """A model, its optimizer and where they stand."""

    def __init__(
        self,
        spec: ModelSpec,
        shapes: Shapes,
        training: Training,
        seed: int,
        *,
        num_samples: int,
        scale: TargetScale | None = None,
        weighting: Weighting = EQUALLY,
        ranks: Ranks = ALONE,
    ) -> None:
        """`num_samples` are those of the split; numbers to predict are brought to units of `scale`."""
        self.spec, self.shapes, self.training, self.seed = spec, shapes, training, seed
        self.device = torch.device(training.device)
        self.module = share_batch_norms(spec.build(shapes), ranks).to(self.device)
        self.updater = Updater(self.module, training, self.device)
        self.average = average_of(self.module, training.average) if training.average else None
        self.curves: list[dict[str, float]] = []
        self.best_weights: dict[str, Tensor] = {}
        self.best_epoch = 0
        self.best_loss = math.inf
        self.batches_done = 0
        """Of the epoch under way."""
        self.loss_total = torch.zeros((), dtype=torch.float64, device=self.device)
        """Over this rank's samples of those."""
        self._ranks, self._num_samples = ranks, ranks.usable(num_samples)
        self._steps_per_epoch = -(-self._num_samples // training.batch_size)
        self.scale, self._weighting = scale, weighting
        self._forward = ranks.wrap(compiled(self.module, training, training.epochs * self._steps_per_epoch))

    @property
    def kept(self) -> nn.Module:
        """What is validated and kept: the average of the weights where there is one."""
        module: nn.Module = self.module if self.average is None else self.average.module
        return module

    def step(self, batch: Batch) -> Tensor:
        """One update; returns the mean loss of this rank's batch without waiting for the device."""
        self.updater.clear()
        total: Tensor | None = None
        num_parts = min(self.training.accumulate, len(batch))
        for i, part in enumerate(batch.parts(num_parts), 1):
            inputs, target = self._move(part)
            with self._ranks.accumulating(self._forward, is_last=i == num_parts):
                with self.updater.autocast():
                    outputs = self._forward(inputs)
                    loss = self.spec.loss(outputs, inputs, target, self.shapes.task, self._weighting)
                if len(part) < len(batch):
                    loss = loss * (len(part) / len(batch))
                self.updater.backward(loss)
            total = loss.detach() if total is None else total + loss.detach()
        self.updater.update()
        if self.average is not None:
            self.average.update_parameters(self.module)
        assert total is not None
        return total

    def train_epoch(self, data: Split, epoch: int, stop: Stop, save: Callable[[], None]) -> dict[str, float]:
        """Mean loss over the samples of the training split while the weights moved, and how it went.

        Goes on after the batch at which it was stopped. `save` is called before every batch and may do nothing.
        Raises Stopping with the epoch unfinished when it is time.
        """
        self.module.train()
        start, first = time.perf_counter(), self.batches_done
        rank, world_size = self._ranks.rank, self._ranks.world_size
        own = data.epoch(self.training.batch_size, self.seed, epoch, first=first, rank=rank, world_size=world_size)
        batches = _Timed(own)
        for batch in batches:
            if stop.cause is not None:
                raise Stopping
            save()
            done = (epoch - 1) * self._steps_per_epoch + self.batches_done
            self.updater.set_learning_rate(done, self._steps_per_epoch)
            self.loss_total.add_(self.step(batch), alpha=len(batch))
            self.batches_done += 1
        loss = float(self._ranks.total(self.loss_total)) / self._ranks.usable(len(data))
        self.batches_done = 0
        self.loss_total.zero_()
        if self.average is not None:
            copy_buffers(self.module, self.average.module)
        # Reading the loss has waited for the device: the clock says how long the work took.
        seconds, samples = time.perf_counter() - start, self._num_samples - first * self.training.batch_size
        return {
            "train_loss": loss,
            "gradient_norm": self.updater.gradient_norm(),
            "learning_rate": float(self.updater.optimizer.param_groups[0]["lr"]),
            "samples_per_second": round(samples / seconds, 1),
            "input_wait_share": round(batches.seconds / seconds, 4),
        }

    @torch.no_grad()
    def validate(self, data: Split) -> dict[str, float]:
        """Mean loss over a split, and the accuracy where there are classes.

        Noise is drawn from a generator state that is put back, so that validating moves no training bit.
        """
        module = self.kept.eval()
        correct = torch.zeros((), dtype=torch.int64, device=self.device)
        loss = torch.zeros((), dtype=torch.float64, device=self.device)
        with kept_generators(self.device):
            torch.manual_seed(self.seed)
            for batch in data.in_order(1024):
                moved, wanted = self._move(batch)
                with self.updater.autocast():
                    outputs = module(moved)
                    own = self.spec.loss(outputs, moved, wanted, self.shapes.task)
                loss.add_(own, alpha=len(batch))
                if self.shapes.task == "classification":
                    predicted = self.spec.predict(outputs, moved, self.shapes.task)["probabilities"].argmax(dim=1)
                    correct += (predicted == wanted).sum()
        metrics = {"validation_loss": float(loss) / len(data)}
        if self.shapes.task == "classification":
            metrics["validation_accuracy"] = int(correct) / len(data)
        return self._ranks.agree(metrics)

    def remember(self, epoch: int, validation_loss: float) -> None:
        """Keep the weights when this epoch is the best so far."""
        if validation_loss < self.best_loss:
            self.best_loss, self.best_epoch = validation_loss, epoch
            self.best_weights = {name: value.detach().cpu().clone() for name, value in self.kept.state_dict().items()}

    def is_over(self) -> bool:
        """Whether all epochs are done, or too many have brought nothing."""
        done, patience = len(self.curves), self.training.early_stopping
        return done >= self.training.epochs or (patience is not None and done - self.best_epoch >= patience)

    def state(self) -> State:
        """All that the rest of the run depends on. Every rank has to ask."""
        own = {"loss_total": self.loss_total.cpu(), **generator_states(self.device)}
        return {
            "module": self.module.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "updater": self.updater.state(),
            "curves": copy.deepcopy(self.curves),
            "best": {"weights": self.best_weights, "epoch": self.best_epoch, "loss": self.best_loss},
            "batches_done": self.batches_done,
            "ranks": {name: self._ranks.gather(value) for name, value in own.items()},
        }

    def restore(self, state: State) -> None:
        """Go back to where a checkpoint was taken."""
        self.module.load_state_dict(state["module"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.updater.restore(state["updater"])
        self.curves = state["curves"]
        best = state["best"]
        self.best_weights, self.best_epoch, self.best_loss = best["weights"], best["epoch"], best["loss"]
        self.batches_done = state["batches_done"]
        # Copies: torch dies of a generator's state that is a part of something else.
        own = {name: values[self._ranks.rank].clone() for name, values in state["ranks"].items()}
        self.loss_total.copy_(own.pop("loss_total"))
        set_generator_states(self.device, own)

    def _move(self, batch: Batch) -> tuple[Inputs, Tensor]:
        """To the device, with numbers to predict in standardised units."""
        if batch.target is None:
            return move(batch.inputs, self.device), torch.empty(0, device=self.device)
        target = batch.target
        if self.scale is not None:
            mean, deviation = self.scale
            target = ((target.double() - torch.from_numpy(mean)) / torch.from_numpy(deviation)).float()
        return move(batch.inputs, self.device), target.to(self.device, non_blocking=True)


class _Timed:
    """Batches, and the seconds that were waited for them."""

    def __init__(self, batches: Iterator[Batch]) -> None:
        self._batches, self.seconds = batches, 0.0

    def __iter__(self) -> Iterator[Batch]:
        while True:
            start = time.perf_counter()
            batch = next(self._batches, None)
            self.seconds += time.perf_counter() - start
            if batch is None:
                return
            yield batch


def peak_memory_mib(device: torch.device) -> float:
    """Of the process, or of the GPU where that is the device."""
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / MIB, 1)
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)
