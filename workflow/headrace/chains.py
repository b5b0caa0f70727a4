"""A chain of fitted steps over a store: blocks of it to fit the next step on, and the store that it makes of another.

States are read from files by whoever applies them, so that no task carries them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from headrace.blocks import Block, Ragged, join, num_rows, offsets_of
from headrace.datasets.base import INPUTS, SAMPLE, DataInfo
from headrace.linalg.blocks import RowBlocks, Traffic
from headrace.preprocessing.base import State, StepSpec
from headrace.provenance.manifests import read_manifest
from headrace.registry import restore
from headrace.running.workers import Workers, run_on_workers
from headrace.stores import groups
from headrace.stores.arrays import load_arrays
from headrace.stores.layout import MAX_SHARD_BYTES, Layout, Variable, choose_layout
from headrace.stores.reading import Store
from headrace.stores.writing import Written, read_value_layout, write_shard, write_values

OF_OLD_INPUTS = ("feature_names", "categories", "num_codes")
"""Attributes of a store that say something of its inputs, which are others after a chain."""
PROBED_ROWS = 1000
MAX_PART_BYTES = 2 * MAX_SHARD_BYTES
"""Of the rows that a task holds at once, as any step of a chain leaves them."""


@dataclass(frozen=True)
class Fitted:
    """A step and the file that holds what it has learnt."""

    step: StepSpec
    path: Path
    info: DataInfo
    """What comes out."""

    @property
    def state(self) -> State:
        """Read once a process."""
        return _read_state(str(self.path))


Chain = Sequence[Fitted]


@functools.lru_cache(maxsize=16)
def _read_state(path: str) -> State:
    return load_arrays(Path(path))


def load_chain(folder: Path) -> Chain:
    """The fitted steps of a sealed artifact of `preprocess`, for other data than it was made of.

    Raises FileNotFoundError where nothing is sealed.
    """
    manifest = read_manifest(folder)
    if manifest is None:
        raise FileNotFoundError(f"{folder}: not a sealed artifact")
    steps = enumerate(describe(manifest["spec"]))
    return tuple(Fitted(step, state_path(folder, i, step.kind), after) for i, (step, _, after) in steps)


def describe(spec: Mapping[str, Any]) -> Iterator[tuple[StepSpec, DataInfo, DataInfo]]:
    """The steps of an artifact's spec, each with what goes in and what comes out."""
    info = DataInfo.of(spec["info"])
    for parameters in spec["steps"]:
        step = restore("preprocessing", parameters, StepSpec)
        before, info = info, step.describe(info, spec["num_train"])
        yield step, before, info


def state_path(folder: Path, i: int, kind: str) -> Path:
    """Where an artifact keeps what step `i` has learnt."""
    return (folder / f"{i}-{kind}.safetensors").absolute()


def transform(block: Block, chain: Chain, rows: slice) -> Block:
    """Rows as a chain leaves them; `rows` says where they lie in a store, training first."""
    for fitted in chain:
        block = fitted.step.apply(block, fitted.state, rows)
    return block


def open_blocks(
    source: Store,
    names: Sequence[str],
    rows: slice,
    chain: Chain,
    workers: Workers | None,
    *,
    resident_mib: int = 0,
    step: str = "",
    traffic: Traffic | None = None,
) -> RowBlocks:
    """Variables of a range of rows, inputs as `chain` leaves them: blocks of one, or tuples of several."""
    parts = parts_of(source.layout, rows, chain)
    readers = [partial(_read_variables, source, tuple(names), part, tuple(chain)) for part in parts]
    sizes = [part.stop - part.start for part in parts]
    return RowBlocks(readers, workers, sizes=sizes, resident_mib=resident_mib, step=step, traffic=traffic)


