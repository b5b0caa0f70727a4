"""Every sample once an epoch, in an order that the seed and the epoch decide; and nothing damaged is read."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace import stores
from headrace.batches import SplitData, read_split
from headrace.errors import StageError
from headrace.provenance import MANIFEST, REQUIRED, write_json


def numbered(num_samples: int) -> SplitData:
    inputs = np.arange(num_samples, dtype=np.float32).reshape(-1, 1)
    return SplitData(inputs, np.arange(num_samples))


def order_of(data: SplitData, batch_size: int, seed: int, epoch: int) -> list[int]:
    return [int(value) for inputs, _ in data.epoch(batch_size, seed, epoch) for value in inputs[:, 0]]


@given(st.integers(1, 300), st.integers(1, 64), st.integers(0, 2**63 - 1), st.integers(1, 1000))
@settings(deadline=None, max_examples=100)
def test_every_sample_comes_once_an_epoch(num_samples: int, batch_size: int, seed: int, epoch: int) -> None:
    data = numbered(num_samples)
    batches = list(data.epoch(batch_size, seed, epoch))
    assert sorted(order_of(data, batch_size, seed, epoch)) == list(range(num_samples))
    assert [len(inputs) for inputs, _ in batches[:-1]] == [batch_size] * (len(batches) - 1)
    assert all(np.array_equal(inputs[:, 0], target) for inputs, target in batches)


def test_the_order_follows_from_seed_and_epoch_alone() -> None:
    data = numbered(200)
    assert order_of(data, 32, 1, 2) == order_of(data, 7, 1, 2)
    orders = [order_of(data, 32, seed, epoch) for seed in (0, 1, 2) for epoch in (1, 2, 3)]
    assert len({tuple(order) for order in orders}) == 9


@given(st.integers(1, 100), st.integers(1, 30))
@settings(deadline=None, max_examples=50)
def test_in_order_means_in_order(num_samples: int, batch_size: int) -> None:
    batches = list(numbered(num_samples).in_order(batch_size))
    assert np.concatenate([inputs for inputs, _ in batches])[:, 0].tolist() == list(range(num_samples))


def test_data_without_targets_have_batches_without_targets() -> None:
    data = SplitData(np.zeros((5, 2), np.float32), None)
    assert all(target is None for _, target in [*data.epoch(2, 0, 1), *data.in_order(2)])


SIZES = {"train": 30, "validation": 6, "test": 4}


def write_artifact(folder: Path, target: np.ndarray | None) -> np.ndarray:
    inputs = np.random.default_rng(0).normal(size=(40, 3))
    arrays = {"inputs": inputs} if target is None else {"inputs": inputs, "target": target}
    variables = {
        name: stores.Variable(("column",) * (values.ndim - 1), values.shape[1:], str(values.dtype))
        for name, values in arrays.items()
    }
    layout = stores.Layout(40, 7, 7)
    folder.mkdir()
    stores.create(folder / stores.STORE, variables, layout, SIZES, {})
    digests: dict[str, str] = {}
    for shard in range(layout.num_shards):
        rows = layout.rows(shard)
        blocks = {name: values[rows] for name, values in arrays.items()}
        digests |= stores.write_shard(folder / stores.STORE, shard, blocks)
    stores.finish(folder / stores.STORE)
    digests |= stores.small_digests(folder / stores.STORE)
    write_json(folder / MANIFEST, {**dict.fromkeys(REQUIRED, ""), "outputs": digests})
    return inputs


def test_splits_are_read_as_they_were_written(tmp_path: Path) -> None:
    target = np.arange(40)
    inputs = write_artifact(tmp_path / "made", target)
    start = 0
    for split, size in SIZES.items():
        data = read_split(tmp_path / "made", split)
        assert len(data) == size
        assert data.inputs.dtype == np.float32
        assert np.array_equal(data.inputs, inputs[start : start + size].astype(np.float32))
        assert data.target is not None
        assert data.target.tolist() == target[start : start + size].tolist()
        start += size


def test_numbers_to_predict_have_a_column_each(tmp_path: Path) -> None:
    write_artifact(tmp_path / "one", np.arange(40, dtype=np.float32))
    write_artifact(tmp_path / "two", np.zeros((40, 2), np.float32))
    shapes = [read_split(tmp_path / name, "test").target.shape for name in ("one", "two")]  # type: ignore[union-attr]
    assert shapes == [(4, 1), (4, 2)]


def test_a_split_may_have_no_target(tmp_path: Path) -> None:
    write_artifact(tmp_path / "made", None)
    assert read_split(tmp_path / "made", "train").target is None


@pytest.mark.parametrize("name", ["inputs", "target"])
def test_a_damaged_or_missing_shard_is_not_read(tmp_path: Path, name: str) -> None:
    write_artifact(tmp_path / "made", np.arange(1, 41))
    path = next(path for path in sorted((tmp_path / "made" / stores.STORE / name / "c").rglob("*")) if path.is_file())
    content = bytearray(path.read_bytes())
    content[5] ^= 4
    path.write_bytes(content)
    with pytest.raises(StageError, match=f"shard 0 of {name}"):
        read_split(tmp_path / "made", "train")
    path.unlink()
    with pytest.raises(StageError, match=f"shard 0 of {name}"):
        read_split(tmp_path / "made", "train")


def test_an_artifact_that_is_not_sealed_is_not_read(tmp_path: Path) -> None:
    write_artifact(tmp_path / "made", None)
    (tmp_path / "made" / MANIFEST).unlink()
    with pytest.raises(FileNotFoundError, match="not a sealed artifact"):
        read_split(tmp_path / "made", "train")


def test_another_division_into_splits_is_not_read(tmp_path: Path) -> None:
    write_artifact(tmp_path / "made", np.arange(40))
    path = tmp_path / "made" / stores.STORE / "zarr.json"
    text = path.read_text()
    moved = text.replace(f'"train": {SIZES["train"]}', f'"train": {SIZES["train"] + 1}')
    assert moved != text
    path.write_text(moved)
    with pytest.raises(StageError, match="attributes is not what was written"):
        read_split(tmp_path / "made", "train")
