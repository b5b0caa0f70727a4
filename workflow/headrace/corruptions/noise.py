"""Gaussian noise."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from headrace.corruptions.base import Amounts, CorruptionSpec, Original

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Spec(CorruptionSpec):
    """Gaussian noise is added to every input, the same for all models that read the same features."""

    unit: ClassVar[str] = "standard deviations of each input over the training split"
    reads_training: ClassVar[bool] = True

    strengths: Amounts
    """Standard deviations of the noise, in those of every input over the training split."""

    def apply(self, inputs: Tensor, strength: float, original: Original, generator: torch.Generator) -> Tensor:
        """The noise of one strength is that of another, but for its size."""
        import torch

        assert original.deviation is not None
        return inputs + strength * original.deviation * torch.randn(inputs.shape, generator=generator)
