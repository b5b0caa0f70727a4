"""What a forecast is held against: the spread of its series in training, and the last value repeated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from headrace.batching.batches import Split, open_split
from headrace.inference.trained import BATCH_SIZE, Outputs
from headrace.stores.groups import read_attributes
from headrace.stores.layout import STORE


@dataclass(frozen=True)
class Series:
    """Windows of a series in the units of the data, by split."""

    windows: Mapping[str, Split]
    columns: Sequence[int] | None
    """Which inputs are predicted, one for every predicted column; None where not all of them were seen before."""
    deviations: np.ndarray
    """(columns,) the standard deviation of every predicted column over the training stretch of the series."""
    horizon: int
    """Steps that are predicted."""

    @property
    def deviation(self) -> np.ndarray:
        """(outputs,) of every predicted number: steps one after the other, and in each its columns."""
        return np.tile(self.deviations, self.horizon)

    def repeat_last(self, split: str) -> np.ndarray | None:
        """(samples, outputs) what the last step of each window was, for every step; None where that was not seen."""
        if self.columns is None:
            return None
        last = []
        for batch in self.windows[split].in_order(BATCH_SIZE):
            assert isinstance(batch.inputs, torch.Tensor)
            last.append(batch.inputs[:, -1].numpy()[:, self.columns])
        return np.tile(np.concatenate(last), (1, self.horizon))

    def measures(self, split: str) -> Outputs:
        """What the metrics of a forecast need beside its outputs; see `judging.metrics.compute`."""
        naive = self.repeat_last(split)
        return {"deviation": self.deviation} | ({} if naive is None else {"naive": naive})


def open_series(folder: Path, splits: Sequence[str]) -> Series:
    """The windows of shards of a series."""
    said = read_attributes(folder / STORE)
    names, wanted = said["feature_names"], said["target_columns"]
    columns = [names.index(name) for name in wanted] if set(wanted) <= set(names) else None
    # Read through once and not kept.
    windows = {split: open_split(folder, split, resident_mib=0) for split in splits}
    return Series(windows, columns, np.array(said["target_deviations"]), said["horizon"])
