"""Stores and sealed artifacts with known content."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from headrace.blocks import Block, Ragged, join, num_rows
from headrace.provenance.manifests import write_json
from headrace.stores import groups
from headrace.stores.layout import STORE, Layout, Variable, choose_layout
from headrace.stores.reading import Store
from headrace.stores.writing import digest_shard, read_value_layout, write_shard, write_values


@dataclass(frozen=True)
class WrittenStore:
    """A store, what went into it, and what its manifest would say."""

    path: Path
    blocks: Mapping[str, Block]
    chunks: Mapping[str, Any]
    layout: Layout

    @property
    def store(self) -> Store:
        return Store(self.path, self.chunks)

    @property
    def outputs(self) -> dict[str, str]:
        return {key: digest_shard(found["sha256"]) for key, found in self.chunks.items()} | groups.small_digests(
            self.path
        )


def variable_of(name: str, block: Block, scale: float | None = None) -> Variable:
    if isinstance(block, Ragged):
        shape = block.values.shape[1:]
        return Variable(tuple(f"{name}_{i}" for i in range(len(shape))), shape, block.values.dtype.name, "ragged")
    if isinstance(block, np.ndarray):
        shape = block.shape[1:]
        return Variable(tuple(f"{name}_{i}" for i in range(len(shape))), shape, block.dtype.name, scale=scale)
    return Variable((f"{name}_0",), (block.shape[1],), block.dtype.name, "sparse")


def write_store(
    path: Path,
    blocks: Mapping[str, Block],
    layout: Layout,
    sizes: Mapping[str, int],
    attributes: Mapping[str, Any] | None = None,
    **more: Any,
) -> WrittenStore:
    scales = more.pop("scales", {})
    variables = {name: variable_of(name, block, scales.get(name)) for name, block in blocks.items()}
    offsets = {name: block.offsets for name, block in blocks.items() if isinstance(block, Ragged)}
    groups.create(path, variables, layout, sizes, attributes or {}, offsets, **more)
    groups.add_array(path, "source_row", np.arange(layout.num_rows, dtype=np.int64)[::-1].copy(), ("sample",))
    written = {}
    for shard in range(layout.num_shards):
        rows = layout.rows(shard)
        written |= write_shard(path, shard, {n: b[rows] for n, b in blocks.items() if not isinstance(b, Ragged)})
    for name, block in blocks.items():
        if isinstance(block, Ragged):
            steps = read_value_layout(path, name, variables[name])
            for shard in range(steps.num_shards):
                written |= write_values(path, name, shard, block.values[steps.rows(shard)])
    groups.finish(path)
    return WrittenStore(path, blocks, {key: chunks.describe() for key, chunks in written.items()}, layout)


def write_artifact(
    folder: Path,
    splits: Mapping[str, Mapping[str, Block]],
    layout: Layout | None = None,
    attributes: Mapping[str, Any] | None = None,
    **more: Any,
) -> Path:
    """A sealed artifact whose splits hold these blocks."""
    names = next(iter(splits.values()))
    blocks = {name: join([split[name] for split in splits.values()]) for name in names}
    sizes = {split: num_rows(next(iter(found.values()))) for split, found in splits.items()}
    layout = layout or choose_layout(sum(sizes.values()), 4096)
    written = write_store(folder / STORE, blocks, layout, sizes, attributes, **more)
    manifest = {"identity": "0", "status": "done", "outputs": written.outputs, "chunks": written.chunks}
    write_json(folder / "manifest.json", manifest)
    return folder
