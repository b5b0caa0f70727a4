"""Layouts, round trips, and that no damage to a store is ever read as data."""

from pathlib import Path

import anndata
import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import sparse

from headrace.blocks import Block, Ragged
from headrace.errors import StageError
from headrace.stores import groups
from headrace.stores.arrays import digest_array, load_arrays, save_arrays
from headrace.stores.layout import MAX_SHARD_BYTES, MIB, MIN_SHARDS, TARGET_CHUNK_BYTES, Layout, Variable, choose_layout
from headrace.stores.reading import Store
from headrace.stores.writing import write_shard, write_values
from sample_stores import WrittenStore, write_store

ATTRIBUTES = {"title": "a test", "class_names": ["no", "yes"]}
SPLITS = {"train": 70, "validation": 15, "test": 15}
ROW_BYTES = st.one_of(st.integers(1, 10_000), st.integers(10_000, 3 * MAX_SHARD_BYTES))


def make_arrays(num_rows: int) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(3)
    return {
        "inputs": generator.normal(size=(num_rows, 4, 5)).astype(np.float32),
        "target": generator.integers(0, 2, num_rows),
    }


@pytest.fixture
def written(tmp_path: Path) -> WrittenStore:
    return write_store(tmp_path / "data.zarr", make_arrays(100), Layout(100, 12, 4), SPLITS, ATTRIBUTES)


def read_all(written: WrittenStore) -> dict[str, Block]:
    store = written.store
    return {name: store.read(name, slice(0, written.layout.num_rows)) for name in written.blocks}


def chunk_files(written: WrittenStore) -> list[Path]:
    return sorted(path for name in written.blocks for path in (written.path / name / "c").rglob("*") if path.is_file())


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
def kept(tmp_path_factory: pytest.TempPathFactory) -> WrittenStore:
    return write_store(tmp_path_factory.mktemp("kept") / "data.zarr", make_arrays(100), Layout(100, 12, 4), SPLITS)


@given(start=st.integers(0, 99), length=st.integers(1, 100))
@settings(deadline=None, max_examples=30)
def test_any_range_of_rows_can_be_read(kept: WrittenStore, start: int, length: int) -> None:
    rows = slice(start, min(100, start + length))
    assert np.array_equal(kept.store.read("inputs", rows), kept.blocks["inputs"][rows])


def test_special_numbers_survive(tmp_path: Path) -> None:
    values = np.array([0.0, -0.0, np.nan, np.inf, -np.inf, 5e-324, 1e308, 0.1])
    layout = Layout(8, 2, 1)
    written = write_store(tmp_path / "data.zarr", {"inputs": values}, layout, {"train": 8})
    assert read_all(written)["inputs"].tobytes() == values.tobytes()


def test_digests_of_what_was_written_are_those_of_what_is_read(written: WrittenStore) -> None:
    for key, shard, array in written.store.shards():
        assert [array.digest(shard, i) for i in range(array.num_chunks(shard))] == written.chunks[key]["sha256"]


def test_splits_lie_one_behind_the_other(written: WrittenStore) -> None:
    assert groups.split_rows(written.path, "train") == slice(0, 70)
    assert groups.split_rows(written.path, "validation") == slice(70, 85)
    assert groups.split_rows(written.path, "test") == slice(85, 100)
    with pytest.raises(KeyError, match="holdout"):
        groups.split_rows(written.path, "holdout")


def test_variables_are_read_back_without_the_coordinates(written: WrittenStore) -> None:
    assert groups.read_variables(written.path) == {
        "inputs": Variable(("inputs_0", "inputs_1"), (4, 5), "float32"),
        "target": Variable((), (), "int64"),
    }


def test_an_existing_store_is_never_opened_for_creation(written: WrittenStore) -> None:
    with pytest.raises(FileExistsError):
        groups.create(written.path, {}, written.layout, SPLITS, {})


@pytest.mark.parametrize(
    "block",
    [np.zeros((11, 4, 5), np.float32), np.zeros((13, 4, 5), np.float32), np.zeros((12, 4, 6), np.float32)],
    ids=["too few rows", "too many rows", "wrong width"],
)
def test_a_block_that_is_not_one_shard_is_refused(written: WrittenStore, block: np.ndarray) -> None:
    with pytest.raises(StageError, match="shard 0 of inputs must be"):
        write_shard(written.path, 0, {"inputs": block})
    assert np.array_equal(read_all(written)["inputs"], written.blocks["inputs"])


def test_a_block_of_another_dtype_is_refused(written: WrittenStore) -> None:
    with pytest.raises(StageError, match=r"float32, not .* float64"):
        write_shard(written.path, 0, {"inputs": np.zeros((12, 4, 5))})


def test_small_arrays_go_through_safetensors(tmp_path: Path) -> None:
    arrays = {"mean": np.float64(3.5).reshape(()), "turned": np.arange(6.0).reshape(2, 3).T}
    save_arrays(tmp_path / "state.safetensors", arrays)
    back = load_arrays(tmp_path / "state.safetensors")
    assert {name: values.shape for name, values in back.items()} == {"mean": (), "turned": (3, 2)}
    assert all(np.array_equal(back[name], arrays[name]) for name in arrays)


