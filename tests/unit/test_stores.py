"""Layouts, round trips, and that no damage to a store is ever read as data."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from headrace import stores
from headrace.errors import StageError
from headrace.stores import MAX_SHARD_BYTES, MIB, MIN_SHARDS, TARGET_CHUNK_BYTES, Layout, Variable, choose_layout

SPLITS = {"train": 70, "validation": 15, "test": 15}
ROW_BYTES = st.one_of(st.integers(1, 10_000), st.integers(10_000, 3 * MAX_SHARD_BYTES))


@dataclass(frozen=True)
class Written:
    """A store, what went into it, and the digests of its shards."""

    path: Path
    arrays: Mapping[str, np.ndarray]
    digests: Mapping[str, str]
    layout: Layout


def write_store(path: Path, arrays: Mapping[str, np.ndarray], layout: Layout, sizes: Mapping[str, int]) -> Written:
    variables = {
        name: Variable(tuple(f"{name}_{i}" for i in range(values.ndim - 1)), values.shape[1:], str(values.dtype))
        for name, values in arrays.items()
    }
    stores.create(path, variables, layout, sizes, {"title": "a test", "class_names": ["no", "yes"]})
    stores.add_coordinate(path, "source_row", np.arange(layout.num_rows, dtype=np.int64)[::-1].copy())
    digests: dict[str, str] = {}
    for shard in range(layout.num_shards):
        rows = layout.rows(shard)
        digests |= stores.write_shard(path, shard, {name: values[rows] for name, values in arrays.items()})
    stores.finish(path)
    return Written(path, arrays, digests, layout)


def make_arrays(num_rows: int) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(3)
    return {
        "inputs": generator.normal(size=(num_rows, 4, 5)).astype(np.float32),
        "target": generator.integers(0, 2, num_rows),
    }


@pytest.fixture
def written(tmp_path: Path) -> Written:
    return write_store(tmp_path / "data.zarr", make_arrays(100), Layout(100, 12, 4), SPLITS)


def read_all(written: Written) -> dict[str, np.ndarray]:
    rows = slice(0, written.layout.num_rows)
    return {
        name: np.concatenate(list(stores.read_rows(written.path, name, rows, written.digests)))
        for name in written.arrays
    }


def chunk_files(written: Written) -> list[Path]:
    return sorted(path for name in written.arrays for path in (written.path / name / "c").rglob("*") if path.is_file())


# Layouts


@given(num_rows=st.integers(1, 100_000), row_bytes=ROW_BYTES)
@example(num_rows=1000, row_bytes=2 * MIB)
@example(num_rows=100_000, row_bytes=327_680)
@settings(deadline=None, max_examples=300)
def test_default_layout_keeps_its_bounds(num_rows: int, row_bytes: int) -> None:
    layout = choose_layout(num_rows, row_bytes)
    assert layout.rows_per_shard % layout.rows_per_chunk == 0
    assert layout.rows_per_shard * row_bytes <= max(MAX_SHARD_BYTES, row_bytes)
    assert layout.rows_per_chunk * row_bytes <= max(2 * TARGET_CHUNK_BYTES, row_bytes)


@given(num_rows=st.integers(1, 100_000), row_bytes=ROW_BYTES)
@example(num_rows=24, row_bytes=2 * MIB)
@example(num_rows=9, row_bytes=4)
@settings(deadline=None, max_examples=300)
def test_default_layout_has_shards_for_eight_workers(num_rows: int, row_bytes: int) -> None:
    assert choose_layout(num_rows, row_bytes).num_shards >= min(MIN_SHARDS, num_rows)


@given(num_rows=st.integers(1, 5000), row_bytes=st.integers(1, MIB), rows_per_shard=st.integers(1, 6000) | st.none())
@settings(deadline=None, max_examples=200)
def test_shards_cover_every_row_once(num_rows: int, row_bytes: int, rows_per_shard: int | None) -> None:
    layout = choose_layout(num_rows, row_bytes, rows_per_shard)
    slices = [layout.rows(shard) for shard in range(layout.num_shards)]
    assert [row for rows in slices for row in range(rows.start, rows.stop)] == list(range(num_rows))
    assert all(rows.start < rows.stop for rows in slices)


@given(row_bytes=st.integers(1, MIB), rows_per_shard=st.integers(1, 6000))
@settings(deadline=None, max_examples=200)
def test_rows_per_shard_is_taken_at_its_word(row_bytes: int, rows_per_shard: int) -> None:
    layout = choose_layout(10_000, row_bytes, rows_per_shard)
    assert layout.rows_per_shard == rows_per_shard
    assert layout.rows_per_shard % layout.rows_per_chunk == 0


def test_rows_per_shard_may_be_given_for_rows_above_a_chunk(run_with_limit) -> None:
    assert run_with_limit(lambda: choose_layout(100, 2 * MIB, 4), seconds=1) == Layout(100, 4, 1)


# Round trips

DTYPES = ["float32", "float64", "int64", "uint8", "int16", "bool"]


@pytest.mark.parametrize("shape", [(), (1,), (7,), (3, 2)])
def test_rows_come_back_as_they_went_in(tmp_path: Path, shape: tuple[int, ...]) -> None:
    generator = np.random.default_rng(0)
    arrays = {dtype: generator.integers(0, 2, (23, *shape)).astype(dtype) for dtype in DTYPES}
    sizes = {"train": 20, "validation": 2, "test": 1}
    back = read_all(write_store(tmp_path / "data.zarr", arrays, Layout(23, 6, 2), sizes))
    for dtype, values in arrays.items():
        assert back[dtype].dtype == values.dtype
        assert np.array_equal(back[dtype], values)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Written:
    return write_store(tmp_path_factory.mktemp("kept") / "data.zarr", make_arrays(100), Layout(100, 12, 4), SPLITS)


@given(start=st.integers(0, 99), length=st.integers(1, 100))
@settings(deadline=None, max_examples=30)
def test_any_range_of_rows_can_be_read(kept: Written, start: int, length: int) -> None:
    rows = slice(start, min(100, start + length))
    blocks = list(stores.read_rows(kept.path, "inputs", rows, kept.digests))
    assert np.array_equal(np.concatenate(blocks), kept.arrays["inputs"][rows])


def test_special_numbers_survive(tmp_path: Path) -> None:
    values = np.array([0.0, -0.0, np.nan, np.inf, -np.inf, 5e-324, 1e308, 0.1])
    layout = Layout(8, 2, 1)
    written = write_store(tmp_path / "data.zarr", {"inputs": values}, layout, {"train": 8})
    assert read_all(written)["inputs"].tobytes() == values.tobytes()


def test_digests_of_what_was_written_are_those_of_what_is_read(written: Written) -> None:
    assert stores.shard_digests(written.path) == written.digests


def test_splits_lie_one_behind_the_other(written: Written) -> None:
    assert stores.split_rows(written.path, "train") == slice(0, 70)
    assert stores.split_rows(written.path, "validation") == slice(70, 85)
    assert stores.split_rows(written.path, "test") == slice(85, 100)
    with pytest.raises(KeyError, match="holdout"):
        stores.split_rows(written.path, "holdout")


def test_variables_are_read_back_without_the_coordinates(written: Written) -> None:
    assert stores.read_variables(written.path) == {
        "inputs": Variable(("inputs_0", "inputs_1"), (4, 5), "float32"),
        "target": Variable((), (), "int64"),
    }


def test_an_existing_store_is_never_opened_for_creation(written: Written) -> None:
    with pytest.raises(FileExistsError):
        stores.create(written.path, {}, written.layout, SPLITS, {})


@pytest.mark.parametrize(
    "block",
    [np.zeros((11, 4, 5), np.float32), np.zeros((13, 4, 5), np.float32), np.zeros((12, 4, 6), np.float32)],
    ids=["too few rows", "too many rows", "wrong width"],
)
def test_a_block_that_is_not_one_shard_is_refused(written: Written, block: np.ndarray) -> None:
    with pytest.raises(StageError, match="shard 0 of inputs must be"):
        stores.write_shard(written.path, 0, {"inputs": block})
    assert np.array_equal(read_all(written)["inputs"], written.arrays["inputs"])


def test_a_block_of_another_dtype_is_refused(written: Written) -> None:
    with pytest.raises(StageError, match=r"float32, not .* float64"):
        stores.write_shard(written.path, 0, {"inputs": np.zeros((12, 4, 5))})


def test_small_arrays_go_through_safetensors(tmp_path: Path) -> None:
    arrays = {"mean": np.float64(3.5).reshape(()), "turned": np.arange(6.0).reshape(2, 3).T}
    stores.save_arrays(tmp_path / "state.safetensors", arrays)
    back = stores.load_arrays(tmp_path / "state.safetensors")
    assert {name: values.shape for name, values in back.items()} == {"mean": (), "turned": (3, 2)}
    assert all(np.array_equal(back[name], arrays[name]) for name in arrays)


# What other tools see


def test_xarray_opens_a_store_without_a_warning(written: Written) -> None:
    with xr.open_zarr(written.path) as dataset:
        assert dict(dataset.sizes) == {"sample": 100, "inputs_0": 4, "inputs_1": 5}
        assert set(dataset.coords) == {"split", "source_row"}
        assert set(dataset.data_vars) == {"inputs", "target"}
        assert np.array_equal(dataset.inputs.to_numpy(), written.arrays["inputs"])
        assert np.array_equal(dataset.target.to_numpy(), written.arrays["target"])
        assert dataset.split.to_numpy().tolist() == [0] * 70 + [1] * 15 + [2] * 15
        assert dataset.split.attrs["flag_meanings"] == "train validation test"
        assert dataset.source_row.to_numpy().tolist() == list(range(99, -1, -1))
        assert dataset.attrs["title"] == "a test"
        assert dataset.attrs["split_sizes"] == SPLITS


def test_zarr_alone_opens_a_store(written: Written) -> None:
    group = zarr.open_group(written.path, mode="r")
    assert np.array_equal(group["inputs"][...], written.arrays["inputs"])


# Damage


def test_no_flipped_bit_is_ever_read_as_data(written: Written) -> None:
    generator = np.random.default_rng(11)
    files = chunk_files(written)
    num_flips, num_detected = 150, 0
    for _ in range(num_flips):
        path = files[generator.integers(len(files))]
        name, shard = path.relative_to(written.path).parts[0], int(path.relative_to(written.path).parts[2])
        content = path.read_bytes()
        damaged = bytearray(content)
        damaged[generator.integers(len(content))] ^= 1 << generator.integers(8)
        path.write_bytes(damaged)
        try:
            back = stores.read_shard(written.path, shard, name, written.digests[stores.shard_key(name, shard)])
        except StageError:
            num_detected += 1
        else:
            assert np.array_equal(back, written.arrays[name][written.layout.rows(shard)])
        path.write_bytes(content)
    assert num_detected > 0.9 * num_flips


def test_no_truncated_file_is_ever_read_as_data(written: Written) -> None:
    for i, path in enumerate(chunk_files(written)[::2]):
        content = path.read_bytes()
        path.write_bytes(content[: len(content) * i // 10])
        with pytest.raises(StageError):
            read_all(written)
        path.write_bytes(content)


def test_shards_that_changed_places_are_noticed(written: Written) -> None:
    first, second = chunk_files(written)[:2]
    one, other = first.read_bytes(), second.read_bytes()
    first.write_bytes(other)
    second.write_bytes(one)
    with pytest.raises(StageError, match="shard 0 of inputs is not what was written"):
        read_all(written)


def test_a_missing_shard_is_an_error_and_not_zeros(written: Written) -> None:
    for path in chunk_files(written)[::3]:
        content = path.read_bytes()
        path.unlink()
        with pytest.raises(StageError, match="is not what was written"):
            read_all(written)
        path.write_bytes(content)


def test_a_shard_of_zeros_is_read_as_zeros(tmp_path: Path) -> None:
    layout = Layout(10, 5, 5)
    written = write_store(tmp_path / "data.zarr", {"inputs": np.zeros((10, 3))}, layout, {"train": 10})
    assert not read_all(written)["inputs"].any()


# Digests

ANY_ARRAY = hnp.arrays(
    dtype=st.sampled_from(["<f4", "<f8", "<i2", "<i8", "|u1", "|b1"]), shape=hnp.array_shapes(min_dims=0, max_dims=3)
)


@given(ANY_ARRAY)
@settings(deadline=None, max_examples=100)
def test_digest_does_not_depend_on_memory_order_or_byte_order(values: np.ndarray) -> None:
    digest = stores.digest_array(values)
    assert stores.digest_array(values.copy(order="F")) == digest
    assert stores.digest_array(values.astype(values.dtype.newbyteorder(">"))) == digest
    assert stores.digest_array(np.repeat(values[None], 3, axis=0)[1]) == digest


@given(ANY_ARRAY)
@settings(deadline=None, max_examples=100)
def test_digest_depends_on_shape_and_dtype(values: np.ndarray) -> None:
    digest = stores.digest_array(values)
    assert stores.digest_array(values[None]) != digest
    assert stores.digest_array(values.view(f"V{values.itemsize}")) != digest
    if values.dtype.itemsize == 8:
        assert stores.digest_array(values.view("<i8" if values.dtype.kind == "f" else "<f8")) != digest


@given(ANY_ARRAY, st.data())
@settings(deadline=None, max_examples=100)
def test_digest_depends_on_every_byte(values: np.ndarray, data: st.DataObject) -> None:
    content = bytearray(values.tobytes())
    position = data.draw(st.integers(0, len(content) - 1))
    content[position] ^= 1
    changed = np.frombuffer(bytes(content), values.dtype).reshape(values.shape)
    assert stores.digest_array(changed) != stores.digest_array(values)
