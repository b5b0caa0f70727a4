"""Indicators in the place of codes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from headrace.datasets.base import DataInfo
from headrace.experiments.config import PositiveInt
from headrace.preprocessing.base import FitData, State, StepSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from headrace.blocks import Block

Position = Annotated[int, Field(ge=0)]

MAX_INDICATORS = 4096
"""Every code becomes this many float32 at most: 16 KiB."""


class Spec(StepSpec):
    """Replace each code by a vector that is 1 at the code and 0 elsewhere: a text's bytes, `{kind: one_hot}`, or the
    columns of a table that hold categories, for example `{kind: one_hot, columns: [[2, 5], [7, 12]]}`.
    """

    reads: ClassVar[tuple[str, ...]] = ("dense", "ragged")
    reads_codes: ClassVar[bool] = True
    reads_missing: ClassVar[bool] = True

    columns: tuple[tuple[Position, PositiveInt], ...] = ()
    """Only for tables: pairs `[position, categories]` of the columns that hold categories. Columns are counted from 0
    in the dataset's order; their categories are coded as 0, 1, ... in the order of their names. The columns named are
    taken out, and `categories` indicators of each are added at the end, in order of position. What is missing, or no
    code below `categories`, becomes zeros alone. Without it, all inputs must be codes. 4096 indicators at most."""

    def describe(self, info: DataInfo, num_train: int) -> DataInfo:
        """One more dimension, or a wider table."""
        if self.columns:
            return self._describe_table(info)
        if not info.num_codes:
            raise ValueError(
                "kind: one_hot reads codes, not measurements; allowed: inputs that are codes, or `columns` of a table"
            )
        if info.num_codes > MAX_INDICATORS:
            raise ValueError(
                f"kind: one_hot would make {info.num_codes} numbers of every code; allowed: {MAX_INDICATORS} codes"
            )
        return replace(
            info,
            shape=(*info.shape, info.num_codes),
            dims=(*info.dims, "code"),
            dtype="float32",
            num_codes=0,
            unit_interval=True,
            has_missing=False,
        )

    def _describe_table(self, info: DataInfo) -> DataInfo:
        if info.layout != "dense" or len(info.shape) != 1 or info.num_codes:
            raise ValueError("columns: are those of a table of numbers, one row a sample; leave it out for these data")
        positions = [position for position, _ in self.columns]
        num_columns = info.shape[0]
        if max(positions) >= num_columns:
            raise ValueError(f"columns: there is no column {max(positions)}; allowed: 0 to {num_columns - 1}")
        twice = [position for i, position in enumerate(positions) if position in positions[:i]]
        if twice:
            raise ValueError(f"columns: has column {twice[0]} twice; every column may appear once")
        width = sum(categories for _, categories in self.columns)
        if width > MAX_INDICATORS:
            raise ValueError(f"columns: make {width} indicators; allowed: {MAX_INDICATORS} in all")
        others = num_columns - len(positions)
        return replace(
            info,
            shape=(others + width,),
            dtype="float32",
            unit_interval=info.unit_interval or not others,
            has_missing=info.has_missing and others > 0,
        )

    def fit(self, data: FitData) -> State:
        """How many codes there are; columns are only held to be codes. Raises StageError for one that is not."""
        import numpy as np

        from headrace.errors import StageError

        if not self.columns:
            assert data.info is not None
            return {"num_codes": np.array([data.info.num_codes], np.int64)}
        positions = sorted(position for position, _ in self.columns)
        fractions = data.inputs.sum(_count_fractions, positions)
        if fractions.any():
            first = int(np.argmax(fractions > 0))
            raise StageError(
                f"one_hot: column {positions[first]} is no column of codes: {fractions[first]} of its numbers in the "
                "training split are not whole; take it out of columns"
            )
        return {}

    def apply(self, block: Block, state: State, rows: slice) -> Block:
        """(rows, ...) codes to (rows, ..., num_codes) or steps (...) to (..., num_codes); tables to wider ones."""
        import numpy as np

        from headrace.blocks import Ragged

        if isinstance(block, Ragged):
            return Ragged(_indicators(block.values, int(state["num_codes"][0])), block.lengths)
        assert isinstance(block, np.ndarray)
        if not self.columns:
            return _indicators(block, int(state["num_codes"][0]))
        columns = sorted(self.columns)
        others = np.delete(block, [position for position, _ in columns], axis=1).astype(np.float32)
        return np.concatenate([others, *(_indicators(block[:, i], categories) for i, categories in columns)], axis=1)


def _indicators(codes: np.ndarray, num_codes: int) -> np.ndarray:
    """(...) to (..., num_codes) float32; zeros alone for NaN, fractions and what lies outside."""
    import numpy as np

    flat = codes.reshape(-1)
    known = np.flatnonzero((flat >= 0) & (flat < num_codes) & (flat == np.floor(flat)))
    indicators = np.zeros((len(flat), num_codes), np.float32)
    indicators[known, flat[known].astype(np.int64)] = 1
    return indicators.reshape(*codes.shape, num_codes)


def _count_fractions(block: np.ndarray, positions: Sequence[int]) -> np.ndarray:
    """(positions,) how many numbers of these columns are not whole; NaN stands for no number. Runs in a worker."""
    import numpy as np

    columns = block[:, positions]
    count: np.ndarray = ((columns != np.floor(columns)) & ~np.isnan(columns)).sum(axis=0)
    return count
