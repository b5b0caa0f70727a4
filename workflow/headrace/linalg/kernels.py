"""Products of one block, dense or CSR, in float64. They run in workers, one thread each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Union

import numpy as np

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Matrix = Union[np.ndarray, "csr_array"]
WIDE = 8
"""So many columns are worth sorting a sparse block for."""
CACHE_BYTES = 2**20
"""What a core surely has for itself."""
SORTED_ROWS = 4096
"""Rows that are sorted together: their products with a panel of columns fit a core's cache."""
SORTED_ENTRIES = 4
"""Entries that these should have in a column, on the average, or they are more rows."""
MOST_ROWS = 2**16
"""As many as two bytes can count."""


@dataclass(frozen=True)
class ByColumns:
    """A CSR block, some rows at a time sorted by columns: see `compiled.sort_by_columns`."""

    shape: tuple[int, int]
    most: int
    """Rows that were sorted together."""
    rows: np.ndarray
    """(entries,) uint16, counted from the first of those."""
    values: np.ndarray
    """(entries,)"""
    ends: np.ndarray
    """(parts, columns) int32."""


def flat(block: Any) -> Matrix:
    """(rows, ...) as (rows, columns)."""
    rows: Matrix = block.reshape(len(block), count_columns(block)) if isinstance(block, np.ndarray) else block
    return rows


def count_columns(block: Any) -> int:
    """Numbers in one row."""
    return int(np.prod(block.shape[1:]))


def times(block: Any, right: np.ndarray) -> np.ndarray:
    """A X of one block."""
    rows = flat(block)
    if right.ndim == 2 or isinstance(rows, np.ndarray):
        product: np.ndarray = _as_float64(rows) @ right
        return product
    from headrace.linalg import compiled

    product = np.empty(rows.shape[0])
    compiled.vector_product(rows.data, rows.indices, rows.indptr, right.astype(np.float64, copy=False), product)
    return product


def transposed_times(block: Any, left: np.ndarray) -> np.ndarray:
    """A' Y of one block; `left` has its rows alone."""
    rows = flat(block)
    if left.ndim == 2 or isinstance(rows, np.ndarray):
        product: np.ndarray = _as_float64(rows).T @ left
        return product
    from headrace.linalg import compiled

    product = np.zeros(rows.shape[1])
    compiled.add_transposed_product(rows.data, rows.indices, rows.indptr, left.astype(np.float64, copy=False), product)
    return product


def is_sparse(block: Any) -> bool:
    """Whether it is CSR."""
    return not isinstance(block, np.ndarray)


def by_columns(block: Any) -> Any:
    """A CSR block as `gram_times` reads it fastest; one that is hardly filled, or dense, as it is."""
    if not is_sparse(block) or not block.shape[1] <= block.nnz < 2**31:
        return block
    from headrace.linalg import compiled

    wanted = SORTED_ENTRIES * block.shape[0] * block.shape[1] // block.nnz
    most = min(max(SORTED_ROWS, wanted), MOST_ROWS, block.shape[0])
    rows = np.empty(block.nnz, np.uint16)
    ends = np.empty((-(-block.shape[0] // most), block.shape[1]), np.int32)
    values = compiled.sort_by_columns(block.data, block.indices, block.indptr, most, rows, ends)
    return ByColumns(block.shape, most, rows, values, ends)


def gram_times(block: Any, right: np.ndarray) -> np.ndarray:
    """A'(A X) of one block, which may be sorted by columns."""
    right = np.ascontiguousarray(right, np.float64)
    if isinstance(block, np.ndarray):
        return _dense_gram_times(flat(block), right)
    if right.ndim == 2 and right.shape[1] >= WIDE:
        block = block if isinstance(block, ByColumns) else by_columns(block)
    if isinstance(block, ByColumns):
        return _sorted_gram_times(block, right)
    from headrace.linalg import compiled

    product = np.zeros((block.shape[1], *right.shape[1:]))
    columns, out = (array if array.ndim == 2 else array[:, None] for array in (right, product))
    compiled.add_gram(block.data, block.indices, block.indptr, columns, out)
    return product


def _dense_gram_times(rows: Any, right: np.ndarray) -> np.ndarray:
    """As many rows at a time as fit a core's cache, which is where they become float64."""
    step = max(256, CACHE_BYTES // max(1, 8 * rows.shape[1]))
    product = np.zeros(right.shape)
    for first in range(0, len(rows), step):
        part = rows[first : first + step].astype(np.float64, copy=False)
        product += part.T @ (part @ right)
    return product


def _sorted_gram_times(block: ByColumns, right: np.ndarray) -> np.ndarray:
    """A panel of columns at a time; the last one is filled up with zeros."""
    from headrace.linalg import compiled

    panels = []
    for left in range(0, right.shape[1], compiled.PANEL):
        panel = np.ascontiguousarray(right[:, left : left + compiled.PANEL])
        missing = compiled.PANEL - panel.shape[1]
        panel = np.pad(panel, ((0, 0), (0, missing))) if missing else panel
        product = np.zeros(panel.shape)
        compiled.add_gram_by_columns(block.rows, block.values, block.ends, block.most, panel, product)
        panels.append(product[:, : compiled.PANEL - missing])
    return panels[0] if len(panels) == 1 else np.hstack(panels)


def sum_squares(block: Any) -> float:
    """Of all numbers."""
    rows = flat(block)
    values = (rows if isinstance(rows, np.ndarray) else canonical(rows).data).astype(np.float64).reshape(-1)
    return float(values @ values)


def canonical(rows: csr_array) -> csr_array:
    """Each place of a CSR matrix once; the same matrix where that is so already."""
    if rows.has_canonical_format:
        return rows
    rows = rows.copy()
    rows.sum_duplicates()
    return rows


def _as_float64(rows: Matrix) -> Matrix:
    return rows.astype(np.float64, copy=False)
