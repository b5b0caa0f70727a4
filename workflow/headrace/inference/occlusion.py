"""What a prediction loses when a part of the sample is hidden: occlusion.

Zeiler and Fergus 2014, "Visualizing and Understanding Convolutional Networks", section 4.2: a square slides over the
image, and how far the score of the class falls says how much it rests on what lies below.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

MAX_NUMBERS = 2**20
"""Inputs that are predicted at once, over all samples with a part hidden; one sample at least."""
MAX_ROWS = 1024
"""Samples with a part hidden that are predicted at once."""
Place = tuple[slice, ...]
"""Of a patch in a sample, along its first dimensions."""


@dataclass(frozen=True)
class Patches:
    """The parts of a sample that are hidden, one after the other. Together they cover all of it."""

    kind: Literal["windows", "spans"]
    """`windows` of an image, with all their channels, which overlap; or `spans` along the first dimension, which do
    not: steps of a sequence with all their features, or features."""
    places: Sequence[Place]
    size: int
    """Pixels along a side, steps or features of the largest patch."""
    stride: int
    """How far apart two neighbours begin."""


def cut_patches(shape: Sequence[int], *, is_sequence: bool, most: int) -> Patches:
    """The finest patches of a sample of a shape, of which there are `most` at the most.

    Windows are square, and half a side apart; the last one of a row ends with the image.
    """
    if is_sequence or len(shape) not in (2, 3):
        length = shape[0]
        count = min(length, most)
        edges = [length * i // count for i in range(count + 1)]
        spans = [(slice(start, stop),) for start, stop in pairwise(edges)]
        size = -(-length // count)
        return Patches("spans", spans, size, size)
    height, width = shape[:2]
    for side in range(1, max(height, width) + 1):
        stride = max(1, side // 2)
        rows, columns = (_cut_side(length, side, stride) for length in (height, width))
        if len(rows) * len(columns) <= most:
            return Patches("windows", [(row, column) for row in rows for column in columns], side, stride)
    raise ValueError(f"an image of {height} x {width} pixels cannot be cut into {most} windows")


def _cut_side(length: int, side: int, stride: int) -> list[slice]:
    side = min(side, length)
    starts = [*range(0, length - side, stride), length - side]
    return [slice(start, start + side) for start in starts]


@torch.no_grad()
def occlude(module: torch.nn.Module, inputs: Tensor, baseline: Tensor, patches: Patches, chosen: Tensor) -> Tensor:
    """By how much an output falls when a patch is as in the baseline: (batch, patches) float64.

    `inputs` and `baseline` are (batch, ...); the module gives (batch, outputs), of which `chosen` (batch, 1) int64 are
    looked at. Memory is that of MAX_NUMBERS inputs, or of MAX_ROWS small samples.
    """
    drops = torch.empty(len(inputs), len(patches.places), dtype=torch.float64)
    together = max(1, min(MAX_ROWS, MAX_NUMBERS // max(1, inputs[0].numel())))
    for rows in _cut(len(inputs), together):
        own, own_baseline, own_chosen = inputs[rows], baseline[rows], chosen[rows]
        whole = module(own).gather(1, own_chosen).double()
        for some in _cut(len(patches.places), max(1, together // len(own))):
            places = patches.places[some]
            hidden = own.repeat(len(places), *[1] * (own.dim() - 1)).view(len(places), *own.shape)
            for copy, place in zip(hidden, places, strict=True):
                copy[(slice(None), *place)] = own_baseline[(slice(None), *place)]
            outputs = module(hidden.flatten(0, 1)).gather(1, own_chosen.repeat(len(places), 1))
            drops[rows, some] = (whole - outputs.double().view(len(places), -1).T).cpu()
    return drops


def _cut(length: int, size: int) -> Iterator[slice]:
    for start in range(0, length, size):
        yield slice(start, min(start + size, length))


def add_up(shares: Tensor, patches: Patches) -> Tensor:
    """What the shares (batch, ...) of the inputs in each patch sum to: (batch, patches)."""
    sums = [shares[(slice(None), *place)].flatten(1).sum(dim=1) for place in patches.places]
    return torch.stack(sums, dim=1)


def spread(drops: Tensor, patches: Patches, shape: Sequence[int]) -> Tensor:
    """(batch, patches) drops to (batch, height, width), or (batch, length): spread evenly over each patch.

    Of a pixel in several windows it is their mean.
    """
    extent = shape[: len(patches.places[0])]
    total, count = drops.new_zeros(len(drops), *extent), drops.new_zeros(*extent)
    for i, place in enumerate(patches.places):
        part = count[place]
        total[(slice(None), *place)] += (drops[:, i] / part.numel()).view(-1, *[1] * part.dim())
        count[place] += 1
    return total / count
