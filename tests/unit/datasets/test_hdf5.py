"""Datasets of HDF5 files come out as h5py reads them, or are refused."""

import h5py
import numpy as np
import pytest

from headrace.errors import InputError
from headrace.formats import gridded
from headrace.sources import xarrays
from mutations import read_whole

ROWS = 100


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(xarrays, "PART_BYTES", 600)


@pytest.fixture
def path(tmp_path):
    generator = np.random.default_rng(0)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = generator.normal(size=(ROWS, 7))
        file.create_dataset("packed", data=generator.normal(size=(ROWS, 3, 3)), chunks=(30, 2, 2), compression="gzip")
        file["images"] = generator.integers(0, 256, (ROWS, 4, 5, 3)).astype(np.uint8)
        file["square"] = generator.normal(size=(ROWS, ROWS)).astype(">f4")
        file["label"] = generator.integers(0, 3, ROWS)
        file["flag"] = generator.integers(0, 2, ROWS).astype(bool)
        words = np.array(["b", "é", "ccc"])[generator.integers(0, 3, ROWS)]
        file["word"] = words.astype(h5py.string_dtype())
        file["fixed"] = np.char.encode(words, "utf-8")
        file["number"] = generator.normal(size=(ROWS, 2)).astype(np.float16)
        file["pair"] = np.zeros(ROWS, [("a", "f4"), ("b", "i4")])
        file["complex"] = np.zeros((ROWS, 2), complex)
        file["single"] = 3.0
        file["short"] = np.zeros(5)
        file["one/two/x"] = np.arange(ROWS * 2.0).reshape(ROWS, 2)
        file["huge"] = file.create_dataset("claimed", (10**9, 1000), "f8", chunks=(100, 100))
        file.create_dataset("wide", (ROWS, 10**7), "f8", chunks=(20, 10**7))
        file["link"] = h5py.ExternalLink("b.h5", "x")
        file["soft"] = h5py.SoftLink("/nowhere")
        layout = h5py.VirtualLayout((ROWS, 7), "f8")
        layout[:] = h5py.VirtualSource("b.h5", "x", (ROWS, 7))
        file.create_virtual_dataset("virtual", layout)
        file.create_dataset("outside", (ROWS,), "f8", external=[("c.raw", 0, ROWS * 8)])
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["x"] = np.zeros((ROWS, 7))
    (tmp_path / "c.raw").write_bytes(bytes(ROWS * 8))
    return str(tmp_path / "a.h5")


@pytest.mark.parametrize("name", ["x", "packed", "images", "square", "label", "flag", "number"])
def test_inputs_are_what_h5py_reads(tmp_path, small_parts, path, name):
    blocks, source, survey = read_whole(tmp_path, kind="hdf5", path=path, inputs=name)
    with h5py.File(path) as file:
        wanted = file[name][:]
    images = name == "images"
    assert blocks["inputs"].dtype == (np.uint8 if images else np.float32)
    np.testing.assert_array_equal(blocks["inputs"].reshape(wanted.shape), wanted.astype(blocks["inputs"].dtype))
    assert source.variables["inputs"].scale == (1 / 255 if images else None)
    if images:
        assert survey.info.dims == ("height", "width", "channel")
    if name == "packed":
        assert source.borders.tolist() == [0, 30, 60, 90, 100]


@pytest.mark.parametrize("name", ["label", "flag", "word", "fixed"])
def test_targets_are_classes(tmp_path, small_parts, path, name):
    blocks, _, survey = read_whole(tmp_path, kind="hdf5", path=path, inputs="images", target=name)
    with h5py.File(path) as file:
        values = file[name][:].tolist()
    spelled = [value.decode() if isinstance(value, bytes) else str(value).lower() for value in values]
    assert [survey.info.class_names[code] for code in blocks["target"]] == spelled
    assert survey.info.class_names == tuple(sorted(set(spelled)))


def test_targets_are_numbers_and_groups_are_found(tmp_path, small_parts, path):
    blocks, *_ = read_whole(tmp_path, kind="hdf5", path=path, inputs="square", target="number")
    with h5py.File(path) as file:
        np.testing.assert_array_equal(blocks["target"], file["number"][:].astype(np.float32))
    blocks, *_ = read_whole(tmp_path, kind="hdf5", path=path, inputs="x", group="one/two")
    np.testing.assert_array_equal(blocks["inputs"], np.arange(ROWS * 2.0).reshape(ROWS, 2))


def test_files_follow_each_other(tmp_path, small_parts, path):
    blocks, *_ = read_whole(tmp_path, kind="hdf5", path=(str(tmp_path / "b.h5"), path), inputs="x")
    with h5py.File(path) as file:
        np.testing.assert_array_equal(blocks["inputs"], np.concatenate([np.zeros((ROWS, 7)), file["x"]]).astype("f4"))


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        ({"inputs": "y"}, r"has no variable 'y'; allowed: .*'images'"),
        ({"inputs": "x", "target": "short"}, "target has 5 rows; inputs have 100"),
        ({"inputs": "pair"}, "pair: row 0: inputs are of type"),
        ({"inputs": "complex"}, "inputs are of type complex128"),
        ({"inputs": "word"}, "inputs are of type"),
        ({"inputs": "single"}, "single: holds a single value"),
        ({"inputs": "x", "target": "single"}, "single: holds a single value"),
        ({"inputs": "huge"}, "huge: claims 8000000000000 bytes in .*, which no data do"),
        ({"inputs": "wide"}, "claims|chunks above"),
        ({"inputs": "link"}, "link: its numbers lie in another file"),
        ({"inputs": "virtual"}, "virtual: its numbers lie in another file"),
        ({"inputs": "outside"}, "outside: its numbers lie in another file"),
        ({"inputs": "soft"}, r"a\.h5: "),
        ({"inputs": "x", "group": "three"}, r"a\.h5: cannot be read"),
        ({"inputs": ("x", "number")}, "several inputs must agree"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path, path, keys, why):
    with pytest.raises(InputError, match=why) as caught:
        read_whole(tmp_path, kind="hdf5", path=path, **keys)
    assert "\n" not in str(caught.value)


def test_chunks_beyond_any_worker_are_refused(tmp_path, path, monkeypatch):
    monkeypatch.setattr(gridded, "MOST_CHUNK", 900)
    with pytest.raises(InputError, match=r"packed: is stored in chunks above"):
        read_whole(tmp_path, kind="hdf5", path=path, inputs="packed")


@pytest.mark.parametrize("content", [b"", b"text", b"\x89HDF\r\n\x1a\n" + bytes(200)])
def test_what_is_no_hdf5_is_refused(tmp_path, content):
    (tmp_path / "a.h5").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.h5: ") as caught:
        read_whole(tmp_path, kind="hdf5", path=str(tmp_path / "a.h5"), inputs="x")
    assert "\n" not in str(caught.value)


def test_a_file_may_begin_with_something_else(tmp_path):
    with h5py.File(tmp_path / "a.mat", "w", userblock_size=512) as file:
        file["x"] = np.eye(6)
    content = (tmp_path / "a.mat").read_bytes()
    (tmp_path / "a.mat").write_bytes(b"MATLAB 7.3 MAT-file".ljust(512) + content[512:])
    blocks, *_ = read_whole(tmp_path, kind="hdf5", path=str(tmp_path / "a.mat"), inputs="x")
    np.testing.assert_array_equal(blocks["inputs"], np.eye(6))
