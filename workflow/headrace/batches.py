"""From a store to batches: every epoch in an order of its own that the seed and the epoch decide."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from headrace import stores
from headrace.datasets.base import INPUTS, TARGET
from headrace.provenance import read_manifest


@dataclass(frozen=True)
class SplitData:
    """One split in memory: inputs (samples, ...) float32, target (samples,) codes or (samples, outputs) numbers."""

    inputs: np.ndarray
    target: np.ndarray | None

    def __len__(self) -> int:
        return len(self.inputs)

    def epoch(
        self, batch_size: int, seed: int, epoch: int, first: int = 0
    ) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
        """Shuffled batches of one epoch from batch `first` on; the last one may be smaller.

        The order needs no state: a run that goes on from a checkpoint finds it again from (seed, epoch).
        """
        order = np.random.Generator(np.random.PCG64([seed, epoch])).permutation(len(self))
        for start in range(first * batch_size, len(self), batch_size):
            rows = order[start : start + batch_size]
            # numpy's take: torch's own indexing is many times slower when cores are contended.
            yield self.inputs.take(rows, axis=0), None if self.target is None else self.target.take(rows, axis=0)

    def in_order(self, batch_size: int) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
        """Batches as they lie in the store."""
        for start in range(0, len(self), batch_size):
            rows = slice(start, start + batch_size)
            yield self.inputs[rows], None if self.target is None else self.target[rows]


def read_split(folder: Path, split: str) -> SplitData:
    """One split of an artifact, every shard checked against the manifest's digest."""
    manifest = read_manifest(folder)
    if manifest is None:
        raise FileNotFoundError(f"{folder}: not a sealed artifact")
    path = folder / stores.STORE
    stores.check_small(path, manifest["outputs"])
    rows = stores.split_rows(path, split)
    has_target = TARGET in stores.read_variables(path)

    def read(name: str) -> Any:
        return np.concatenate(list(stores.read_rows(path, name, rows, manifest["outputs"])))

    target = read(TARGET) if has_target else None
    if target is not None and np.issubdtype(target.dtype, np.floating):
        target = target.reshape(len(target), -1)
    return SplitData(np.ascontiguousarray(read(INPUTS), dtype=np.float32), target)
