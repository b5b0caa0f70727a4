"""What a kind of preprocessing step must give: a fit over row blocks, and a pure map of one block."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING

from headrace.config import Kind
from headrace.datasets.base import DataInfo

if TYPE_CHECKING:
    import numpy as np

    from headrace.linalg.blocks import RowBlocks

State = Mapping[str, "np.ndarray"]


class StepSpec(Kind):
    """Parameters of one step in a chain."""

    @abstractmethod
    def describe(self, info: DataInfo, num_train: int) -> DataInfo:
        """What comes out when `info` goes in. Raises ValueError that names the parameter when it cannot work."""

    @abstractmethod
    def fit(self, train: RowBlocks) -> State:
        """Learn from the training split alone. Reductions run in the blocks' order, whoever computed them."""

    @abstractmethod
    def apply(self, block: np.ndarray, state: State) -> np.ndarray:
        """Transform a block (rows, ...) to (rows, ...); it must not depend on which rows share the block."""