# What other tools see


def test_xarray_opens_a_store_without_a_warning(written: WrittenStore) -> None:
    with xr.open_zarr(written.path) as dataset:
        assert dict(dataset.sizes) == {"sample": 100, "inputs_0": 4, "inputs_1": 5}
        assert set(dataset.coords) == {"split", "source_row"}
        assert set(dataset.data_vars) == {"inputs", "target"}
        assert np.array_equal(dataset.inputs.to_numpy(), written.blocks["inputs"])
        assert np.array_equal(dataset.target.to_numpy(), written.blocks["target"])
        assert dataset.split.to_numpy().tolist() == [0] * 70 + [1] * 15 + [2] * 15
        assert dataset.split.attrs["flag_meanings"] == "train validation test"
        assert dataset.source_row.to_numpy().tolist() == list(range(99, -1, -1))
        assert dataset.attrs["title"] == "a test"
        assert dataset.attrs["split_sizes"] == SPLITS


def test_zarr_alone_opens_a_store(written: WrittenStore) -> None:
    group = zarr.open_group(written.path, mode="r")
    assert np.array_equal(group["inputs"][...], written.blocks["inputs"])


# Damage


def test_no_flipped_bit_is_ever_read_as_data(written: WrittenStore) -> None:
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
            back = written.store.read(name, written.layout.rows(shard))
        except StageError:
            num_detected += 1
        else:
            assert np.array_equal(back, written.blocks[name][written.layout.rows(shard)])
        path.write_bytes(content)
    assert num_detected > 0.9 * num_flips


