"""Blocks to fit preprocessing steps on, without a store."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from headrace.blocks import Block, Ragged, cut, join, num_rows
from headrace.datasets.base import DataInfo
from headrace.linalg.blocks import RowBlocks, Traffic
from headrace.linalg.progress import Progress
from headrace.preprocessing.base import FitData, StepSpec
from headrace.registry import restore
from headrace.running.workers import Workers

EXAMPLES: dict[str, dict[str, Any]] = {
    "augment": {"crop": 1, "flip": "both", "noise": 0.1},
    "window": {"size": 3},
    "kmeans": {"clusters": 3},
    "solve": {"matrix": str(Path(__file__).parents[1] / "configs/data/blur12.mtx")},
    "truncated_svd": {"rank": 3},
    "pca": {"rank": 3},
    "spectral_embedding": {"rank": 3},
}
"""Parameters of kinds that require some, small enough for `make_samples`."""


def step(kind: str, **parameters: Any) -> StepSpec:
    return restore("preprocessing", {"kind": kind, **parameters}, StepSpec)


def borders_of(rows: int, num_blocks: int) -> list[slice]:
    edges = np.linspace(0, rows, num_blocks + 1).round().astype(int).tolist()
    return [slice(a, b) for a, b in itertools.pairwise(edges) if b > a]


def read_cut(blocks: Sequence[Block], rows: slice) -> Any:
    parts = tuple(cut(block, rows) for block in blocks)
    return parts if len(parts) > 1 else parts[0]


def row_blocks(
    *blocks: Block, num_blocks: int = 4, workers: Workers | None = None, traffic: Traffic | None = None, mib: int = 0
) -> RowBlocks:
    """Row blocks of one variable, or of several side by side."""
    parts = borders_of(num_rows(blocks[0]), num_blocks)
    readers: list[Callable[[], Any]] = [lambda part=part: read_cut(blocks, part) for part in parts]  # type: ignore[misc]
    sizes = [part.stop - part.start for part in parts]
    return RowBlocks(readers, workers, sizes=sizes, traffic=traffic, resident_mib=mib, step="test")


@dataclass(frozen=True)
class Sample:
    """Inputs of training rows followed by others, and what is known of them."""

    inputs: Block
    info: DataInfo
    num_train: int
    target: np.ndarray | None = None
    adjacency: Any = None
    more: Mapping[str, Any] = field(default_factory=dict)

    def fit_data(
        self,
        num_blocks: int = 4,
        *,
        workers: Workers | None = None,
        folder: Path | None = None,
        every_s: float = 30.0,
        mib: int = 0,
    ) -> FitData:
        """As a stage would give it."""
        traffic = Traffic()
        train = cut(self.inputs, slice(0, self.num_train))
        options: dict[str, Any] = {"num_blocks": num_blocks, "workers": workers, "traffic": traffic, "mib": mib}
        target = None if self.target is None else self.target[: self.num_train]
        return FitData(
            inputs=row_blocks(train, **options),
            progress=Progress(folder, traffic=traffic, every_s=every_s),
            labelled=None if target is None else row_blocks(train, target, **options),
            all_inputs=row_blocks(self.inputs, **options),
            adjacency=None if self.adjacency is None else row_blocks(self.adjacency, **options),
            info=self.info,
        )

    def apply(self, spec: StepSpec, state: Mapping[str, np.ndarray], borders: Sequence[int] = ()) -> Block:
        """All rows, in blocks that end at `borders`."""
        edges = [0, *borders, num_rows(self.inputs)]
        rows = [slice(a, b) for a, b in itertools.pairwise(edges)]
        return join([spec.apply(cut(self.inputs, part), state, part) for part in rows])


def dense_sample(values: np.ndarray, num_train: int | None = None, **known: Any) -> Sample:
    """Dense rows, of which the first are for training."""
    dims = {1: ("feature",), 2: ("height", "width"), 3: ("height", "width", "channel")}[values.ndim - 1]
    known = {"tasks": ("density",), **known}
    info = DataInfo(num_samples=len(values), shape=values.shape[1:], dims=dims, dtype=values.dtype.name, **known)
    return Sample(values, info, len(values) if num_train is None else num_train)


def fit_apply(spec: StepSpec, values: Any, num_blocks: int = 4, **known: Any) -> Any:
    """Fit on all rows and transform them."""
    sample = values if isinstance(values, Sample) else dense_sample(np.asarray(values), **known)
    return sample.apply(spec, spec.fit(sample.fit_data(num_blocks)))


def as_dense(block: Block) -> np.ndarray:
    """To compare with."""
    if isinstance(block, Ragged):
        return block.values
    return block if isinstance(block, np.ndarray) else block.toarray()


def make_samples() -> dict[str, Sample]:
    """One of every layout that a step may read: 80 rows, 60 of them for training, of two classes."""
    generator = np.random.default_rng(4)
    rows, classes = 80, {"class_names": ("no", "yes"), "class_counts": (40, 40)}
    target = generator.permutation(np.arange(rows, dtype=np.int64) % 2)
    common: dict[str, Any] = {"tasks": ("classification",), "num_samples": rows, **classes}
    lengths = generator.integers(1, 12, rows)
    words = Ragged(generator.choice(np.frombuffer(b"abc de", np.uint8), lengths.sum()), lengths)
    steps = Ragged(generator.normal(size=(lengths.sum(), 3)).astype(np.float32), lengths)
    counts = sparse.random_array((rows, 30), density=0.2, format="csr", rng=generator, dtype=np.float32)
    counts.data = np.ceil(counts.data * 3).astype(np.float32)
    edges = sparse.random_array((rows, rows), density=0.05, format="csr", rng=generator)
    edges = sparse.csr_array(((edges + edges.T) > 0).astype(np.float32))
    edges.setdiag(0)
    edges.eliminate_zeros()
    table = (0.5 + generator.normal(size=(rows, 12))).astype(np.float32)
    images = generator.uniform(size=(rows, 6, 5)).astype(np.float32)
    codes = generator.integers(0, 7, (rows, 9)).astype(np.int64)
    holes = np.where(np.random.default_rng(5).uniform(size=table.shape) < 0.2, np.float32(np.nan), table)
    ragged: dict[str, Any] = {"layout": "ragged", "num_values": int(lengths.sum()), "longest": int(lengths.max())}
    return {
        "table": Sample(table, DataInfo(shape=(12,), dims=("feature",), **common), 60, target),
        "table with NaN": Sample(
            holes, DataInfo(shape=(12,), dims=("feature",), has_missing=True, **common), 60, target
        ),
        "images": Sample(
            images, DataInfo(shape=(6, 5), dims=("height", "width"), unit_interval=True, **common), 60, target
        ),
        "codes": Sample(codes, DataInfo(shape=(9,), dims=("step",), num_codes=7, dtype="int64", **common), 60, target),
        "graph": Sample(
            table, DataInfo(shape=(12,), dims=("feature",), has_graph=True, **common), 60, target, edges.tocsr()
        ),
        "counts": Sample(
            counts, DataInfo(shape=(30,), dims=("term",), layout="sparse", num_values=counts.nnz, **common), 60, target
        ),
        "texts": Sample(
            words, DataInfo(shape=(), dims=(), num_codes=256, dtype="uint8", **ragged, **common), 60, target
        ),
        "series": Sample(steps, DataInfo(shape=(3,), dims=("channel",), **ragged, **common), 60, target),
    }
