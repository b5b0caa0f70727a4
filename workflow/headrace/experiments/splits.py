"""Divide samples into training, validation and test: decided by the labels and the seed alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.experiments.config import Split

if TYPE_CHECKING:
    import numpy as np

    from headrace.datasets.base import DataInfo

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Division:
    """Which source row goes where."""

    order: np.ndarray
    """(samples,) source rows: training first, then validation, then test, each in the order of the source, or of time
    where that decides."""
    sizes: dict[str, int]
    """Samples in each split."""


def resolve_split(split: Split, info: DataInfo) -> Split:
    """Put a way in the place of `auto`. Raises ValueError where there is nothing to go by."""
    if split.by == "stratified" and not info.class_names:
        raise ValueError("split.by: stratified needs classes, and this dataset has none; allowed: random, auto")
    if split.by == "source" and split.column is None and not info.own_split:
        raise ValueError("split.by: source needs a `column`: these data are not divided themselves")
    if split.by == "time" and split.column is None and info.own_split:
        # Windows of a series: which of them lie in which stretch is for the kind to say.
        return split.model_copy(update={"by": "source"})
    if split.by != "auto":
        return split
    by = "source" if info.own_split else "stratified" if info.class_names else "random"
    return split.model_copy(update={"by": by})


def split_sizes(num_samples: int, split: Split) -> dict[str, int]:
    """How many of `num_samples` go to each split: borders at the rounded cumulative fractions, or those given."""
    inner = split.borders or (round(num_samples * split.train), round(num_samples * (split.train + split.validation)))
    borders = [0, *(min(border, num_samples) for border in inner), num_samples]
    return {name: borders[i + 1] - borders[i] for i, name in enumerate(SPLITS)}


def planned_sizes(info: DataInfo, split: Split) -> dict[str, int]:
    """The sizes of the splits of a whole dataset. Raises ValueError when a split is empty or leaves a class out."""
    if info.split_sizes is not None:
        return dict(zip(SPLITS, info.split_sizes, strict=True))
    if split.by == "stratified":
        return _stratified_sizes(info, split)
    sizes = split_sizes(info.num_samples, split)
    for name, size in sizes.items():
        if size < max(1, len(info.class_names)):
            what = f"{size} samples for {len(info.class_names)} classes" if info.class_names else "no sample at all"
            if split.borders:
                raise ValueError(f"split.borders: {list(split.borders)} of {info.num_samples} leave {name} {what}")
            raise ValueError(f"split.{name}: {getattr(split, name):g} of {info.num_samples} samples is {what}")
    return sizes


def _stratified_sizes(info: DataInfo, split: Split) -> dict[str, int]:
    sizes = dict.fromkeys(SPLITS, 0)
    for label, count in zip(info.class_names, info.class_counts, strict=True):
        for name, size in split_sizes(count, split).items():
            if size == 0:
                fraction = getattr(split, name)
                least = f"at least {1 / count:.2g}" if count else "classes that have samples"
                raise ValueError(
                    f"split.{name}: {fraction:g} leaves class {label!r} out ({count} samples in all); allowed: {least}"
                )
            sizes[name] += size
    return sizes


def divide(num_samples: int, labels: np.ndarray | None, split: Split, keys: np.ndarray | None = None) -> Division:
    """Assign every sample to a split.

    `labels` (samples,) are the class codes when stratified; `keys` (samples,) what `split.column` says: numbers of
    groups, times, or 0, 1 and 2 for the three splits. Raises ValueError when that leaves a split empty.
    """
    import numpy as np

    by_keys = {"grouped": _by_group, "time": _by_time, "source": _by_source}
    if split.by in by_keys:
        if keys is None and split.by != "time":
            raise ValueError(f"split.by: {split.by} has nothing to go by")
        parts = by_keys[split.by](num_samples, split, keys)
        for name, rows in zip(SPLITS, parts, strict=True):
            if len(rows) == 0:
                raise ValueError(f"split.by: {split.by} leaves {name} without any sample")
    elif split.by == "stratified":
        if labels is None:
            raise ValueError("a stratified split needs labels")
        parts = _by_class(split, labels)
    else:
        parts = _by_class(split, np.zeros(num_samples, np.int8))
    return Division(np.concatenate(parts), {name: len(rows) for name, rows in zip(SPLITS, parts, strict=True)})


def _by_class(split: Split, labels: np.ndarray) -> list[np.ndarray]:
    """Each class is shuffled by a generator of its own: the rows of one do not move when another grows."""
    import numpy as np

    parts: list[list[np.ndarray]] = [[], [], []]
    by_class = np.argsort(labels, kind="stable")
    borders = np.flatnonzero(np.diff(labels[by_class])) + 1
    for code, rows in enumerate(np.split(by_class, borders)):
        shuffled = np.random.Generator(np.random.PCG64([split.seed, code])).permutation(rows)
        start = 0
        for part, size in zip(parts, split_sizes(len(rows), split).values(), strict=True):
            part.append(shuffled[start : start + size])
            start += size
    return [np.sort(np.concatenate(part)) for part in parts]


def _by_group(num_samples: int, split: Split, keys: np.ndarray | None) -> list[np.ndarray]:
    """Whole groups in a shuffled order, cut where the shares of the samples are nearest."""
    import numpy as np

    assert keys is not None
    groups, of_row, sizes = np.unique(keys, return_inverse=True, return_counts=True)
    if len(groups) < len(SPLITS):
        raise ValueError(f"split.column: {split.column} has {len(groups)} groups; three splits need at least 3")
    order = np.random.Generator(np.random.PCG64(split.seed)).permutation(len(groups))
    reached = np.cumsum(sizes[order])
    targets = np.cumsum([split.train, split.validation]) * num_samples
    first, second = (int(np.abs(reached - target).argmin()) + 1 for target in targets)
    # At least one group each, whatever the shares.
    first = min(first, len(groups) - 2)
    second = min(max(second, first + 1), len(groups) - 1)
    split_of_group = np.empty(len(groups), np.int8)
    split_of_group[order] = np.repeat(np.arange(3, dtype=np.int8), [first, second - first, len(groups) - second])
    return _by_source(num_samples, split, split_of_group[of_row])


def _by_time(num_samples: int, split: Split, keys: np.ndarray | None) -> list[np.ndarray]:
    """Earliest first; samples of the same time keep the order of the source."""
    import numpy as np

    order = np.arange(num_samples) if keys is None else np.argsort(keys, kind="stable")
    sizes = list(split_sizes(num_samples, split).values())
    return np.split(order, np.cumsum(sizes)[:-1])


def _by_source(_: int, split: Split, keys: np.ndarray | None) -> list[np.ndarray]:
    import numpy as np

    return [np.flatnonzero(keys == code) for code in range(len(SPLITS))]
