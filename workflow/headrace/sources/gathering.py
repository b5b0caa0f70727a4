"""From the rows of a source to the shards of a store: which parts hold them, and whether they are what was promised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from headrace.blocks import Block, Ragged, join, take
from headrace.datasets.base import INPUTS, TARGET, Source
from headrace.errors import InputError
from headrace.stores.groups import OFFSETS, read_array, read_layout, read_variables
from headrace.stores.writing import Written, read_value_layout, write_shard, write_values

if TYPE_CHECKING:
    from scipy.sparse import csr_array


def write_rows(path: Path, shard: int, source: Source, rows: np.ndarray, places: Path) -> Written:
    """Gather the source rows (rows,) of one shard and write them. Runs in a worker.

    `places` is a .npy file that says where every source row lies in the store; only square variables need it.
    """
    names = [name for name, variable in source.variables.items() if variable.layout != "ragged"]
    blocks = gather(source, rows, names)
    for name in source.square & blocks.keys():
        blocks[name] = _renumber(blocks[name], np.load(places, mmap_mode="r"))
    layout = read_layout(path)
    if len(rows) != len(range(*layout.rows(shard).indices(layout.num_rows))):
        raise InputError(f"{path}: shard {shard} cannot be written from {len(rows)} rows")
    return write_shard(path, shard, blocks)


def write_steps(path: Path, name: str, shard: int, source: Source, order: Path) -> Written:
    """Gather the rows that one shard of a ragged variable's values needs and write it. Runs in a worker.

    `order` is a .npy file: (rows,) the source row of each row of the store.
    """
    offsets = read_array(path, f"{name}{OFFSETS}")
    steps = read_value_layout(path, name, read_variables(path)[name]).rows(shard)
    first = int(np.searchsorted(offsets, steps.start, side="right")) - 1
    last = int(np.searchsorted(offsets, steps.stop, side="left"))
    block = gather(source, np.array(np.load(order, mmap_mode="r")[first:last]), [name])[name]
    assert isinstance(block, Ragged)
    if (block.lengths != np.diff(offsets[first : last + 1])).any():
        raise InputError(f"{path}: rows of {name} have other lengths than when they were counted")
    start = steps.start - int(offsets[first])
    return write_values(path, name, shard, np.ascontiguousarray(block.values[start : start + steps.stop - steps.start]))


def gather(source: Source, rows: np.ndarray, names: Sequence[str]) -> dict[str, Block]:
    """The rows asked for, in that order: memory follows their number and one part, not the source's."""
    order = np.argsort(rows, kind="stable")
    in_order = bool((order[1:] > order[:-1]).all())
    wanted = rows[order]
    dense = {
        name: np.empty((len(rows), *source.variables[name].shape), source.variables[name].dtype)
        for name in names
        if source.variables[name].layout == "dense"
    }
    pieces: dict[str, list[Block]] = {name: [] for name in names if name not in dense}
    parts = np.searchsorted(source.borders, wanted, side="right") - 1
    edges = np.flatnonzero(np.diff(parts, prepend=-1, append=len(source.borders)))
    for start, stop in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        part = int(parts[start])
        within = wanted[start:stop] - source.borders[part]
        places = slice(start, stop) if in_order else order[start:stop]
        _take_part(source, part, within, places, dense, pieces)
    joined = {name: join(found) for name, found in pieces.items()}
    if in_order:
        return {**dense, **joined}
    back = np.empty(len(rows), np.int64)
    back[order] = np.arange(len(rows))
    return {**dense, **{name: take(block, back) for name, block in joined.items()}}


def _take_part(
    source: Source,
    part: int,
    within: np.ndarray,
    places: slice | np.ndarray,
    dense: Mapping[str, np.ndarray],
    pieces: Mapping[str, list[Block]],
) -> None:
    """Take rows of one part to their places. Of the part nothing stays: the next one needs its memory."""
    for name, block in source.read(part, [*dense, *pieces]).items():
        _check(source, name, block, part)
        if not isinstance(block, np.ndarray):
            pieces[name].append(take(block, within))
        elif isinstance(places, slice):
            # Rows lie within the part, as was checked; any other mode would copy them once more.
            block.take(within, axis=0, out=dense[name][places], mode="clip")
        else:
            dense[name][places] = block[within]


def _check(source: Source, name: str, block: Block, part: int) -> None:
    """Hold a part to what was promised. Raises InputError naming the row."""
    variable, first = source.variables[name], int(source.borders[part])
    num_rows = int(source.borders[part + 1]) - first
    values = block.values if isinstance(block, Ragged) else block if isinstance(block, np.ndarray) else block.data
    found = (len(block) if isinstance(block, np.ndarray | Ragged) else block.shape[0], values.dtype)
    if found != (num_rows, np.dtype(variable.dtype)):
        wanted = (num_rows, variable.dtype)
        raise InputError(f"{name}: rows {first} to {first + num_rows - 1} should be {wanted}, are {found}")
    if np.issubdtype(values.dtype, np.floating):
        usable = np.isfinite(values)
        if name == INPUTS and source.has_missing:
            usable |= np.isnan(values)
        if not usable.all():
            position = int(np.argmin(usable.reshape(len(values), -1).all(axis=1)))
            raise InputError(f"{name} of row {first + _row_of(block, position)} is not a finite number")
    classes = source.attributes.get("class_names")
    if name == TARGET and classes and np.issubdtype(values.dtype, np.integer):
        wrong = (values < 0) | (values >= len(classes))
        if wrong.any():
            row = int(np.argmax(wrong))
            raise InputError(f"target of row {first + row} is {values[row]}; allowed: 0 to {len(classes) - 1}")


def _row_of(block: Block, position: int) -> int:
    """The row that a number stored at some position belongs to."""
    if isinstance(block, np.ndarray):
        return position
    borders = block.offsets if isinstance(block, Ragged) else block.indptr
    return int(np.searchsorted(borders, position, side="right")) - 1


def _renumber(block: Block, places: np.ndarray) -> csr_array:
    """Columns that are source rows become rows of the store."""
    from scipy.sparse import csr_array

    assert not isinstance(block, np.ndarray | Ragged)
    renumbered = csr_array((block.data, places[block.indices], block.indptr), shape=block.shape)
    return renumbered.sorted_indices()
