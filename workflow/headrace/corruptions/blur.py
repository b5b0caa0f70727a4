"""Gaussian blur of images, and smoothing along the steps of sequences."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from headrace.corruptions.base import Amounts, Original, PlacedSpec, places

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Spec(PlacedSpec):
    """Images are blurred by a Gaussian, and sequences smoothed by one along their steps, every channel or feature for
    itself; edges are mirrored.
    """

    unit: ClassVar[str] = "standard deviation of the Gaussian in pixels, or in steps of a sequence"

    strengths: Amounts
    """Standard deviations of the Gaussian, in pixels or steps; it is cut off at four of them."""

    def apply(self, inputs: Tensor, strength: float, original: Original, generator: torch.Generator) -> Tensor:
        """Rows and columns one after the other."""
        import torch
        from scipy.ndimage import gaussian_filter

        # Mirrored with the edge's own value twice, which keeps the mean of an image.
        blurred = gaussian_filter(inputs.numpy(), strength, mode="reflect", truncate=4.0, axes=places(original))
        return torch.from_numpy(blurred)
