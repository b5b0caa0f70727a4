"""Missing values filled in."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from headrace.datasets.base import DataInfo
from headrace.preprocessing.base import FitData, State, StepSpec

if TYPE_CHECKING:
    import numpy as np

    from headrace.blocks import Block

COMPUTES = ("linalg.quantiles",)


class Spec(StepSpec):
    """Fill missing numbers in by what the training samples say of their feature, or by a number; for example `{kind:
    impute, by: median, indicator: true}`.
    """

    reads_missing: ClassVar[bool] = True

    by: Literal["mean", "median", "constant"] = "mean"
    """What takes the place of a missing number: the mean or the median of the feature over the training samples that
    have it, or `value`."""
    value: Annotated[float, Field(ge=-3.4e38, le=3.4e38)] | None = None
    """With `by: constant`: the number to fill in, from -3.4e38 to 3.4e38; needed there, and not allowed otherwise."""
    indicator: bool = False
    """Whether to add a feature for every feature, behind all of them, that is 1 where it was missing and 0 elsewhere.
    Of samples with several dimensions the last one is doubled."""
    error: Annotated[float, Field(ge=1e-6, lt=0.5)] = 0.001
    """With `by: median`: how far the rank of the median may be off at most, as a share of the training samples that
    have the feature, from 0.000001 to below 0.5. With no more than 0.5 / `error` samples it is exact."""

    @model_validator(mode="after")
    def _value_goes_with_constant(self) -> Self:
        if self.by == "constant" and self.value is None:
            raise ValueError("value: is needed with by: constant")
        if self.by != "constant" and self.value is not None:
            raise ValueError(f"value: means nothing with by: {self.by}; allowed with constant")
        return self

    def describe(self, info: DataInfo, num_train: int) -> DataInfo:
        """The shape stays, or its last dimension is doubled; nothing is missing any more."""
        shape = info.shape
        if self.indicator:
            shape = (*shape[:-1], 2 * shape[-1])
        within = self.value is None or 0 <= self.value <= 1
        return replace(
            info, shape=shape, dtype="float32", has_missing=False, unit_interval=info.unit_interval and within
        )

    def fit(self, data: FitData) -> State:
        """What each feature is filled with: (features,), or (1,) where it is the same for all."""
        import numpy as np

        if self.value is not None:
            return {"fill": np.array([self.value])}
        if self.by == "median":
            from headrace.linalg.quantiles import column_quantiles

            num_columns = data.info.num_features if data.info else None
            medians, _ = column_quantiles(data.inputs, np.array([0.5]), self.error, num_columns)
            fill = medians[:, 0]
        else:
            fill = data.inputs.sum(_block_means).means
        empty = np.flatnonzero(np.isnan(fill))
        if len(empty):
            from headrace.errors import StageError

            more = f" and {len(empty) - 1} others" if len(empty) > 1 else ""
            raise StageError(
                f"impute: feature {empty[0]} (counted from 0){more} is missing in every training sample; leave it out, "
                "or write by: constant"
            )
        return {"fill": fill}

    def apply(self, block: Block, state: State, rows: slice) -> Block:
        """(rows, ...) to the same, or twice as long in the last dimension; float32."""
        import numpy as np

        assert isinstance(block, np.ndarray)
        missing = np.isnan(block)
        fill = state["fill"].astype(np.float32)
        filled = np.where(missing, fill if len(fill) == 1 else fill.reshape(block.shape[1:]), block)
        filled = filled.astype(np.float32, copy=False)
        return np.concatenate([filled, missing.astype(np.float32)], axis=-1) if self.indicator else filled


@dataclass(frozen=True)
class _Means:
    """Over what is there: (features,) each, NaN where nothing is; added by Chan, Golub and LeVeque (1983)."""

    counts: np.ndarray
    means: np.ndarray

    def __add__(self, other: _Means) -> _Means:
        import numpy as np

        counts = self.counts + other.counts
        one, two = (np.where(part.counts > 0, part.means, 0.0) for part in (self, other))
        means = one + (two - one) * (other.counts / np.maximum(counts, 1))
        return _Means(counts, np.where(counts > 0, means, np.nan))


def _block_means(block: np.ndarray) -> _Means:
    """Of one block, in float64. Runs in a worker."""
    import numpy as np

    values = block.reshape(len(block), -1)
    there = ~np.isnan(values)
    counts = there.sum(axis=0)
    sums = np.where(there, values, 0).sum(axis=0, dtype=np.float64)
    return _Means(counts, np.where(counts > 0, sums / np.maximum(counts, 1), np.nan))