def test_no_truncated_file_is_ever_read_as_data(written: WrittenStore) -> None:
    for i, path in enumerate(chunk_files(written)[::2]):
        content = path.read_bytes()
        path.write_bytes(content[: len(content) * i // 10])
        with pytest.raises(StageError):
            read_all(written)
        path.write_bytes(content)


def test_shards_that_changed_places_are_noticed(written: WrittenStore) -> None:
    first, second = chunk_files(written)[:2]
    one, other = first.read_bytes(), second.read_bytes()
    first.write_bytes(other)
    second.write_bytes(one)
    with pytest.raises(StageError, match=r"inputs/c/0/0/0: chunk 0 is not what was written"):
        read_all(written)


def test_a_missing_shard_is_an_error_and_not_zeros(written: WrittenStore) -> None:
    for path in chunk_files(written)[::3]:
        content = path.read_bytes()
        path.unlink()
        with pytest.raises(StageError, match="is missing"):
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
    digest = digest_array(values)
    assert digest_array(values.copy(order="F")) == digest
    assert digest_array(values.astype(values.dtype.newbyteorder(">"))) == digest
    assert digest_array(np.repeat(values[None], 3, axis=0)[1]) == digest


@given(ANY_ARRAY)
@settings(deadline=None, max_examples=100)
def test_digest_depends_on_shape_and_dtype(values: np.ndarray) -> None:
    digest = digest_array(values)
    assert digest_array(values[None]) != digest
    assert digest_array(values.view(f"V{values.itemsize}")) != digest
    if values.dtype.itemsize == 8:
        assert digest_array(values.view("<i8" if values.dtype.kind == "f" else "<f8")) != digest


@given(ANY_ARRAY, st.data())
@settings(deadline=None, max_examples=100)
def test_digest_depends_on_every_byte(values: np.ndarray, data: st.DataObject) -> None:
    content = bytearray(values.tobytes())
    position = data.draw(st.integers(0, len(content) - 1))
    content[position] ^= 1
    changed = np.frombuffer(bytes(content), values.dtype).reshape(values.shape)
    assert digest_array(changed) != digest_array(values)


# Ragged and sparse


def make_ragged(lengths: list[int], width: int | None = None) -> Ragged:
    generator = np.random.default_rng(5)
    shape = (sum(lengths),) if width is None else (sum(lengths), width)
    return Ragged(generator.integers(0, 255, shape).astype(np.uint8), np.array(lengths, np.int64))


@given(lengths=st.lists(st.integers(0, 40), min_size=1, max_size=60), width=st.sampled_from([None, 3]), data=st.data())
@settings(deadline=None, max_examples=40)
def test_ragged_rows_come_back(tmp_path_factory, lengths, width, data) -> None:
    ragged = make_ragged(lengths, width)
    path = tmp_path_factory.mktemp("ragged") / "data.zarr"
    store = write_store(path, {"inputs": ragged}, Layout(len(lengths), 7, 7), {"train": len(lengths)}).store
    start = data.draw(st.integers(0, len(lengths) - 1))
    stop = data.draw(st.integers(start + 1, len(lengths)))
    back = store.read("inputs", slice(start, stop))
    assert back.lengths.tolist() == lengths[start:stop]
    assert np.array_equal(back.values, ragged.values[sum(lengths[:start]) : sum(lengths[:stop])])


def test_xarray_opens_a_ragged_store(tmp_path: Path) -> None:
    ragged = make_ragged([3, 0, 5, 2])
    write_store(tmp_path / "data.zarr", {"inputs": ragged}, Layout(4, 2, 2), {"train": 4})
    with xr.open_zarr(tmp_path / "data.zarr") as dataset:
        assert dict(dataset.sizes) == {"sample": 4, "sample_edge": 5, "inputs_step": 10}
        offsets = dataset.inputs_offsets.to_numpy()
        assert np.array_equal(dataset.inputs.to_numpy()[offsets[2] : offsets[3]], ragged.values[3:8])


def test_values_that_are_not_one_shard_are_refused(tmp_path: Path) -> None:
    written = write_store(tmp_path / "data.zarr", {"inputs": make_ragged([30] * 20)}, Layout(20, 5, 5), {"train": 20})
    with pytest.raises(StageError, match="shard 0 of inputs must be"):
        write_values(written.path, "inputs", 0, np.zeros(3, np.uint8))


@given(num_rows=st.integers(1, 60), num_columns=st.integers(1, 50), density=st.floats(0, 0.6), data=st.data())
@settings(deadline=None, max_examples=40)
def test_sparse_rows_come_back(tmp_path_factory, num_rows, num_columns, density, data) -> None:
    matrix = sparse.random_array((num_rows, num_columns), density=density, rng=3, format="csr", dtype=np.float32)
    path = tmp_path_factory.mktemp("sparse") / "data.zarr"
    store = write_store(path, {"inputs": matrix}, Layout(num_rows, 7, 7), {"train": num_rows}).store
    start = data.draw(st.integers(0, num_rows - 1))
    stop = data.draw(st.integers(start + 1, num_rows))
    back = store.read("inputs", slice(start, stop))
    assert back.shape == (stop - start, num_columns)
    assert (back != matrix[start:stop]).nnz == 0


def test_anndata_reads_every_shard_of_a_sparse_variable(tmp_path: Path) -> None:
    matrix = sparse.random_array((50, 30), density=0.1, rng=3, format="csr", dtype=np.float32)
    matrix.data[7] = 0  # an explicit zero is stored, and stays
    write_store(tmp_path / "data.zarr", {"inputs": matrix}, Layout(50, 20, 20), {"train": 50})
    group = zarr.open_group(tmp_path / "data.zarr", mode="r")
    shards = [anndata.io.read_elem(group[f"inputs/{shard}"]) for shard in range(3)]
    back = sparse.vstack(shards, format="csr")
    assert back.nnz == matrix.nnz
    assert (back != matrix).nnz == 0


def test_columns_in_any_order_leave_the_same_bytes(tmp_path: Path) -> None:
    matrix = sparse.random_array((20, 30), density=0.3, rng=3, format="csr", dtype=np.float32)
    shuffled = sparse.csr_array((matrix.data.copy(), matrix.indices.copy(), matrix.indptr.copy()), shape=matrix.shape)
    row = slice(matrix.indptr[4], matrix.indptr[5])
    shuffled.indices[row], shuffled.data[row] = matrix.indices[row][::-1], matrix.data[row][::-1]
    shuffled.has_sorted_indices = False
    one, two = (
        write_store(tmp_path / name, {"inputs": block}, Layout(20, 20, 20), {"train": 20})
        for name, block in (("one.zarr", matrix), ("two.zarr", shuffled))
    )
    assert one.chunks == two.chunks


# Packing


@pytest.mark.parametrize("compression", ["lz4", "zstd", "none"])
@pytest.mark.parametrize("dtype", ["float32", "uint8", "int64"])
def test_zarr_reads_every_packing(tmp_path: Path, compression: str, dtype: str) -> None:
    values = np.random.default_rng(0).integers(0, 200, (50, 17)).astype(dtype)
    written = write_store(
        tmp_path / "data.zarr", {"inputs": values}, Layout(50, 20, 5), {"train": 50}, compression=compression
    )
    assert np.array_equal(zarr.open_group(written.path, mode="r")["inputs"][...], values)
    assert np.array_equal(written.store.read("inputs", slice(0, 50)), values)


def test_whole_numbers_with_a_scale_are_fractions_to_xarray(tmp_path: Path) -> None:
    values = np.arange(0, 250, 5, dtype=np.uint8).reshape(10, 5)
    write_store(tmp_path / "data.zarr", {"inputs": values}, Layout(10, 5, 5), {"train": 10}, scales={"inputs": 1 / 255})
    with xr.open_zarr(tmp_path / "data.zarr") as dataset:
        assert np.allclose(dataset.inputs.to_numpy(), values / 255, atol=1e-6)


def test_a_chunk_that_claims_more_than_its_place_is_refused(tmp_path: Path) -> None:
    small, large = np.zeros((4, 3), np.float32), np.zeros((400, 3), np.float32)
    one = write_store(tmp_path / "one.zarr", {"inputs": small}, Layout(4, 4, 4), {"train": 4})
    two = write_store(tmp_path / "two.zarr", {"inputs": large}, Layout(400, 400, 400), {"train": 400})
    chunk_files(one)[0].write_bytes(chunk_files(two)[0].read_bytes())
    with pytest.raises(StageError, match=r"chunk 0 is damaged|index of chunks"):
        Store(one.path).read("inputs", slice(0, 4))
