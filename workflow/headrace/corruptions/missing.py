"""Inputs that are not there."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from headrace.corruptions.base import CorruptionSpec, Original, Shares

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Spec(CorruptionSpec):
    """A part of the inputs of every sample, drawn at random, is replaced by the mean of each over the training split:
    0 where features were standardised. The same inputs are missing for all models that read the same features, and
    those that are missing at one strength are so at every larger one.
    """

    unit: ClassVar[str] = "share of the inputs that is replaced by the training mean"
    reads_training: ClassVar[bool] = True

    strengths: Shares
    """Probabilities with which an input is missing."""

    def apply(self, inputs: Tensor, strength: float, original: Original, generator: torch.Generator) -> Tensor:
        """Each number is missing by itself."""
        import torch

        assert original.mean is not None
        is_missing = torch.rand(inputs.shape, generator=generator) < strength
        return torch.where(is_missing, original.mean, inputs)
