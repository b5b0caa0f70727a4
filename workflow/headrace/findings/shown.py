"""What a report shows of a run beside its numbers: its latent space, and what its predictions rest on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Traversals:
    """What becomes of an image as one dimension of its latent space moves and the others stay at 0."""

    dimensions: np.ndarray
    """(dimensions,) their places, counted from 0; those that say the most of the inputs, first."""
    divergences: np.ndarray
    """(dimensions,) mean divergence from the prior over the test split in nats a sample."""
    steps: np.ndarray
    """(steps,) where a dimension stands, in standard deviations of the prior."""
    pictures: np.ndarray
    """(dimensions, steps, height, width) in [0, 1]."""


@dataclass(frozen=True)
class LatentMap:
    """Where samples of the test split lie in a latent space."""

    places: np.ndarray
    """(samples, 2) along the two axes in which they differ most."""
    explained: np.ndarray
    """(2,) share of the variance along each."""
    classes: np.ndarray | None
    """(samples,) their classes, where the dataset has any."""


@dataclass(frozen=True)
class SanityCheck:
    """How much the attributions of a method are like those with random weights, as a mean over samples."""

    method: str
    weights: str
    """`start`: those that training began with; `random`: others, drawn as they were."""
    correlation: float
    """Rank correlation; nan where the attributions of no sample have an order."""
    correlation_of_sizes: float
    """That of the absolute values."""


@dataclass(frozen=True)
class Explanation:
    """What the predictions of a run rest on, for samples of the test split, some of which are shown.

    Of images there are `pictures` and `maps`, of all else `shares`.
    """

    methods: Sequence[str]
    num_samples: int
    num_steps: int
    """Points at which integrated gradients were taken."""
    patch_kind: str
    """What occlusion hides at a time: `windows` of an image, or `spans` of features, or of steps."""
    num_patches: int
    patch_size: int
    """Pixels along a side, features or steps."""
    patch_stride: int
    completeness_error: float
    """What integrated gradients miss of the differences that they should sum to, as a share of these."""
    agreement: float
    """Rank correlation of the methods over patches."""
    checks: Sequence[SanityCheck]
    rows: np.ndarray
    """(shown,) places of the samples in the test split, from 0."""
    targets: np.ndarray
    """(shown,) true classes or numbers."""
    outputs: np.ndarray
    """(shown,) predicted classes, whose logits are explained, or numbers."""
    pictures: np.ndarray | None = None
    """(shown, height, width) or (shown, height, width, 3) uint8."""
    maps: np.ndarray | None = None
    """(shown, methods, height, width) int8, from -127 to 127."""
    reach: np.ndarray | None = None
    """(shown, methods) what 127 stands for."""
    shares: np.ndarray | None = None
    """(shown, methods, patches)."""
    means: np.ndarray | None = None
    """(methods, patches) mean absolute shares over all samples."""
    edges: np.ndarray | None = None
    """(patches + 1,) features or steps at which patches begin, and how many there are."""
    feature_means: np.ndarray | None = None
    """(features,) of sequences: the same of integrated gradients, summed over the steps."""
    names: Sequence[str] = ()
    """Of the features, where they are known."""
