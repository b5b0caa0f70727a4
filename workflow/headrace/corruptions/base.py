"""What a kind of corruption must give: whether inputs fit it, and how it makes a batch of them worse."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import AfterValidator, Field

from headrace.datasets.base import DataInfo
from headrace.experiments.config import Fraction, Kind
from headrace.models.base import STEP_DIMS, is_sequence

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def _distinct(strengths: tuple[float, ...]) -> tuple[float, ...]:
    if not strengths:
        raise ValueError("is empty; give at least one strength")
    twice = sorted({strength for strength in strengths if strengths.count(strength) > 1})
    if twice:
        raise ValueError(f"has {twice[0]:g} twice; every strength may appear once")
    return strengths


Amounts = Annotated[tuple[Annotated[float, Field(gt=0, le=100)], ...], AfterValidator(_distinct)]
"""Strengths that count something."""
Shares = Annotated[tuple[Fraction, ...], AfterValidator(_distinct)]
"""Strengths that are a share of something: all of it would leave nothing to judge."""

NO_PLACES = frozenset({"band", "channel", "code", "component", "feature", "variable"})
"""Dimensions along which nothing lies beside anything."""


@dataclass(frozen=True)
class Original:
    """What a corruption may know of the inputs that it makes worse."""

    is_sequence: bool
    """Whether a sample of two dimensions is a sequence (step, feature), and not an image."""
    mean: Tensor | None = None
    """Of every number of a sample over the training split, in the shape of a sample; None where that isn't needed."""
    deviation: Tensor | None = None
    """The standard deviation likewise."""


class CorruptionSpec(Kind):
    """The strengths of one kind of corruption."""

    unit: ClassVar[str]
    """What a strength is, for an axis."""
    needs: ClassVar[str] = "dense measurements"
    """Inputs that fit, in the words of a message."""
    reads_training: ClassVar[bool] = False
    """Whether it needs mean and deviation of the training split."""

    strengths: tuple[float, ...]
    """Every kind says what they are, and which are allowed."""

    def misfit(self, info: DataInfo) -> str | None:
        """What inputs are to which this cannot be done; None where it can be."""
        if info.num_codes:
            return "codes"
        return None if info.layout == "dense" else f"{info.layout} inputs"

    @abstractmethod
    def apply(self, inputs: Tensor, strength: float, original: Original, generator: torch.Generator) -> Tensor:
        """Make a batch (batch, ...) of float32 worse, in a tensor of its own.

        What it draws comes from the generator, which begins anew with the same seed for every strength and model.
        """


class PlacedSpec(CorruptionSpec):
    """A corruption along the pixels of images or the steps of sequences."""

    needs: ClassVar[str] = "images or sequences"

    def misfit(self, info: DataInfo) -> str | None:
        """Numbers that only stand beside each other have no neighbours, and no mean that means anything."""
        found = super().misfit(info)
        if found is not None or is_sequence(info):
            return found
        if len(info.shape) < 2:
            return "flat features"
        is_image = len(info.shape) <= 3 and not set(info.dims[:2]) & (STEP_DIMS | NO_PLACES)
        return None if is_image else f"({', '.join(info.dims)})"


def places(original: Original) -> tuple[int, ...]:
    """The dimensions of a batch that count steps, or height and width: channels come last, or there are none."""
    return (1,) if original.is_sequence else (1, 2)
