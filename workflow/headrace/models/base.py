"""What a model family must give: a module, its loss and its predictions. Blind to batch size, device and precision."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeAlias

from headrace.datasets.base import DataInfo
from headrace.experiments.config import Kind

if TYPE_CHECKING:
    from torch import Tensor, nn


class Sequences(Protocol):
    """Padded sequences, as a batch of ragged inputs gives them."""

    @property
    def values(self) -> Tensor:
        """(batch, longest, ...): int64 codes or float32 measurements; 0 behind a sequence's end."""

    @property
    def lengths(self) -> Tensor:
        """(batch,) int64."""


Inputs: TypeAlias = "Tensor | Sequences"


NEXT_STEP = "next_step"
"""The task of predicting, after every step of a sequence of codes, the next one."""
STEP_DIMS = frozenset({"step", "time", "window"})
"""Dimensions that a sequence is read along."""


def is_sequence(info: DataInfo) -> bool:
    """Whether a dense sample is a sequence (step, feature); only the names of its dimensions can tell."""
    return info.layout == "dense" and len(info.shape) == 2 and info.dims[0] in STEP_DIMS


def check_sequences(kind: str, info: DataInfo) -> None:
    """Raise ValueError for what cannot be read step by step, or has no steps to predict where that is the task."""
    if info.layout == "dense" and len(info.shape) != (1 if info.num_codes else 2):
        raise ValueError(f"{kind} reads sequences (step, feature), not {info.dims} {info.shape}")
    if info.layout == "ragged" and len(info.shape) > (0 if info.num_codes else 1):
        raise ValueError(f"{kind} reads steps of one dimension, or of one code, not {info.dims} {info.shape}")
    if NEXT_STEP in info.tasks and not info.num_codes:
        raise ValueError(f"{kind} predicts which code comes next, and these features are measurements; allowed: codes")


@dataclass(frozen=True)
class Shapes:
    """What a model is built for."""

    inputs: tuple[int, ...]
    """Shape of one sample; of one step where samples are sequences of different lengths."""
    outputs: int
    """Number of classes, of numbers to predict, or of codes that may come next; 0 for a density."""
    task: str
    layout: str = "dense"
    """`ragged` inputs come as padded Sequences; `sparse` ones are filled up to dense."""
    num_codes: int = 0
    """Where inputs are codes: how many there are."""
    is_sequence: bool = False
    """Whether a dense sample of two dimensions is a sequence (step, feature), and not an image (height, width)."""

    @property
    def num_inputs(self) -> int:
        """Numbers in one sample."""
        product = 1
        for size in self.inputs:
            product *= size
        return product


@dataclass(frozen=True)
class Weighting:
    """How the samples of a classification count in training."""

    class_weights: Tensor | None = None
    """(classes,), or every class counts 1."""
    label_smoothing: float = 0.0
    """Share of every target that is spread over all classes."""


EQUALLY = Weighting()


def cost_of_steps(outputs: Tensor, inputs: Inputs) -> tuple[Tensor, Tensor]:
    """What the steps of each sample cost together, (batch,) float32 in nats, and how many they are, (batch,) int64.

    `outputs` (batch, steps, codes) are the logits of what follows each step of the inputs. The first step follows
    nothing, and nothing is known to follow the last one: of n steps, n - 1 are predicted.
    """
    import torch
    from torch import Tensor
    from torch.nn import functional

    values = inputs if isinstance(inputs, Tensor) else inputs.values
    wanted = values[:, 1:]
    logits = outputs[:, : wanted.shape[1]].flatten(0, 1)
    nats = functional.cross_entropy(logits, wanted.flatten(), reduction="none").view(wanted.shape)
    if isinstance(inputs, Tensor):
        counts = torch.full((len(values),), wanted.shape[1], dtype=torch.int64, device=values.device)
    else:
        counts = (inputs.lengths - 1).clamp(min=0)
        nats = nats.where(torch.arange(wanted.shape[1], device=values.device) < counts[:, None], 0.0)
    return nats.sum(dim=1), counts


class ModelSpec(Kind):
    """Parameters of one model family."""

    tasks: ClassVar[tuple[str, ...]] = ("classification", "regression")
    """The tasks that the family serves."""
    reads: ClassVar[tuple[str, ...]] = ("dense",)
    """The layouts of inputs that it reads: dense, ragged (padded, with lengths), sparse (filled up to dense)."""

    def check(self, info: DataInfo) -> None:
        """Raise ValueError, naming the parameter, when the family cannot read such inputs."""
        return None

    @abstractmethod
    def build(self, shapes: Shapes) -> nn.Module:
        """A fresh module with weights drawn from torch's default generator; called with inputs (batch, ...)."""

    def loss(self, outputs: Any, inputs: Inputs, target: Tensor, task: str, weighting: Weighting = EQUALLY) -> Tensor:
        """Mean loss of a batch: cross entropy of the logits in nats, or squared error of the standardised targets.

        `outputs` is what the module gave for inputs (batch, ...); target (batch,) codes or (batch, outputs) numbers.
        Weights of classes multiply the samples' losses, whose sum is divided by the number of samples all the same.
        Where the next step is predicted, from outputs (batch, steps, codes), there is no target: the mean is over all
        steps predicted.
        """
        from torch.nn import functional

        if task == NEXT_STEP:
            nats, counts = cost_of_steps(outputs, inputs)
            return nats.sum() / counts.sum().clamp(min=1)
        if task == "classification":
            weights, smoothing = weighting.class_weights, weighting.label_smoothing
            if weights is None:
                return functional.cross_entropy(outputs, target, label_smoothing=smoothing)
            losses = functional.cross_entropy(outputs, target, weights, reduction="none", label_smoothing=smoothing)
            return losses.mean()
        return functional.mse_loss(outputs, target)

    def predict(self, outputs: Any, inputs: Inputs, task: str) -> dict[str, Tensor]:
        """What is judged: `probabilities` (batch, classes), or `prediction` (batch, outputs) in standardised units; or,
        where the next step is predicted, the `nats` (batch,) that its `steps` (batch,) cost together.
        """
        if task == NEXT_STEP:
            nats, counts = cost_of_steps(outputs, inputs)
            return {"nats": nats, "steps": counts}
        return {"probabilities": outputs.softmax(dim=1)} if task == "classification" else {"prediction": outputs}
