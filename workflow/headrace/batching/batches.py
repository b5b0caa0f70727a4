"""From a store to batches: every epoch in an order of its own that the seed and the epoch decide.

The chunks of a split are shuffled, and rows are shuffled among those of a window of chunks (`windows`). So each chunk
is read once an epoch, whole, memory follows the window and not the data, and any batch can be come back to.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from headrace.batching.epochs import Order, Rows
from headrace.batching.windows import Reader, Window
from headrace.blocks import Block, Ragged
from headrace.datasets.base import INPUTS, TARGET
from headrace.provenance.manifests import read_manifest
from headrace.stores.foreign import ForeignStore
from headrace.stores.groups import check_small
from headrace.stores.layout import MIB, STORE
from headrace.stores.reading import Store

if TYPE_CHECKING:
    from scipy.sparse import csr_array


STRETCH_BYTES = 2 * MIB
"""Batches are made so many bytes at a time; a few of these fit in a cache."""
CACHE_BYTES = MIB
Positions = range | np.ndarray


class Padded(NamedTuple):
    """Sequences of different lengths, filled up to the longest of them."""

    values: Tensor
    """(batch, longest, ...): int64 codes or float32 measurements; 0 behind a sequence's end."""
    lengths: Tensor
    """(batch,) int64."""

    @property
    def mask(self) -> Tensor:
        """(batch, longest) bool: where there is something."""
        return torch.arange(self.values.shape[1], device=self.lengths.device) < self.lengths[:, None]


