"""Divide samples into training, validation and test: decided by the labels and the seed alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.config import Split

if TYPE_CHECKING:
    import numpy as np

    from headrace.datasets.base import DataInfo

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Division:
    """Which source row goes where."""

    order: np.ndarray
    """(samples,) source rows: training first, then validation, then test, each in the order of the source."""
    sizes: dict[str, int]
    """Samples in each split."""


def resolve_split(split: Split, info: DataInfo) -> Split:
    """Put `stratified` or `random` in the place of `auto`. Raises ValueError where there is nothing to stratify by."""
    if split.by == "stratified" and not info.class_names:
        raise ValueError("split.by: stratified needs classes, and this dataset has none; allowed: random, auto")
    by = split.by if split.by != "auto" else "stratified" if info.class_names else "random"
    return split.model_copy(update={"by": by})


def split_sizes(num_samples: int, split: Split) -> dict[str, int]:
    """How many of `num_samples` go to each split: borders at the rounded cumulative fractions."""
    borders = [0, round(num_samples * split.train), round(num_samples * (split.train + split.validation)), num_samples]
    return {name: borders[i + 1] - borders[i] for i, name in enumerate(SPLITS)}


def planned_sizes(info: DataInfo, split: Split) -> dict[str, int]:
    """The sizes of the splits of a whole dataset. Raises ValueError when a split is empty or leaves a class out."""
    if split.by != "stratified":
        sizes = split_sizes(info.num_samples, split)
        for name, size in sizes.items():
            if size < max(1, len(info.class_names)):
                what = f"{size} samples for {len(info.class_names)} classes" if info.class_names else "no sample at all"
                raise ValueError(f"split.{name}: {getattr(split, name):g} of {info.num_samples} samples is {what}")
        return sizes
    sizes = dict.fromkeys(SPLITS, 0)
    for label, count in zip(info.class_names, info.class_counts, strict=True):
        for name, size in split_sizes(count, split).items():
            if size == 0:
                fraction = getattr(split, name)
                least = f"at least {1 / count:.2g}"
                raise ValueError(
                    f"split.{name}: {fraction:g} leaves class {label!r} out ({count} samples in all); allowed: {least}"
                )
            sizes[name] += size
    return sizes


def divide(num_samples: int, labels: np.ndarray | None, split: Split) -> Division:
    """Assign every sample to a split; `labels` (samples,) are the class codes when stratified.

    Each class is shuffled by a generator of its own, so that the rows of one class do not move when another grows.
    """
    import numpy as np

    groups = [np.arange(num_samples)]
    if split.by == "stratified":
        if labels is None:
            raise ValueError("a stratified split needs labels")
        groups = [np.flatnonzero(labels == code) for code in np.unique(labels)]
    parts: dict[str, list[np.ndarray]] = {name: [] for name in SPLITS}
    for code, rows in enumerate(groups):
        shuffled = np.random.Generator(np.random.PCG64([split.seed, code])).permutation(rows)
        start = 0
        for name, size in split_sizes(len(rows), split).items():
            parts[name].append(shuffled[start : start + size])
            start += size
    rows_of = {name: np.sort(np.concatenate(part)) for name, part in parts.items()}
    return Division(
        order=np.concatenate([rows_of[name] for name in SPLITS]),
        sizes={name: len(rows) for name, rows in rows_of.items()},
    )
