"""Counts weighted by how rare a term is."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from headrace.datasets.base import DataInfo
from headrace.preprocessing.base import FitData, State, StepSpec

if TYPE_CHECKING:
    import numpy as np
    from scipy.sparse import csr_array

    from headrace.blocks import Block


class Spec(StepSpec):
    """Multiply counts by the inverse document frequencies of the training split, so that terms that many samples hold
    weigh little; for example `{kind: tfidf, sublinear: true}` after hash_vectorize.

    What is sparse stays sparse. The weight of a term that `d` of `n` training samples hold is 1 + log(n / d).
    """

    reads: ClassVar[tuple[str, ...]] = ("dense", "sparse")

    sublinear: bool = False
    """Whether a count c becomes 1 + log(c) first; of a negative one the size does, and the sign stays."""
    smooth: bool = True
    """Whether one more sample that holds every term is counted, so that n and d are larger by one. Without it, a term
    that no training sample holds weighs as one that a single sample holds."""
    norm: Literal["l2", "l1", "none"] = "l2"
    """What every sample is divided by, so that long texts weigh as much as short ones: the root of the sum of its
    squares, the sum of its sizes, or nothing."""

    def describe(self, info: DataInfo, num_train: int) -> DataInfo:
        """The shape stays; the range does not."""
        return replace(info, dtype="float32", unit_interval=False)

    def fit(self, data: FitData) -> State:
        """`weights`: (terms,) or the shape of a sample, float64."""
        import numpy as np

        held, more = data.inputs.sum(_count_holders), int(self.smooth)
        weights = 1 + np.log((data.inputs.num_rows + more) / np.maximum(held + more, 1))
        return {"weights": weights}

    def apply(self, block: Block, state: State, rows: slice) -> Block:
        """(rows, ...) to (rows, ...), float32."""
        import numpy as np

        if isinstance(block, np.ndarray):
            values = self._dampen(block.astype(np.float64)) * state["weights"]
            numbers = tuple(range(1, values.ndim))
            values /= self._sizes(self._magnitudes(values).sum(axis=numbers, keepdims=True))
            return values.astype(np.float32)
        sparse = _canonical(block)
        stored = np.diff(sparse.indptr)
        values = self._dampen(sparse.data)
        values *= state["weights"][sparse.indices]
        sums = np.zeros(len(stored))
        filled = stored > 0
        sums[filled] = np.add.reduceat(self._magnitudes(values), sparse.indptr[:-1][filled])
        values /= np.repeat(self._sizes(sums), stored)
        sparse.data = values.astype(np.float32)
        return sparse

    def _dampen(self, counts: np.ndarray) -> np.ndarray:
        import numpy as np

        if not self.sublinear:
            return counts
        logarithms = np.log(np.abs(counts), out=np.zeros_like(counts), where=counts != 0)
        dampened: np.ndarray = np.sign(counts) * (1 + logarithms)
        return dampened

    def _magnitudes(self, values: np.ndarray) -> np.ndarray:
        """What is added up for a norm."""
        return abs(values) if self.norm == "l1" else values**2

    def _sizes(self, sums: np.ndarray) -> np.ndarray:
        """What a sample is divided by; one of zeros stays."""
        import numpy as np

        if self.norm == "none":
            return np.ones_like(sums)
        sizes = sums if self.norm == "l1" else np.sqrt(sums)
        return np.where(sizes == 0, 1.0, sizes)


def _canonical(block: Any) -> csr_array:
    """The same matrix in float64 and in memory of its own, without stored zeros and with nothing stored twice."""
    import numpy as np
    from scipy.sparse import csr_array

    copy = csr_array((block.data.astype(np.float64), block.indices.copy(), block.indptr.copy()), shape=block.shape)
    copy.sum_duplicates()
    copy.eliminate_zeros()
    return copy


def _count_holders(block: Any) -> np.ndarray:
    """In how many rows each number is not zero. Runs in a worker."""
    import numpy as np

    if isinstance(block, np.ndarray):
        return np.asarray(np.count_nonzero(block, axis=0))
    return np.bincount(_canonical(block).indices, minlength=block.shape[1])