def parts_of(layout: Layout, rows: slice, chain: Chain = ()) -> list[slice]:
    """A range of rows cut at the borders of the shards, and smaller where a chain makes much of little."""
    size = layout.rows_per_shard
    for fitted in chain:
        # Of parts of a shard, all but the last are equally large.
        size = min(size, max(1, int(MAX_PART_BYTES // max(1.0, fitted.info.row_bytes))))
    borders = {*range(0, layout.num_rows, layout.rows_per_shard), rows.start}
    starts = sorted(border for border in borders if rows.start <= border < rows.stop)
    parts = []
    for start, stop in zip(starts, [*starts[1:], rows.stop], strict=True):
        parts += [slice(first, min(first + size, stop)) for first in range(start, stop, size)]
    return parts


def read_block(source: Store, rows: slice, chain: Chain) -> Block:
    """Rows of the inputs after the steps fitted so far. Runs in a worker."""
    return transform(source.read(INPUTS, rows), chain, rows)


def _read_variables(source: Store, names: Sequence[str], rows: slice, chain: Chain) -> Any:
    blocks = tuple(read_block(source, rows, chain) if name == INPUTS else source.read(name, rows) for name in names)
    return blocks if len(blocks) > 1 else blocks[0]


def create(source: Store, target: Path, chain: Chain, workers: Workers) -> None:
    """An empty store for what the chain makes, with everything but the inputs as in the shards."""
    info = chain[-1].info
    first = parts_of(source.layout, slice(0, source.layout.num_rows), chain)[0]
    probe = read_block(source, slice(0, min(first.stop, PROBED_ROWS)), chain)
    variables = dict(source.variables)
    variables[INPUTS] = variable_of(probe, info.dims)
    row_bytes = sum(variable.row_bytes for variable in variables.values() if variable.layout == "dense")
    if variables[INPUTS].layout == "sparse":
        row_bytes += 8 + (probe.data.nbytes + probe.indices.nbytes) // num_rows(probe)  # type: ignore[union-attr]
    layout = choose_layout(source.layout.num_rows, row_bytes)
    attributes = {k: v for k, v in source.attributes.items() if k not in (*groups.OWN_ATTRIBUTES, *OF_OLD_INPUTS)}
    if info.num_codes:
        attributes["num_codes"] = info.num_codes
    offsets = {
        name: source.offsets(name)
        for name, variable in variables.items()
        if variable.layout == "ragged" and name != INPUTS
    }
    if variables[INPUTS].layout == "ragged":
        rows = parts_of(source.layout, slice(0, source.layout.num_rows), chain)
        lengths = run_on_workers(workers, [partial(_lengths, source, part, chain) for part in rows], progress="measure")
        offsets[INPUTS] = offsets_of(np.concatenate(list(lengths)))
    groups.create(target, variables, layout, source.attributes["split_sizes"], attributes, offsets)
    groups.add_array(target, "source_row", groups.read_array(source.path, "source_row"), (SAMPLE,))


def variable_of(block: Block, dims: tuple[str, ...]) -> Variable:
    """How a block is stored; `dims` name the dimensions of a row, or of a step of a ragged one."""
    if isinstance(block, np.ndarray):
        return Variable(dims, block.shape[1:], block.dtype.name)
    if isinstance(block, Ragged):
        return Variable(dims, block.values.shape[1:], block.values.dtype.name, "ragged")
    return Variable(dims, (int(block.shape[1]),), block.dtype.name, "sparse")


def _lengths(source: Store, rows: slice, chain: Chain) -> np.ndarray:
    """(rows,) steps of each row after the chain. Runs in a worker."""
    block = read_block(source, rows, chain)
    assert isinstance(block, Ragged)
    return block.lengths


def calls(source: Store, target: Path, chain: Chain) -> Iterator[Callable[[], Written]]:
    """One call for every shard of rows, and one for every shard of a ragged variable's values."""
    for shard in range(groups.read_layout(target).num_shards):
        yield partial(_apply_shard, source, target, shard, chain)
    for name, variable in groups.read_variables(target).items():
        if variable.layout == "ragged":
            for shard in range(read_value_layout(target, name, variable).num_shards):
                write = partial(_apply_values, chain=chain) if name == INPUTS else partial(_copy_values, name=name)
                yield partial(write, source, target, shard)


def _apply_shard(source: Store, target: Path, shard: int, chain: Chain) -> Written:
    """Read, transform and write the rows of one shard. Runs in a worker."""
    rows = groups.read_layout(target).rows(shard)
    blocks: dict[str, Block] = {}
    for name, variable in groups.read_variables(target).items():
        if variable.layout == "ragged":
            continue
        if name == INPUTS:
            blocks[name] = join([read_block(source, part, chain) for part in parts_of(source.layout, rows, chain)])
        else:
            blocks[name] = source.read(name, rows)
    return write_shard(target, shard, blocks)


def _apply_values(source: Store, target: Path, shard: int, chain: Chain) -> Written:
    """Transform the rows that have steps in one shard of ragged inputs, and write that. Runs in a worker."""
    variable = groups.read_variables(target)[INPUTS]
    steps = read_value_layout(target, INPUTS, variable).rows(shard)
    offsets = groups.read_array(target, f"{INPUTS}{groups.OFFSETS}")
    first = int(np.searchsorted(offsets, steps.start, side="right")) - 1
    last = int(np.searchsorted(offsets, steps.stop, side="left"))
    parts = parts_of(source.layout, slice(first, last), chain)
    values = []
    for part in parts:
        block = read_block(source, part, chain)
        assert isinstance(block, Ragged)
        own = slice(max(0, steps.start - int(offsets[part.start])), steps.stop - int(offsets[part.start]))
        values.append(block.values[own])
    return write_values(target, INPUTS, shard, np.concatenate(values))


def _copy_values(source: Store, target: Path, shard: int, name: str) -> Written:
    """Carry one shard of a ragged variable over. Runs in a worker."""
    values = source.array(name)
    return write_values(target, name, shard, values.read(values.layout.rows(shard)))
