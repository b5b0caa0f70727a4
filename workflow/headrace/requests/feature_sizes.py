"""How much memory the data of a feature set take: as they are stored, and in the processes that train on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from headrace.datasets.base import DataInfo

MIB = 2**20
RESIDENT_MIB = 512
"""A split that is no larger stays in memory."""
WINDOW_MIB = 256
"""Chunks that are shuffled together, as they are stored and as they are trained on."""

MOST_NEIGHBOURS, MOST_NEIGHBOURS_MIB = 10_000, 64
"""Training samples among which the nearest is looked for, and how much of them in float32."""


@dataclass(frozen=True)
class FeatureSize:
    """A feature set, counted: MiB in float32 and samples of each split."""

    mib: Mapping[str, float]
    samples: Mapping[str, int]
    steps: int
    """Of the longest sequence."""

    def of(self, *splits: str) -> float:
        """MiB of some splits."""
        return sum(self.mib[split] for split in splits)

    def kept(self, *splits: str) -> float:
        """MiB of the splits that stay in memory, which forked processes share."""
        return sum(min(self.mib[split], RESIDENT_MIB) for split in splits)

    def windows(self, *splits: str) -> float:
        """MiB of what is being shuffled, in every process of its own."""
        return 2 * min(max(self.mib[split] for split in splits), WINDOW_MIB)

    def neighbours(self) -> float:
        """MiB of the training samples among which the nearest is looked for: in float64, and once more with a sign."""
        mib = self.mib["train"] * min(1.0, MOST_NEIGHBOURS / max(1, self.samples["train"]))
        return 4 * min(mib, MOST_NEIGHBOURS_MIB)


def count_mib(info: DataInfo, num_samples: int) -> float:
    """Inputs in float32 and a target of 8 bytes; of ragged and sparse inputs what is stored, and where it is."""
    share = num_samples / max(1, info.num_samples)
    if info.layout == "ragged":
        return (info.num_values * share * 4 * info.num_features + 16 * num_samples) / MIB
    if info.layout == "sparse":
        return (info.num_values * share * 8 + 16 * num_samples) / MIB
    return num_samples * (4 * info.num_features + 8) / MIB
