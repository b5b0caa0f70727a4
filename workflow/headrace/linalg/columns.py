"""New columns made of a block of rows: alone, or behind the block's own numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from headrace.datasets.base import DataInfo

if TYPE_CHECKING:
    import numpy as np

    from headrace.blocks import Block


def describe_columns(
    info: DataInfo, width: int, name: str, *, keep_inputs: bool, unit_interval: bool = False, stored: int | None = None
) -> DataInfo:
    """What `with_columns` makes of inputs `info`: `width` numbers a sample, along a dimension called `name`.

    `unit_interval` and `stored` are said of the new columns alone: whether they lie in [0, 1], and how many of them in
    one sample are not zero, at most.
    """
    if not keep_inputs:
        alone = replace(info, shape=(width,), dims=(name,), unit_interval=unit_interval)
        return replace(alone, layout="dense", dtype="float32", num_values=0)
    more = info.num_samples * (width if stored is None else stored) if info.layout == "sparse" else 0
    return replace(
        info,
        shape=(info.num_features + width,),
        dims=("feature",),
        dtype="float32",
        unit_interval=info.unit_interval and unit_interval,
        num_values=info.num_values + more,
    )


def with_columns(block: Block, columns: np.ndarray, *, keep_inputs: bool) -> Block:
    """`columns` (rows, width) as float32; behind the flattened inputs if they are kept, whose layout stays."""
    import numpy as np

    from headrace.linalg.centred import rows_of

    columns = columns.astype(np.float32)
    if not keep_inputs:
        return columns
    rows = rows_of(block)
    if isinstance(rows, np.ndarray):
        return np.concatenate([rows.astype(np.float32), columns], axis=1)
    from scipy.sparse import csr_array, hstack

    return hstack([rows.astype(np.float32), csr_array(columns)], format="csr")
