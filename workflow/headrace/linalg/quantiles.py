"""Quantiles of every column of a blocked matrix, from small summaries that are merged along the tree of the blocks.

A summary of n values that has room for B keeps n values as they are while n <= B, else the B values whose ranks are
(i + 1/2) n / B for i = 0, ..., B - 1, each of which stands for n / B values. Let R(x) = #{values <= x}. A value with
rank r is kept as Q(r) = min{v: R(v) >= r}, and Q(r) <= x is the same as r <= R(x); so x lies above as many of the kept
values as R(x) B / n rounded to the nearest whole number, and to make a summary moves no rank by more than n / (2 B).
The same holds for #{values < x}, and so for tied values. Merging adds ranks and then summarizes anew. Over a tree of
height h, each row takes part in h + 1 summaries: no rank is wrong by more than n (h + 1) / (2 B), whatever the values.
These are the summaries of Greenwald and Khanna (2004, https://doi.org/10.1145/1055558.1055597, for trees of known
height), in the form of Munro and Paterson (1980, https://doi.org/10.1016/0304-3975(80)90061-4): values alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from headrace.linalg import kernels
from headrace.linalg.blocks import RowBlocks

GROUP_VALUES = 2**20
"""In the summaries of all columns that are made in one pass: some 8 MiB, and ten times that while two are merged."""


@dataclass(frozen=True)
class Summary:
    """Of the values of some columns that are not NaN."""

    values: np.ndarray
    """(columns, width) ascending, with NaN behind the `sizes` of each column."""
    sizes: np.ndarray
    """(columns,) values kept."""
    counts: np.ndarray
    """(columns,) values seen: each one that is kept stands for counts / sizes of them."""
    least: np.ndarray
    """(columns,) the smallest value seen; NaN where there was none."""
    most: np.ndarray
    """(columns,) the largest value seen."""
    slack: np.ndarray
    """(columns,) how far a rank may be off, in values."""

    @property
    def weights(self) -> np.ndarray:
        """(columns, 1) values that one value stands for."""
        weights: np.ndarray = (self.counts / np.maximum(self.sizes, 1))[:, None]
        return weights

    def quantiles(self, levels: np.ndarray) -> np.ndarray:
        """Levels (k,) from 0 to 1 -> (columns, k) float64, between order statistics as `numpy.quantile` does.

        Level 0 is the smallest value and level 1 the largest. NaN for a column without values.
        """
        places = levels * np.maximum(self.counts - 1, 0)[:, None]
        # A place that is whole but for rounding is meant: beside a tied value it would not be the tied value any more.
        places = np.where(np.abs(places - np.rint(places)) <= 1e-12 * places, np.rint(places), places)
        below = np.floor(places)
        low, high = self._order_statistics(below), self._order_statistics(np.ceil(places))
        found: np.ndarray = low + (high - low) * (places - below)
        return found

    def _order_statistics(self, places: np.ndarray) -> np.ndarray:
        """(columns, k) counted from 0, as floats: the value that stands for the middle of [place, place + 1]."""
        kept = np.floor((places + 0.5) / np.maximum(self.weights, 1)).astype(np.int64)
        kept = np.clip(kept, 0, np.maximum(self.sizes - 1, 0)[:, None])
        found = np.take_along_axis(self.values, kept, axis=1).astype(np.float64)
        found = np.where(places <= 0, self.least[:, None], found)
        last: np.ndarray = np.where((places > 0) & (places >= self.counts[:, None] - 1), self.most[:, None], found)
        return last


def column_quantiles(
    blocks: RowBlocks, levels: np.ndarray, error: float, num_columns: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Quantiles of every column at levels (k,): (columns, k) float64, and (columns,) how many values there are.

    NaN is no value. No rank is off by more than `error` times the number of values; with few rows none is off at all.
    Columns are taken in groups, one pass over the blocks each, so that memory does not grow with their number, which
    is asked of the blocks when it is not given.
    """
    if num_columns is None:
        num_columns = int(blocks.map(kernels.count_columns)[0])
    room = room_for(len(blocks), error)
    step = max(1, GROUP_VALUES // min(room, blocks.num_rows))
    found, counts = [], []
    for start in range(0, num_columns, step):
        summary = summarize(blocks, slice(start, min(start + step, num_columns)), room)
        found.append(summary.quantiles(levels))
        counts.append(summary.counts)
    return np.concatenate(found), np.concatenate(counts)


def room_for(num_blocks: int, error: float) -> int:
    """Values that a summary must keep so that, merged along the tree of the blocks, no rank is off by more."""
    height = (num_blocks - 1).bit_length()
    return math.ceil((height + 1) / (2 * error))


def summarize(blocks: RowBlocks, columns: slice, room: int) -> Summary:
    """Of some columns of all blocks, the same bits for any number of workers."""
    summary: Summary = blocks.reduce(summarize_block, columns, room, combine=partial(merge, room=room))
    return summary


def summarize_block(block: Any, columns: slice, room: int) -> Summary:
    """Of a dense block (rows, ...). Runs in a worker."""
    rows = kernels.flat(block)[:, columns]
    values = np.array(rows.T, np.float32 if rows.dtype == np.float32 else np.float64, order="C")
    values.sort(axis=1)  # NaN goes to the end
    counts = values.shape[1] - np.isnan(values).sum(axis=1)
    sizes = np.minimum(counts, room)
    width = max(1, int(sizes.max()))
    places = np.broadcast_to(np.arange(width), (len(values), width))
    chosen = np.where(
        (counts > room)[:, None], np.ceil((places + 0.5) * (counts / room)[:, None]).astype(np.int64) - 1, places
    )
    kept = np.take_along_axis(values, chosen, axis=1)
    last = np.take_along_axis(values, np.maximum(counts - 1, 0)[:, None], axis=1)[:, 0]
    slack = np.where(counts > room, counts / (2 * room), 0.0)
    return Summary(kept, sizes, counts, values[:, 0].astype(np.float64), last.astype(np.float64), slack)


def merge(one: Summary, other: Summary, room: int) -> Summary:
    """The summary of what both have seen."""
    values = np.concatenate([one.values, other.values], axis=1)
    order = np.argsort(values, axis=1, kind="stable")
    values = np.take_along_axis(values, order, axis=1)
    from_one = np.cumsum(order < one.values.shape[1], axis=1)
    places = np.arange(1, values.shape[1] + 1)
    # Counted in whole numbers and multiplied once: added up, rounding would grow with the number of values.
    ranks = one.weights * from_one + other.weights * (places - from_one)
    counts, there = one.counts + other.counts, one.sizes + other.sizes
    full = there > room
    sizes = np.where(full, room, there)
    # How many of the wanted ranks (i + 1/2) n / B are not above the rank of each value; all, for the last one.
    wanted = np.floor(ranks * (room / np.maximum(counts, 1))[:, None] + 0.5).astype(np.int64)
    wanted = np.where(full[:, None], np.minimum(wanted, room), places)
    wanted = np.where(places >= there[:, None], sizes[:, None], wanted)
    times = np.diff(wanted, axis=1, prepend=0)
    kept = np.full((len(values), max(1, int(sizes.max()))), np.nan, values.dtype)
    kept[np.arange(kept.shape[1]) < sizes[:, None]] = np.repeat(values.reshape(-1), times.reshape(-1))
    slack = one.slack + other.slack + np.where(full, counts / (2 * room), 0.0)
    least, most = np.fmin(one.least, other.least), np.fmax(one.most, other.most)
    return Summary(kept, sizes, counts, least, most, slack)
