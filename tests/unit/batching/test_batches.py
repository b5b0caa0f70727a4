"""Every sample once an epoch, in an order that seed and epoch decide, whoever reads; and nothing damaged is read."""

import gc
import itertools
import tempfile
import threading
import tracemalloc
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array, random_array

from headrace.batching import windows
from headrace.batching.batches import Batch, Padded, Split, open_foreign, open_split
from headrace.blocks import Block, Ragged, cut, num_rows
from headrace.errors import StageError
from headrace.provenance.manifests import MANIFEST
from headrace.stores.groups import OFFSETS
from headrace.stores.layout import MIB, STORE, Layout
from sample_stores import write_artifact

WINDOW = 600
"""Bytes: some ten chunks of the stores below."""


@pytest.fixture(autouse=True, scope="module")
def small_windows() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(windows, "WINDOW_BYTES", WINDOW)
        patch.setattr(windows, "IN_ORDER_BYTES", WINDOW // 4)
        yield


def numbered(first: int, stop: int, width: int = 3) -> dict[str, np.ndarray]:
    """Rows that say which they are."""
    rows = np.arange(first, stop)
    return {"inputs": np.repeat(rows[:, None], width, axis=1).astype(np.float32), "target": rows}


def in_splits(blocks: Mapping[str, Block], sizes: Sequence[int]) -> dict[str, dict[str, Block]]:
    edges = np.concatenate([[0], np.cumsum(sizes)]).tolist()
    names = ("train", "validation", "test")
    return {
        split: {name: cut(block, slice(start, stop)) for name, block in blocks.items()}
        for split, (start, stop) in zip(names, itertools.pairwise(edges), strict=False)
    }


def rows_of(batch: Batch) -> list[int]:
    assert batch.target is not None
    return batch.target.tolist()


def order_of(batches: Iterator[Batch]) -> list[list[int]]:
    return [rows_of(batch) for batch in batches]


def flat(lists: Iterable[list[int]]) -> list[int]:
    return list(itertools.chain.from_iterable(lists))


def same(one: Batch, other: Batch) -> bool:
    pairs = [(one.target, other.target)]
    if isinstance(one.inputs, Padded):
        assert isinstance(other.inputs, Padded)
        pairs += zip(one.inputs, other.inputs, strict=True)
    else:
        assert isinstance(other.inputs, torch.Tensor)
        pairs.append((one.inputs.to_dense(), other.inputs.to_dense()))
    return all((a is b is None) or (a.dtype == b.dtype and torch.equal(a, b)) for a, b in pairs)


def kept(batch: Batch) -> Batch:
    inputs = batch.inputs
    inputs = Padded(*(part.clone() for part in inputs)) if isinstance(inputs, Padded) else inputs.clone()
    return Batch(inputs, None if batch.target is None else batch.target.clone())


# Order


@dataclass(frozen=True)
class Case:
    """A store of numbered rows, and how it is read."""

    sizes: tuple[int, int]
    layout: Layout
    batch_size: int
    seed: int
    epoch: int

    def expected(self, split: str) -> list[int]:
        """The order, one row after the other."""
        start, stop = (0, self.sizes[0]) if split == "train" else (self.sizes[0], sum(self.sizes))
        rows, size = range(start, stop), self.layout.rows_per_chunk
        chunks = [list(group) for _, group in itertools.groupby(rows, key=lambda row: row // size)]
        # 3 float32 and 1 int64 in a row.
        per_window = -(-WINDOW * len(chunks) // (20 * len(rows)))
        shuffled = [
            chunks[i] for i in np.random.Generator(np.random.PCG64([self.seed, self.epoch])).permutation(len(chunks))
        ]
        order = []
        for number, first in enumerate(range(0, len(shuffled), per_window)):
            window = [row for chunk in shuffled[first : first + per_window] for row in chunk]
            key = [self.seed, self.epoch, number + 1]
            order += [window[i] for i in np.random.Generator(np.random.PCG64(key)).permutation(len(window))]
        return order


@st.composite
def cases(draw: st.DrawFn) -> Case:
    sizes = (draw(st.integers(1, 250)), draw(st.integers(1, 40)))
    per_chunk = draw(st.integers(1, 9))
    layout = Layout(sum(sizes), per_chunk * draw(st.integers(1, 6)), per_chunk)
    return Case(sizes, layout, draw(st.integers(1, 70)), draw(st.integers(0, 2**63 - 1)), draw(st.integers(1, 1000)))


@given(cases(), st.integers(1, 3), st.sampled_from([0, 1]), st.sampled_from(["lz4", "none"]), st.data())
@settings(deadline=None, max_examples=40)
def test_batches_are_those_of_a_plain_reference(
    case: Case, threads: int, resident_mib: int, compression: str, data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        blocks = numbered(0, sum(case.sizes))
        made = write_artifact(Path(folder, "a"), in_splits(blocks, case.sizes), case.layout, compression=compression)
        for split in ("train", "validation"):
            opened = open_split(made, split, threads=threads, resident_mib=resident_mib)
            wanted = case.expected(split)
            pieces = [wanted[i : i + case.batch_size] for i in range(0, len(wanted), case.batch_size)]
            for _ in range(2):
                batches = [kept(batch) for batch in opened.epoch(case.batch_size, case.seed, case.epoch)]
                assert order_of(iter(batches)) == pieces
                assert all((batch.inputs == batch.target[:, None]).all() for batch in batches)
            first = data.draw(st.integers(0, len(pieces) + 1))
            assert order_of(opened.epoch(case.batch_size, case.seed, case.epoch, first=first)) == pieces[first:]


@given(cases(), st.integers(2, 5))
@settings(deadline=None, max_examples=25)
def test_ranks_share_out_the_epoch_of_one_process(case: Case, world_size: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        made = write_artifact(Path(folder, "a"), in_splits(numbered(0, sum(case.sizes)), case.sizes), case.layout)
        opened, size = open_split(made, "train"), case.batch_size * world_size
        ranks = [
            order_of(opened.epoch(size, case.seed, case.epoch, rank=rank, world_size=world_size))
            for rank in range(world_size)
        ]
        assert len({tuple(len(batch) for batch in batches) for batches in ranks}) == 1
        joined = [row for shares in zip(*ranks, strict=True) for share in shares for row in share]
        wanted = case.expected("train")
        assert joined == wanted[: len(wanted) // world_size * world_size]


def test_a_batch_that_cannot_be_shared_out_is_refused(tmp_path: Path) -> None:
    opened = open_split(write_artifact(tmp_path / "a", {"train": numbered(0, 20)}), "train")
    for batch_size, rank, world_size in ((10, 0, 3), (0, 0, 1), (4, 2, 2), (4, -1, 2)):
        with pytest.raises(ValueError, match=f"batches of {batch_size} cannot be shared out to rank"):
            opened.epoch(batch_size, 0, 1, rank=rank, world_size=world_size)


def test_epochs_and_seeds_have_orders_of_their_own_whatever_the_batch_size(tmp_path: Path) -> None:
    layout = Layout(200, 20, 4)
    opened = open_split(write_artifact(tmp_path / "a", {"train": numbered(0, 200)}, layout), "train")
    joined = [flat(order_of(opened.epoch(size, 1, 2))) for size in (1, 7, 32, 500)]
    assert all(order == joined[0] for order in joined)
    orders = [flat(order_of(opened.epoch(32, seed, epoch))) for seed in (0, 1, 2) for epoch in (1, 2, 3)]
    assert len({tuple(order) for order in orders}) == 9


def test_rows_of_a_small_data_set_may_go_anywhere(tmp_path: Path) -> None:
    layout = Layout(24, 8, 2)
    opened = open_split(write_artifact(tmp_path / "a", {"train": numbered(0, 24)}, layout), "train")
    orders = np.array([flat(order_of(opened.epoch(24, 0, epoch))) for epoch in range(400)])
    # Each row is at each place in one epoch of 24: 16.7 times, with a deviation of 4.
    counts = np.array([np.bincount(orders[:, place], minlength=24) for place in range(24)])
    assert counts.min() > 0
    assert counts.max() < 16.7 + 6 * 4


@pytest.mark.parametrize("width", [1, 16, 200, 1023, 1024, 3072, 4099, 6144])
def test_rows_of_any_size_are_moved_whole(width: int) -> None:
    generator = np.random.default_rng(width)
    values = generator.integers(0, 256, (37, width), dtype=np.uint8)
    places = generator.permutation(90)[: len(values)]
    block, expected = np.zeros((2, 90, width), np.uint8)
    windows._put(block, places, values)
    expected[places] = values
    assert np.array_equal(block, expected)
    windows._put(block, slice(50, 87), values[:, ::-1])
    expected[50:87] = values[:, ::-1]
    assert np.array_equal(block, expected)


@given(cases(), st.integers(1, 60))
@settings(deadline=None, max_examples=15)
def test_in_order_means_in_order(case: Case, batch_size: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        made = write_artifact(Path(folder, "a"), in_splits(numbered(0, sum(case.sizes)), case.sizes), case.layout)
        rows = list(range(case.sizes[0], sum(case.sizes)))
        opened = open_split(made, "validation", threads=2)
        assert len(opened) == len(rows)
        assert order_of(opened.in_order(batch_size)) == [
            rows[i : i + batch_size] for i in range(0, len(rows), batch_size)
        ]
        assert np.concatenate(list(opened.targets())).tolist() == [[row] for row in rows]


# What a batch holds


def inputs_of(folder: Path, block: Block, attributes: Mapping[str, Any] | None = None, **more: Any) -> Split:
    reading = {key: more.pop(key) for key in ("sparse",) if key in more}
    made = write_artifact(folder, {"train": {"inputs": block}}, Layout(num_rows(block), 6, 3), attributes, **more)
    return open_split(made, "train", **reading)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float64", "float32", "bool"])
def test_measurements_are_float32(tmp_path: Path, dtype: str) -> None:
    values = np.random.default_rng(0).integers(0, 200, (20, 2, 4)).astype(dtype)
    opened = inputs_of(tmp_path / "a", values)
    batch = next(opened.in_order(20))
    assert isinstance(batch.inputs, torch.Tensor)
    assert batch.inputs.dtype == next(opened.epoch(20, 0, 1)).inputs.dtype == torch.float32
    assert np.array_equal(batch.inputs, values.astype(np.float32))
    assert batch.target is None


def test_whole_numbers_with_a_scale_are_multiplied_by_it(tmp_path: Path) -> None:
    values = np.arange(256, dtype=np.uint8).reshape(64, 4)
    found = next(inputs_of(tmp_path / "a", values, scales={"inputs": 1 / 255}).in_order(64)).inputs
    assert np.array_equal(found, values.astype(np.float32) * np.float32(1 / 255))


def test_codes_stay_whole_numbers(tmp_path: Path) -> None:
    values = np.arange(60, dtype=np.uint8).reshape(20, 3)
    found = next(inputs_of(tmp_path / "a", values, {"num_codes": 60}).in_order(20)).inputs
    assert found.dtype == torch.int64
    assert found.tolist() == values.tolist()


@pytest.mark.parametrize(
    ("target", "dtype", "shape"),
    [
        (np.arange(12, dtype=np.float32), torch.float32, (12, 1)),
        (np.arange(24, dtype=np.float64).reshape(12, 2), torch.float32, (12, 2)),
        (np.arange(12, dtype=np.int64), torch.int64, (12,)),
        (np.arange(12, dtype=np.uint8), torch.int64, (12,)),
    ],
)
def test_targets_are_codes_or_columns_of_numbers(
    tmp_path: Path, target: np.ndarray, dtype: torch.dtype, shape: tuple[int, ...]
) -> None:
    blocks = {"inputs": np.zeros((12, 2), np.float32), "target": target}
    opened = open_split(write_artifact(tmp_path / "a", {"train": blocks}, Layout(12, 4, 2)), "train")
    batch = next(opened.in_order(12))
    assert batch.target is not None
    assert (batch.target.dtype, tuple(batch.target.shape)) == (dtype, shape)
    assert np.array_equal(batch.target.numpy().reshape(target.shape), target)
    assert np.concatenate(list(opened.targets())).tolist() == target.reshape(12, -1).tolist()


def sentences(number: int, shape: tuple[int, ...] = (), seed: int = 0) -> Ragged:
    """Sequences that begin with their number."""
    generator = np.random.default_rng(seed)
    rows = [generator.integers(1, 99, (length, *shape)) for length in generator.integers(1, 40, number)]
    for i, row in enumerate(rows):
        row[0] = i
    return Ragged.of(rows, np.int64)


def sequences_artifact(folder: Path, number: int, shape: tuple[int, ...] = ()) -> Path:
    block = sentences(number, shape)
    blocks = {"inputs": Ragged(block.values.astype(np.float32), block.lengths), "target": np.arange(number)}
    return write_artifact(folder, in_splits(blocks, (number - 30, 30)), Layout(number, 40, 8))


@pytest.mark.parametrize("shape", [(), (2,)])
@pytest.mark.parametrize("batch_size", [1, 5, 16, 400])
def test_sequences_are_filled_up_and_nothing_is_lost(tmp_path: Path, shape: tuple[int, ...], batch_size: int) -> None:
    made = sequences_artifact(tmp_path / "a", 300, shape)
    block = sentences(300, shape)
    opened = open_split(made, "train", threads=2, resident_mib=0)
    seen = []
    for batches in (opened.epoch(batch_size, 3, 1), opened.in_order(batch_size)):
        for batch in batches:
            padded = batch.inputs
            assert isinstance(padded, Padded)
            assert padded.values.shape[:2] == (len(batch), int(padded.lengths.max()))
            assert torch.equal(padded.mask.sum(dim=1), padded.lengths)
            for i, row in enumerate(rows_of(batch)):
                own = cut(block, slice(row, row + 1))
                assert isinstance(own, Ragged)
                assert np.array_equal(padded.values[i][padded.mask[i]], own.values)
                assert not padded.values[i][~padded.mask[i]].any()
                seen.append(row)
    assert seen[270:] == list(range(270))
    assert sorted(seen[:270]) == list(range(270))


def test_sequences_come_with_others_of_their_length(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "WINDOW_BYTES", MIB)
    opened = open_split(sequences_artifact(tmp_path / "a", 1030), "train")
    batches = [batch.inputs for batch in opened.epoch(16, 0, 1)]
    waste = [float((~padded.mask).float().mean()) for padded in batches if isinstance(padded, Padded)]
    assert np.mean(waste[:-1]) < 0.03
    longest = [int(padded.lengths.max()) for padded in batches if isinstance(padded, Padded)]
    assert longest != sorted(longest)


def test_codes_in_sequences_are_int64_and_a_sequence_may_be_empty(tmp_path: Path) -> None:
    block = Ragged.of([np.array([5, 6]), np.array([], np.int64), np.array([7])], np.uint8)
    batch = next(inputs_of(tmp_path / "a", block, {"num_codes": 256}).in_order(3))
    assert isinstance(batch.inputs, Padded)
    assert batch.inputs.values.tolist() == [[5, 6], [0, 0], [7, 0]]
    assert batch.inputs.values.dtype == torch.int64
    assert batch.inputs.lengths.tolist() == [2, 0, 1]
    empty = Ragged(np.zeros(0, np.uint8), np.zeros(3, np.int64))
    batch = next(inputs_of(tmp_path / "b", empty, {"num_codes": 256}).epoch(3, 0, 1))
    assert isinstance(batch.inputs, Padded)
    assert batch.inputs.values.shape == (3, 0)


def sparse_artifact(folder: Path, number: int = 200) -> tuple[Path, np.ndarray]:
    matrix = csr_array(random_array((number, 30), density=0.2, format="csr", rng=np.random.default_rng(1)))
    blocks = {"inputs": matrix.astype(np.float32), "target": np.arange(number)}
    made = write_artifact(folder, in_splits(blocks, (number - 20, 20)), Layout(number, 50, 5))
    return made, matrix.astype(np.float32).toarray()


@pytest.mark.parametrize("how", ["dense", "csr"])
def test_sparse_rows_are_filled_up_or_stay_csr(tmp_path: Path, how: Any) -> None:
    made, matrix = sparse_artifact(tmp_path / "a")
    opened = open_split(made, "train", sparse=how, threads=2)
    layout = torch.sparse_csr if how == "csr" else torch.strided
    seen = []
    for batch in itertools.chain(opened.epoch(16, 0, 1), opened.in_order(7)):
        assert isinstance(batch.inputs, torch.Tensor)
        assert batch.inputs.layout == layout
        assert batch.inputs.dtype == torch.float32
        assert np.array_equal(batch.inputs.to_dense(), matrix[rows_of(batch)])
        seen += rows_of(batch)
    assert sorted(seen) == sorted([*range(180), *range(180)])


MAKERS = {
    "ragged": lambda folder: sequences_artifact(folder, 300),
    "sparse": lambda folder: sparse_artifact(folder)[0],
}


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("batch_size", [4, 12, 132])
def test_every_layout_has_the_same_bits_for_any_threads_memory_and_beginning(
    tmp_path: Path, kind: str, batch_size: int
) -> None:
    made = MAKERS[kind](tmp_path / "a")
    plain = list(open_split(made, "train", resident_mib=0).epoch(batch_size, 5, 2))
    opened = open_split(made, "train", threads=3)
    for first in (0, 0, 1, 2, len(plain) - 1, len(plain)):
        found = list(opened.epoch(batch_size, 5, 2, first=first))
        assert len(found) == len(plain) - first
        assert all(same(one, other) for one, other in zip(found, plain[first:], strict=True))
    shares = [order_of(opened.epoch(batch_size, 5, 2, rank=rank, world_size=4)) for rank in range(4)]
    count = len(opened) // 4 * 4
    together = [flat(parts) for parts in zip(*shares, strict=True)]
    sizes = [batch_size] * (count // batch_size) + [count % batch_size] * (count % batch_size > 0)
    assert [len(batch) for batch in together] == sizes
    whole = count // batch_size
    assert together[:whole] == order_of(iter(plain[:whole]))


# Memory


def test_batches_that_are_kept_stay_as_they_are(tmp_path: Path) -> None:
    layout = Layout(400, 40, 8)
    opened = open_split(write_artifact(tmp_path / "a", {"train": numbered(0, 400)}, layout), "train", threads=2)
    batches = [*opened.epoch(9, 0, 1), *opened.epoch(9, 0, 2)]
    gc.collect()
    for batch in batches:
        assert isinstance(batch.inputs, torch.Tensor)
        assert (batch.inputs == batch.target[:, None]).all()
    # A view of a view, alone, is enough.
    rows = [batch.inputs[2:4, 1] for batch in opened.epoch(9, 0, 3)]
    wanted = [batch.target[2:4].clone() for batch in opened.epoch(9, 0, 3)]
    assert all(torch.equal(one, other.float()) for one, other in zip(rows, wanted, strict=True))


def test_memory_of_batches_that_are_let_go_is_used_again(tmp_path: Path) -> None:
    values = np.arange(1000, dtype=np.uint8).reshape(500, 2)
    made = write_artifact(tmp_path / "a", {"train": {"inputs": values}}, Layout(500, 50, 10))
    opened = open_split(made, "train", resident_mib=0)
    addresses = {batch.inputs.data_ptr() for epoch in range(9) for batch in opened.epoch(250, 0, epoch)}
    assert len(addresses) < 9


def test_several_epochs_may_be_under_way_at_once(tmp_path: Path) -> None:
    layout = Layout(300, 30, 6)
    opened = open_split(write_artifact(tmp_path / "a", {"train": numbered(0, 300)}, layout), "train", threads=2)
    wanted = [order_of(opened.epoch(10, 0, epoch)) for epoch in (1, 2, 3)]
    found: list[list[list[int]]] = [[], [], []]
    for batches in zip(*(opened.epoch(10, 0, epoch) for epoch in (1, 2, 3)), strict=True):
        for i, batch in enumerate(batches):
            assert (batch.inputs == batch.target[:, None]).all()
            found[i].append(rows_of(batch))
    assert found == wanted


@pytest.mark.parametrize("resident_mib", [0, 512])
def test_memory_follows_the_window_and_not_the_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, resident_mib: int
) -> None:
    monkeypatch.setattr(windows, "WINDOW_BYTES", MIB)
    monkeypatch.setattr(windows, "IN_ORDER_BYTES", MIB)
    values = np.zeros((32 * 1024, 256), np.float32)
    made = write_artifact(tmp_path / "a", {"train": {"inputs": values}}, Layout(len(values), 1024, 128))
    opened = open_split(made, "train", threads=2, resident_mib=resident_mib)
    del values
    tracemalloc.start()
    for batch in itertools.chain(opened.epoch(64, 0, 1), opened.in_order(64)):
        assert len(batch) == 64
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (peak < 6 * MIB) if resident_mib == 0 else (32 * MIB < peak < 40 * MIB)


def test_an_epoch_that_is_left_early_leaves_no_thread(tmp_path: Path) -> None:
    opened = open_split(
        write_artifact(tmp_path / "a", {"train": numbered(0, 900)}, Layout(900, 30, 6)), "train", threads=2
    )
    batches = opened.epoch(10, 0, 1)
    next(batches)
    batches.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("read")]
    assert len(list(opened.epoch(10, 0, 1))) == 90


# Damage


@pytest.mark.parametrize("name", ["inputs", "target"])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_damaged_or_missing_shard_is_not_read(tmp_path: Path, name: str, threads: int) -> None:
    made = write_artifact(tmp_path / "a", {"train": numbered(0, 300)}, Layout(300, 30, 6))
    path = made / STORE / name / "c" / "3"
    path = path / "0" if path.is_dir() else path
    content = bytearray(path.read_bytes())
    content[5] ^= 4
    path.write_bytes(content)
    for batches in (open_split(made, "train", threads=threads).epoch(7, 0, 1), open_split(made, "train").in_order(7)):
        with pytest.raises(StageError, match=rf"{name}/c/3.*chunk 0 is damaged"):
            list(batches)
    path.unlink()
    with pytest.raises(StageError, match=rf"{name}/c/3.*: is missing"):
        list(open_split(made, "train", threads=threads).epoch(7, 0, 1))


def test_an_artifact_that_is_not_sealed_is_not_read(tmp_path: Path) -> None:
    made = write_artifact(tmp_path / "a", {"train": numbered(0, 20)})
    (made / MANIFEST).unlink()
    with pytest.raises(FileNotFoundError, match="not a sealed artifact"):
        open_split(made, "train")


def test_another_division_into_splits_is_not_read(tmp_path: Path) -> None:
    made = write_artifact(tmp_path / "a", in_splits(numbered(0, 40), (30, 10)))
    path = made / STORE / "zarr.json"
    text = path.read_text()
    moved = text.replace('"train": 30', '"train": 31')
    assert moved != text
    path.write_text(moved)
    with pytest.raises(StageError, match="attributes is not what was written"):
        open_split(made, "train")


# Stores of other tools


@given(cases(), st.sampled_from(["uint8", "float32", "float64", "int32"]), st.booleans(), st.integers(1, 3))
@settings(deadline=None, max_examples=40)
def test_both_ways_to_read_a_store_give_the_same_batches(
    case: Case, dtype: str, with_target: bool, threads: int
) -> None:
    blocks = numbered(0, sum(case.sizes))
    blocks["inputs"] = blocks["inputs"].astype(dtype)
    if not with_target:
        del blocks["target"]
    scales = {"inputs": 0.5} if dtype == "uint8" else {}
    with tempfile.TemporaryDirectory() as folder:
        made = write_artifact(Path(folder, "a"), in_splits(blocks, case.sizes), case.layout, scales=scales)
        ours = open_split(made, "validation", threads=threads)
        rows = slice(case.sizes[0], sum(case.sizes))
        theirs = open_foreign(made / STORE, "inputs", "target" if with_target else None, rows=rows, threads=threads)
        assert len(ours) == len(theirs)
        for one, other in zip(
            itertools.chain(ours.epoch(case.batch_size, case.seed, 1), ours.in_order(case.batch_size)),
            itertools.chain(theirs.epoch(case.batch_size, case.seed, 1), theirs.in_order(case.batch_size)),
            strict=True,
        ):
            assert same(one, other)


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", ">i2", "u1", "?", "<f2"])
def test_an_array_alone_in_any_byte_order_can_be_read(tmp_path: Path, dtype: str) -> None:
    values = np.random.default_rng(0).integers(0, 100, (50, 6, 4)).astype(dtype)
    zarr.save_array(tmp_path / "a.zarr", values, zarr_format=3)
    again = zarr.create_array(tmp_path / "b.zarr", shape=values.shape, dtype=dtype, chunks=(8, 2, 4), shards=(16, 6, 4))
    again[...] = values
    for name in ("a.zarr", "b.zarr"):
        opened = open_foreign(tmp_path / name, None, threads=2)
        found = np.concatenate([batch.inputs.numpy() for batch in opened.in_order(7)])
        assert found.dtype == np.float32
        assert np.array_equal(found, values.astype(np.float32))
        shuffled = np.concatenate([batch.inputs.numpy() for batch in opened.epoch(7, 0, 1)])
        assert sorted(map(tuple, shuffled.reshape(50, -1))) == sorted(map(tuple, found.reshape(50, -1)))


def test_what_cannot_be_rows_of_numbers_is_refused_in_one_line(tmp_path: Path) -> None:
    group = zarr.open_group(tmp_path / "a.zarr", mode="w")
    arrays = {"x": np.zeros((9, 2)), "y": np.zeros(8), "alone": np.array(3.0), "z": np.zeros(9, "complex64")}
    for name, values in arrays.items():
        group.create_array(name, data=values)
    for inputs, target, message in [
        ("nothing", None, "nothing cannot be read"),
        ("x", "y", "x and y differ in rows"),
        ("alone", None, "only numbers in rows"),
        ("z", None, "only numbers in rows"),
        (None, None, "is not an array"),
    ]:
        with pytest.raises(StageError, match=message) as error:
            open_foreign(tmp_path / "a.zarr", inputs, target)
        assert "\n" not in str(error.value)
    with pytest.raises(StageError, match="cannot be read"):
        open_foreign(tmp_path / "none.zarr")


def test_a_damaged_chunk_of_another_tool_is_named(tmp_path: Path) -> None:
    array = zarr.create_array(tmp_path / "a.zarr", shape=(40, 3), dtype="f4", chunks=(10, 3))
    array[...] = 1
    chunk = next(path for path in sorted((tmp_path / "a.zarr" / "c").rglob("*")) if path.is_file())
    chunk.write_bytes(chunk.read_bytes()[:-9])
    with pytest.raises(StageError, match=r"rows \d+ to \d+ of .* cannot be read"):
        list(open_foreign(tmp_path / "a.zarr", None).epoch(8, 0, 1))


def test_offsets_that_were_replaced_are_not_read(tmp_path: Path) -> None:
    made = sequences_artifact(tmp_path / "a", 60)
    array = zarr.open_group(made / STORE, mode="r+")[f"inputs{OFFSETS}"]
    assert isinstance(array, zarr.Array)
    array[3] = int(array[3]) + 1  # type: ignore[arg-type, call-overload]
    with pytest.raises(StageError, match="is not what was written"):
        open_split(made, "train")


def test_joined_shares_of_a_ragged_epoch_are_its_rows(tmp_path: Path) -> None:
    opened = open_split(sequences_artifact(tmp_path / "a", 330), "train")
    shares = [batch for rank in range(3) for batch in opened.epoch(12, 1, 1, rank=rank, world_size=3)]
    assert sorted(row for batch in shares for row in rows_of(batch)) == list(range(300))
