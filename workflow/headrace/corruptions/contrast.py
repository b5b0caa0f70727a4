"""Less contrast."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from headrace.corruptions.base import Original, PlacedSpec, Shares, places

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Spec(PlacedSpec):
    """Every image or sequence is drawn towards its own mean over pixels or steps, every channel or feature for itself
    (Hendrycks and Dietterich 2019).
    """

    unit: ClassVar[str] = "share of each sample's contrast that is gone"

    strengths: Shares
    """Shares of the distance from the mean that are taken away; the 1 - c of Hendrycks and Dietterich."""

    def apply(self, inputs: Tensor, strength: float, original: Original, generator: torch.Generator) -> Tensor:
        """The mean stays."""
        import torch

        mean = inputs.mean(dim=places(original), keepdim=True, dtype=torch.float64)
        return (mean + (1 - strength) * (inputs - mean)).to(inputs.dtype)