@dataclass(frozen=True)
class Batch:
    """Samples of one step."""

    inputs: Tensor | Padded
    """(batch, ...) float32 or int64 codes, a sparse CSR tensor (batch, columns), or padded sequences."""
    target: Tensor | None
    """(batch,) int64 codes, (batch, outputs) float32 numbers, or nothing."""

    def __len__(self) -> int:
        return len(self.inputs.lengths if isinstance(self.inputs, Padded) else self.inputs)

    def parts(self, count: int) -> Iterator[Batch]:
        """As many batches, of sizes that differ by one at most, or as many as there are samples."""
        count = min(count, len(self))
        if count <= 1:
            yield self
            return
        for start, stop in itertools.pairwise(len(self) * i // count for i in range(count + 1)):
            rows, inputs = slice(start, stop), self.inputs
            cut = Padded(*(part[rows] for part in inputs)) if isinstance(inputs, Padded) else inputs[rows]
            yield Batch(cut, None if self.target is None else self.target[rows])


def move(inputs: Tensor | Padded, device: torch.device) -> Tensor | Padded:
    """Inputs of a batch on a device."""
    if isinstance(inputs, Padded):
        return Padded(*(part.to(device, non_blocking=True) for part in inputs))
    return inputs.to(device, non_blocking=True)


Batches = Generator[Batch, None, None]
"""Closing it ends the threads that read ahead."""


class Split:
    """One split of an artifact, or of any Zarr store. Safe to iterate over more than once at a time."""

    def __init__(
        self,
        store: Rows,
        rows: slice,
        *,
        threads: int = 1,
        sparse: Literal["dense", "csr"] = "dense",
        resident_mib: int = 512,
    ) -> None:
        self._num_rows, self._sparse = max(0, int(rows.stop) - int(rows.start)), sparse
        names = [name for name in (INPUTS, TARGET) if name in store.variables]
        self._variables = {name: store.variables[name] for name in names}
        inputs = self._variables[INPUTS]
        self._is_dense = inputs.layout == "dense"
        are_codes = bool(store.attributes.get("num_codes"))
        self._dtype = np.dtype(np.int64 if are_codes else np.float32)
        self._scale = None if are_codes or inputs.scale is None else np.float32(inputs.scale)
        self._reader = Reader(store, rows, names, threads, resident_mib * MIB)

    def __len__(self) -> int:
        return self._num_rows

    def load(self) -> None:
        """Read it now, if it is to stay in memory."""
        self._reader.load()

    def epoch(
        self, batch_size: int, seed: int, epoch: int, *, first: int = 0, rank: int = 0, world_size: int = 1
    ) -> Batches:
        """The batches of an epoch from batch `first` on, all but the last of `batch_size` samples.

        Of `world_size` ranks each gets its share of every batch, and all get equally many: what cannot be shared out
        is left out at the epoch's end. The same bits for any number of threads. A batch's memory is used again once
        nothing refers to it. Raises ValueError for a batch size that cannot be shared out.
        """
        if batch_size < 1 or batch_size % world_size or not 0 <= rank < world_size:
            raise ValueError(f"batches of {batch_size} cannot be shared out to rank {rank} of {world_size}")
        return self._batches(self._reader.order((seed, epoch)), batch_size, first, rank, world_size)

    def in_order(self, batch_size: int) -> Batches:
        """Every sample, in the order in which they are stored."""
        return self._batches(self._reader.order(None), batch_size, 0, 0, 1)

    def targets(self) -> Iterator[np.ndarray]:
        """The targets in the order in which they are stored, (rows, outputs), a chunk at a time."""
        for values in self._reader.column(TARGET) if TARGET in self._variables else ():
            yield values.reshape(len(values), -1)

    def _batches(self, order: Order, batch_size: int, first: int, rank: int, world_size: int) -> Batches:
        def jobs(window: Window) -> Iterator[Callable[[], list[Batch]]]:
            own = [
                positions[rank * len(positions) // world_size : (rank + 1) * len(positions) // world_size]
                for positions in self._cut(order, window, batch_size, first)
            ]
            for start in range(0, len(own), together):
                yield partial(self._make, window, own[start : start + together])

        row_bytes = 4 * max(1, math.prod(self._variables[INPUTS].shape))
        together = max(1, STRETCH_BYTES * world_size // (batch_size * row_bytes)) if self._is_dense else 1
        spans = order.spans(batch_size, len(self) // world_size * world_size, first)
        return self._reader.stream(order, spans, jobs)

    def _cut(self, order: Order, window: Window, batch_size: int, first: int) -> list[Positions]:
        """The positions in the window of each of its batches; ragged samples are put with others of their length."""
        span, size = window.span, window.span.cut - window.span.start
        skipped = max(0, first - span.start // batch_size)
        batches: list[Positions] = [range(at, min(size, at + batch_size)) for at in range(0, size, batch_size)]
        if self._variables[INPUTS].layout == "ragged" and order.shuffled:
            whole = size // batch_size
            lengths = window.lengths(INPUTS, slice(whole * batch_size))
            by_length = np.argsort(lengths, kind="stable").reshape(whole, batch_size)
            batches[:whole] = by_length[order.shuffle_batches(span, whole)]
        return batches[skipped:]

    def _make(self, window: Window, batches: Sequence[Positions]) -> list[Batch]:
        """A stretch of batches. Runs in a thread."""
        edges = list(itertools.accumulate((len(batch) for batch in batches), initial=0))
        positions = _join_positions(batches)
        target: Tensor | None = None
        if TARGET in self._variables:
            target = self._target(window.take(TARGET, positions))
        if self._is_dense:
            inputs = self._numbers(window, positions)
            cuts = [slice(start, stop) for start, stop in itertools.pairwise(edges)]
            return [Batch(inputs[cut], None if target is None else target[cut]) for cut in cuts]
        block = window.take(INPUTS, positions)
        return [Batch(self._pad(block) if isinstance(block, Ragged) else self._matrix(block), target)]

    def _numbers(self, window: Window, positions: slice | np.ndarray) -> Tensor:
        """Codes as int64, measurements as float32; a view where that is how they are stored and ordered."""
        values, rows = window.blocks[INPUTS], window.rows(INPUTS, positions)
        assert isinstance(values, np.ndarray)
        if isinstance(rows, slice) and values.dtype == self._dtype and self._scale is None:
            return torch.from_numpy(values[rows])
        count = len(rows) if isinstance(rows, np.ndarray) else rows.stop - rows.start
        out = self._reader.buffers.take("batches", (count, *values.shape[1:]), self._dtype)
        # A few rows at a time, so that they are still in the core's own cache when they are converted. By NumPy: the
        # threads of torch would wait for cores that have work.
        step = count if values.dtype == self._dtype else max(1, CACHE_BYTES // max(1, values[:1].nbytes))
        for start in range(0, count, step):
            self._convert(values, rows, start, out[start : start + step])
        return torch.from_numpy(out)

    def _convert(self, values: np.ndarray, rows: slice | np.ndarray, start: int, out: np.ndarray) -> None:
        stop = start + len(out)
        if isinstance(rows, slice):
            out[...] = values[rows.start + start : rows.start + stop]
        elif values.dtype == out.dtype:
            values.take(rows[start:stop], axis=0, out=out, mode="clip")
        else:
            taken = self._reader.buffers.take("taken", out.shape, values.dtype)
            out[...] = values.take(rows[start:stop], axis=0, out=taken, mode="clip")
        if self._scale is not None:
            np.multiply(out, self._scale, out=out)

    def _target(self, block: Block) -> Tensor:
        assert isinstance(block, np.ndarray)
        if block.dtype.kind == "f":
            return torch.from_numpy(block.reshape(len(block), -1).astype(np.float32, copy=False))
        return torch.from_numpy(block.astype(np.int64, copy=False))

    def _pad(self, block: Ragged) -> Padded:
        longest = int(block.lengths.max(initial=0))
        steps = np.arange(longest)
        places = block.offsets[:-1, None] + steps
        behind = steps >= block.lengths[:, None]
        places[behind] = 0
        values = block.values
        if len(values):
            padded = values.take(places.ravel(), axis=0).reshape(*places.shape, *values.shape[1:])
        else:
            padded = np.zeros((*places.shape, *values.shape[1:]), values.dtype)
        padded = padded.astype(self._dtype, copy=False)
        padded[behind] = 0
        if self._scale is not None:
            padded *= self._scale
        return Padded(torch.from_numpy(padded), torch.from_numpy(block.lengths.astype(np.int64, copy=False)))

    def _matrix(self, block: csr_array) -> Tensor:
        block = block.astype(np.float32, copy=False)
        if self._sparse == "dense":
            return torch.from_numpy(block.toarray())
        _announce_csr()
        borders, columns, data = (torch.from_numpy(part) for part in (block.indptr, block.indices, block.data))
        return torch.sparse_csr_tensor(borders, columns, data, size=block.shape, check_invariants=False)


def _join_positions(batches: Sequence[Positions]) -> slice | np.ndarray:
    """The positions of batches, one after the other."""
    ranges = [batch for batch in batches if isinstance(batch, range)]
    if len(ranges) == len(batches) and all(one.stop == two.start for one, two in itertools.pairwise(ranges)):
        return slice(ranges[0].start, ranges[-1].stop)
    return np.concatenate([np.asarray(batch) for batch in batches])


@cache
def _announce_csr() -> None:
    """Torch says once a process that its CSR tensors are new; nobody who trains can do anything about that."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support")
        none = torch.zeros(2, dtype=torch.int64)
        torch.sparse_csr_tensor(none, none[:0], torch.zeros(0), size=(1, 1), check_invariants=False)


def open_split(
    folder: Path, split: str, *, threads: int = 1, sparse: Literal["dense", "csr"] = "dense", resident_mib: int = 512
) -> Split:
    """One split of a sealed artifact, every chunk checked against the manifest as it is read.

    `threads` read ahead; `sparse` inputs are filled up, or stay CSR; a split of at most `resident_mib` once decoded
    stays in memory. Raises FileNotFoundError where nothing is sealed, StageError where something is damaged.
    """
    manifest = read_manifest(folder)
    if manifest is None:
        raise FileNotFoundError(f"{folder}: not a sealed artifact")
    path = folder / STORE
    check_small(path, manifest["outputs"])
    store = Store(path, manifest["chunks"])
    return Split(store, store.split(split), threads=threads, sparse=sparse, resident_mib=resident_mib)


def open_foreign(
    path: Path,
    inputs: str | None = INPUTS,
    target: str | None = None,
    *,
    rows: slice = slice(None),
    threads: int = 1,
    resident_mib: int = 512,
) -> Split:
    """Rows of any Zarr store, read through zarr-python: arrays of a group, or with `inputs=None` an array alone.

    What is in it cannot be checked beyond what its codecs check. Raises StageError for what cannot be read.
    """
    names: dict[str, str | None] = {INPUTS: inputs} | ({} if target is None else {TARGET: target})
    store = ForeignStore(path, names)
    start, stop, _ = rows.indices(store.layout.num_rows)
    return Split(store, slice(start, max(start, stop)), threads=threads, resident_mib=resident_mib)
