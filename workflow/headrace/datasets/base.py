"""What a kind of dataset must give: a description without loading anything, and the data themselves."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.config import Kind, PositiveInt, Split

if TYPE_CHECKING:
    import xarray as xr

INPUTS = "inputs"
TARGET = "target"
SAMPLE = "sample"


@dataclass(frozen=True)
class DataInfo:
    """What is known of a dataset, or of features made from it, before anything is loaded."""

    tasks: tuple[str, ...]
    """Which tasks it can serve: classification, regression, density."""
    num_samples: int
    shape: tuple[int, ...]
    """Shape of one sample."""
    dims: tuple[str, ...]
    """Names of the dimensions of one sample."""
    class_names: tuple[str, ...] = ()
    class_counts: tuple[int, ...] = ()
    """Samples in each class, over all splits."""
    num_targets: int = 0
    """Numbers to predict for one sample in a regression."""
    unit_interval: bool = False
    """Whether every input lies in [0, 1]."""
    licence: str = ""
    source: str = ""

    @property
    def num_features(self) -> int:
        """Numbers in one sample."""
        return math.prod(self.shape)


class DatasetSpec(Kind):
    """Parameters that every kind of dataset has."""

    split: Split = Split()
    """How the samples are divided into training, validation and test."""
    rows_per_shard: PositiveInt | None = None
    """Samples in a shard; by default at least 8 shards, none above 32 MiB."""

    @abstractmethod
    def describe(self) -> DataInfo:
        """What is known without loading: it must be cheap, and import nothing heavy."""

    @abstractmethod
    def open(self) -> xr.Dataset:
        """The data: `inputs` (sample, ...) and, where there is one, `target` (sample,) or (sample, output).

        Inputs are float32; targets are int64 codes for classes and float32 for numbers. Variables may be lazy.
        """
