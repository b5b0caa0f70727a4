"""What a model family must give: a module, its loss and its predictions. Blind to batch size, device and precision."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from headrace.config import Kind
from headrace.datasets.base import DataInfo

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class Shapes:
    """What a model is built for."""

    inputs: tuple[int, ...]
    """Shape of one sample."""
    outputs: int
    """Number of classes, or of numbers to predict; 0 for a density."""
    task: str

    @property
    def num_inputs(self) -> int:
        """Numbers in one sample."""
        product = 1
        for size in self.inputs:
            product *= size
        return product


class ModelSpec(Kind):
    """Parameters of one model family."""

    tasks: ClassVar[tuple[str, ...]] = ("classification", "regression")
    """The tasks that the family serves."""

    def check(self, info: DataInfo) -> None:
        """Raise ValueError, naming the parameter, when the family cannot read such inputs."""
        return None

    @abstractmethod
    def build(self, shapes: Shapes) -> nn.Module:
        """A fresh module with weights drawn from torch's default generator; called with inputs (batch, ...)."""

    def loss(self, outputs: Any, inputs: Tensor, target: Tensor, task: str) -> Tensor:
        """Mean loss of a batch: cross entropy of the logits in nats, or squared error of the standardised targets.

        `outputs` is what the module gave for inputs (batch, ...); target (batch,) codes or (batch, outputs) numbers.
        """
        from torch.nn import functional

        if task == "classification":
            return functional.cross_entropy(outputs, target)
        return functional.mse_loss(outputs, target)

    def predict(self, outputs: Any, inputs: Tensor, task: str) -> dict[str, Tensor]:
        """What is judged: `probabilities` (batch, classes), or `prediction` (batch, outputs) in standardised units."""
        return {"probabilities": outputs.softmax(dim=1)} if task == "classification" else {"prediction": outputs}
