"""The update of the weights: rule, learning rate, precision, clipping, and the average that may be kept."""

from __future__ import annotations

import math
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from headrace.experiments.config import Training

WORTH_COMPILING = 20_000
"""Steps. Compiling takes from 8 to 44 s: with fewer steps it would have to save more than a millisecond of each."""


def build_optimizer(module: nn.Module, training: Training) -> torch.optim.Optimizer:
    """The update rule; fused, which is the fastest on CPU and on GPU."""
    settings: dict[str, Any] = {"lr": training.learning_rate, "weight_decay": training.weight_decay, "fused": True}
    if training.optimizer == "sgd":
        return torch.optim.SGD(module.parameters(), momentum=0.9, **settings)
    if training.optimizer == "adamw":
        return torch.optim.AdamW(module.parameters(), **settings)
    return torch.optim.Adam(module.parameters(), **settings)


def learning_rate(training: Training, step: int, steps_per_epoch: int) -> float:
    """Of the step with this number, counted from 0 over all epochs.

    The warm-up reaches the full rate with its last step; a cosine or a line goes from there to 0 behind the last step
    of all (Loshchilov and Hutter 2017, https://arxiv.org/abs/1608.03983, without restarts).
    """
    warmup = round(training.warmup_epochs * steps_per_epoch)
    if step < warmup:
        return training.learning_rate * (step + 1) / warmup
    if training.schedule == "constant":
        return training.learning_rate
    done = (step - warmup) / max(1, training.epochs * steps_per_epoch - warmup)
    return training.learning_rate * (
        0.5 * (1 + math.cos(math.pi * done)) if training.schedule == "cosine" else 1 - done
    )


class Updater:
    """Turns losses into updates."""

    def __init__(self, module: nn.Module, training: Training, device: torch.device) -> None:
        self._training, self._device = training, device
        self._parameters = list(module.parameters())
        self._is_constant = training.schedule == "constant" and not training.warmup_epochs
        self._dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(training.precision)
        self.optimizer = build_optimizer(module, training)
        self.scaler = torch.amp.GradScaler(device.type, enabled=training.precision == "fp16")

    def autocast(self) -> AbstractContextManager[Any]:
        """For the forward pass and the loss."""
        return nullcontext() if self._dtype is None else torch.autocast(self._device.type, self._dtype)

    def set_learning_rate(self, step: int, steps_per_epoch: int) -> None:
        """Before the step with this number."""
        if not self._is_constant:
            for group in self.optimizer.param_groups:
                group["lr"] = learning_rate(self._training, step, steps_per_epoch)

    def backward(self, loss: Tensor) -> None:
        """Add to the gradients."""
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]

    def update(self) -> None:
        """Move the weights by the gradients, which stay until `clear`."""
        self.scaler.unscale_(self.optimizer)
        if self._training.gradient_clip is not None:
            nn.utils.clip_grad_norm_(self._parameters, self._training.gradient_clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()

    def clear(self) -> None:
        """Before the gradients of another step."""
        self.optimizer.zero_grad(set_to_none=True)

    def gradient_norm(self) -> float:
        """Euclidean norm of the last step's gradient, as the weights were moved by it. Waits for the device."""
        gradients = [parameter.grad for parameter in self._parameters if parameter.grad is not None]
        return float(nn.utils.get_total_norm(gradients))

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"optimizer": self.optimizer.state_dict(), "scaler": self.scaler.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to where a checkpoint was taken."""
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])


def average_of(module: nn.Module, decay: float) -> AveragedModel:
    """A moving average of the weights over steps; it begins with those after the first step."""
    return AveragedModel(module, multi_avg_fn=get_ema_multi_avg_fn(decay))  # type: ignore[no-untyped-call]


def copy_buffers(source: nn.Module, target: nn.Module) -> None:
    """What a module counts without learning it, as running means, is as it was counted last and no average."""
    pairs: Iterable[tuple[Tensor, Tensor]] = zip(target.buffers(), source.buffers(), strict=True)
    for own, other in pairs:
        own.copy_(other)


def compiled(module: nn.Module, training: Training, num_steps: int) -> Any:
    """The module, or what torch makes of it where that is wanted."""
    pays = training.device == "cuda" and num_steps >= WORTH_COMPILING
    wanted = training.compile == "always" or (training.compile == "auto" and pays)
    return torch.compile(module) if wanted else module
