"""Loops that numba compiles, once a machine. Imported where they are called: that takes half a second."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import extending, types

LANES = 8
PANEL = 3 * LANES
"""Columns of X that `add_gram_by_columns` multiplies at once: what fits the registers of a core."""


@numba.njit(nogil=True, cache=True)
def vector_product(
    data: np.ndarray, indices: np.ndarray, indptr: np.ndarray, right: np.ndarray, out: np.ndarray
) -> None:
    """A x of a CSR matrix: (columns,) to (rows,), in float64 whatever A is stored as."""
    for row in range(len(indptr) - 1):
        total = 0.0
        # As numbers without a sign: those need no look at whether they count from the end.
        for place in range(np.uintp(indptr[row]), np.uintp(indptr[row + 1])):
            total += data[place] * right[np.uintp(indices[place])]
        out[row] = total


@numba.njit(nogil=True, cache=True)
def add_transposed_product(
    data: np.ndarray, indices: np.ndarray, indptr: np.ndarray, left: np.ndarray, out: np.ndarray
) -> None:
    """Add A' y of a CSR matrix to `out`: (rows,) to (columns,)."""
    for row in range(len(indptr) - 1):
        factor = left[row]
        for place in range(np.uintp(indptr[row]), np.uintp(indptr[row + 1])):
            out[np.uintp(indices[place])] += data[place] * factor


@numba.njit(nogil=True, cache=True)
def add_gram(data: np.ndarray, indices: np.ndarray, indptr: np.ndarray, right: np.ndarray, out: np.ndarray) -> None:
    """Add A'(A X) of a CSR matrix to `out`, (columns, k) as X is.

    Row by row: the rows of X that a row of A needs are still in the cache when the same rows of `out` are added to.
    """
    width = right.shape[1]
    product = np.empty(width)
    for row in range(len(indptr) - 1):
        product[:] = 0.0
        for place in range(indptr[row], indptr[row + 1]):
            value, column = data[place], indices[place]
            for k in range(width):
                product[k] += value * right[column, k]
        for place in range(indptr[row], indptr[row + 1]):
            value, column = data[place], indices[place]
            for k in range(width):
                out[column, k] += value * product[k]


@numba.njit(nogil=True, cache=True)
def sort_by_columns(
    data: np.ndarray, indices: np.ndarray, indptr: np.ndarray, most: int, rows: np.ndarray, ends: np.ndarray
) -> np.ndarray:
    """The values of a CSR matrix, `most` rows at a time sorted by columns, and by rows within each.

    Fills `rows` (entries,), counted from the first of their part, and `ends` (parts, columns), where each column ends.
    """
    values = np.empty(len(data), data.dtype)
    for part in range(len(ends)):
        first, last = part * most, min(len(indptr) - 1, (part + 1) * most)
        places = ends[part]
        places[:] = 0
        for place in range(indptr[first], indptr[last]):
            places[indices[place]] += 1
        before = indptr[first]
        for column in range(len(places)):
            count = places[column]
            places[column] = before
            before += count
        for row in range(first, last):
            for place in range(indptr[row], indptr[row + 1]):
                end = places[indices[place]]
                rows[end], values[end] = row - first, data[place]
                places[indices[place]] = end + 1
    return values


@numba.njit(nogil=True, cache=True)
def add_gram_by_columns(
    rows: np.ndarray, values: np.ndarray, ends: np.ndarray, most: int, right: np.ndarray, out: np.ndarray
) -> None:
    """Add A'(A X) of what `sort_by_columns` gave to `out` (columns, PANEL), as X is.

    X and `out` are read from one end to the other and held in registers. What is picked here and there are the rows of
    A X, `most` of them at a time: those must fit a core's cache.
    """
    product = np.empty((most, PANEL))
    begin = 0
    for part in range(len(ends)):
        product[:] = 0.0
        place = begin
        for column in range(ends.shape[1]):
            end = ends[part, column]
            if place == end:
                continue
            x, y, z = _load(right, column, 0), _load(right, column, 1), _load(right, column, 2)
            while place < end:
                row, value = np.intp(rows[place]), np.float64(values[place])
                _store(product, row, 0, _add_scaled(_load(product, row, 0), value, x))
                _store(product, row, 1, _add_scaled(_load(product, row, 1), value, y))
                _store(product, row, 2, _add_scaled(_load(product, row, 2), value, z))
                place += 1
        place = begin
        for column in range(ends.shape[1]):
            end = ends[part, column]
            if place == end:
                continue
            x, y, z = _load(out, column, 0), _load(out, column, 1), _load(out, column, 2)
            while place < end:
                row, value = np.intp(rows[place]), np.float64(values[place])
                x = _add_scaled(x, value, _load(product, row, 0))
                y = _add_scaled(y, value, _load(product, row, 1))
                z = _add_scaled(z, value, _load(product, row, 2))
                place += 1
            _store(out, column, 0, x)
            _store(out, column, 1, y)
            _store(out, column, 2, z)
        begin = place


# Numbers side by side. Left to itself the compiler does not vectorise loops of so few steps over arrays that might
# overlap; so it is told. A processor that has no registers as wide gets the same in several narrower ones.

_intrinsic: Any = extending.intrinsic
_VECTOR = ir.VectorType(ir.DoubleType(), LANES)


class _Lanes(types.Type):
    """float64 times LANES."""

    def __init__(self) -> None:
        super().__init__(name=f"float64x{LANES}")


_lanes = _Lanes()


@extending.register_model(_Lanes)
class _LanesModel(extending.models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _VECTOR)  # type: ignore[no-untyped-call]


def _place(context: Any, builder: Any, kinds: Any, arguments: Any) -> Any:
    """Where a group of lanes lies in a row of a contiguous array (rows, PANEL) of float64."""
    array = context.make_array(kinds[0])(context, builder, arguments[0])
    row = builder.mul(arguments[1], ir.Constant(arguments[1].type, PANEL))
    group = builder.mul(arguments[2], ir.Constant(arguments[2].type, LANES))
    return builder.bitcast(builder.gep(array.data, [builder.add(row, group)]), _VECTOR.as_pointer())


@_intrinsic  # type: ignore[untyped-decorator]
def _load(typing: Any, array: Any, row: Any, group: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load(_place(context, builder, signature.args, arguments), align=8)

    return _lanes(array, types.intp, types.intp), generate


@_intrinsic  # type: ignore[untyped-decorator]
def _store(typing: Any, array: Any, row: Any, group: Any, lanes: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.store(arguments[3], _place(context, builder, signature.args, arguments), align=8)
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp, _lanes), generate


@_intrinsic  # type: ignore[untyped-decorator]
def _add_scaled(typing: Any, lanes: Any, factor: Any, other: Any) -> Any:
    """`lanes` + `factor` times `other`, rounded once where the processor can."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        lanes, factor, other = arguments
        nothing = ir.Constant(_VECTOR, ir.Undefined)
        first = builder.insert_element(nothing, factor, ir.Constant(ir.IntType(32), 0))
        everywhere = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        factors = builder.shuffle_vector(first, nothing, everywhere)
        return builder.fadd(lanes, builder.fmul(factors, other, flags=("contract",)), flags=("contract",))

    return _lanes(_lanes, types.float64, _lanes), generate
