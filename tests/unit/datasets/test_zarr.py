"""Arrays of Zarr stores come out as zarr and xarray read them, or are refused."""

import json
import pickle
import shutil

import numcodecs
import numpy as np
import pytest
import xarray as xr
import zarr

from headrace.datasets.base import SPLIT_KEY
from headrace.errors import InputError
from headrace.registry import load_kind
from headrace.sources import xarrays
from headrace.sources.gathering import gather
from headrace.sources.library import Library
from mutations import read_whole

ROWS = 90


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(xarrays, "PART_BYTES", 1000)


def weather():
    generator = np.random.default_rng(0)
    heat = generator.normal(size=(ROWS, 3, 4))
    heat[11, 1, 1] = np.nan
    return xr.Dataset(
        {
            "heat": (("time", "y", "x"), heat),
            "wind": (("time", "y", "x"), generator.normal(size=(ROWS, 3, 4)).astype(np.float32)),
            "photo": (("time", "y", "x"), generator.integers(0, 256, (ROWS, 3, 4)).astype(np.uint8)),
            "turned": (("x", "time"), generator.normal(size=(4, ROWS))),
            "rain": (("time",), generator.normal(size=ROWS)),
            "word": (("time",), np.array(["sun", "cloud", "fög"], object)[generator.integers(0, 3, ROWS)]),
        },
        {"time": np.datetime64("2020-01-01", "ns") + np.arange(ROWS)[::-1] * np.timedelta64(1, "D")},
    )


@pytest.fixture(params=[2, 3])
def store(request, tmp_path):
    packing = {"heat": {"dtype": "int16", "scale_factor": 0.001, "_FillValue": -32767}, "wind": {"chunks": (20, 3, 4)}}
    path = tmp_path / "weather.zarr"
    # Zarr 3 has no stable way to write text.
    data = weather() if request.param == 2 else weather().drop_vars("word")
    data.to_zarr(path, zarr_format=request.param, encoding=packing, consolidated=request.param == 2)
    return path


def test_inputs_are_what_xarray_reads(tmp_path, store, small_parts):
    keys = {"kind": "zarr", "path": str(store), "target": "rain"}
    blocks, source, survey = read_whole(tmp_path, inputs="wind", **keys)
    np.testing.assert_array_equal(blocks["inputs"], weather()["wind"])
    np.testing.assert_array_equal(blocks["target"], weather()["rain"].astype(np.float32))
    assert survey.info.dims == ("y", "x")
    assert source.borders.tolist() == [0, 20, 40, 60, 80, 90]
    rows = np.random.default_rng(1).permutation(ROWS)[:20]
    again = gather(pickle.loads(pickle.dumps(source)), rows, ["inputs"])
    np.testing.assert_array_equal(again["inputs"], weather()["wind"].to_numpy()[rows])
    with pytest.raises(InputError, match=r"weather\.zarr: heat: row 11: has a missing value"):
        read_whole(tmp_path, inputs="heat", **keys)
    blocks, *_ = read_whole(tmp_path, inputs=("heat", "wind"), missing="drop", **keys)
    with xr.open_zarr(store, consolidated=False) as opened:
        wanted = np.stack([opened["heat"], opened["wind"]], axis=-1).astype(np.float32)
    np.testing.assert_array_equal(blocks["inputs"], np.delete(wanted, 11, axis=0))


def test_bytes_are_images_and_any_dimension_may_be_the_samples(tmp_path, store, small_parts):
    blocks, _, survey = read_whole(tmp_path, kind="zarr", path=str(store), inputs="photo")
    np.testing.assert_array_equal(blocks["inputs"], weather()["photo"])
    assert survey.info.dtype == "uint8"
    split = {"by": "time", "column": "time"}
    blocks, _, survey = read_whole(tmp_path, kind="zarr", path=str(store), inputs="turned", sample="time", split=split)
    np.testing.assert_array_equal(blocks["inputs"], weather()["turned"].T.astype(np.float32))
    np.testing.assert_array_equal(np.argsort(survey.index[SPLIT_KEY]), np.arange(ROWS)[::-1])


def test_text_is_the_name_of_a_class(tmp_path, small_parts):
    path = tmp_path / "a.zarr"
    weather().to_zarr(path, zarr_format=2)
    blocks, _, survey = read_whole(tmp_path, kind="zarr", path=str(path), inputs="wind", target="word")
    assert survey.info.class_names == ("cloud", "fög", "sun")
    assert [survey.info.class_names[code] for code in blocks["target"]] == weather()["word"].to_numpy().tolist()


@pytest.mark.parametrize("form", [2, 3])
def test_arrays_without_names_for_their_dimensions_are_read(tmp_path, small_parts, form):
    values = np.random.default_rng(0).normal(size=(ROWS, 5))
    group = zarr.create_group(tmp_path / "a.zarr", zarr_format=form)
    inner = group.create_group("one")
    for name, data in (("x", values), ("y", np.arange(ROWS) % 4)):
        array = inner.create_array(name, shape=data.shape, dtype=data.dtype, chunks=(13, *data.shape[1:]))
        array[:] = data
    keys = {"kind": "zarr", "path": str(tmp_path / "a.zarr"), "inputs": "x", "target": "y", "group": "one"}
    blocks, _, survey = read_whole(tmp_path, **keys)
    np.testing.assert_array_equal(blocks["inputs"], values.astype(np.float32))
    np.testing.assert_array_equal(blocks["target"], np.arange(ROWS) % 4)
    assert survey.info.dims == ("feature",)
    with pytest.raises(InputError, match=r"a\.zarr: has no variable 'z'; allowed: 'x', 'y'"):
        read_whole(tmp_path, **{**keys, "inputs": "z"})
    with pytest.raises(InputError, match=r"a\.zarr: "):
        read_whole(tmp_path, **{**keys, "group": "two"})


def test_stores_of_one_array_follow_each_other(tmp_path, small_parts):
    values = np.random.default_rng(0).normal(size=(ROWS, 5))
    for i in range(3):
        array = zarr.create_array(tmp_path / str(i) / "x.zarr", shape=(30, 5), dtype="f8", chunks=(10, 5))
        array[:] = values[30 * i : 30 * i + 30]
    path = tuple(str(tmp_path / str(i) / "x.zarr") for i in range(3))
    blocks, *_ = read_whole(tmp_path, kind="zarr", path=path, inputs="x")
    np.testing.assert_array_equal(blocks["inputs"], values.astype(np.float32))
    blocks, *_ = read_whole(tmp_path, kind="zarr", path=str(tmp_path / "*" / "x.zarr"), inputs="x")
    np.testing.assert_array_equal(blocks["inputs"], values.astype(np.float32))


def test_a_chunk_that_changes_is_noticed(tmp_path, store):
    spec = load_kind("datasets", "zarr").model_validate({"kind": "zarr", "path": str(store), "inputs": "wind"})
    before = Library(tmp_path).look_up(spec).sha256
    zarr.open_group(store, mode="a")["wind"][5, 1, 1] = 7
    assert Library(tmp_path).look_up(spec).sha256 != before


def test_a_store_inside_a_store_is_part_of_it(tmp_path):
    group = zarr.create_group(tmp_path / "a.zarr")
    for place in ("b.zarr", "b.zarr/c"):
        array = group.create_group(place).create_array("x", shape=(9, 2), dtype="f4", chunks=(9, 2))
        array[:] = len(place)
    blocks, *_ = read_whole(tmp_path, kind="zarr", path=str(tmp_path / "a.zarr"), inputs="x", group="b.zarr/c")
    assert (blocks["inputs"] == 8).all()


def test_pickled_objects_are_refused(tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    group = zarr.create_group(tmp_path / "a.zarr", zarr_format=2)
    array = group.create_array("x", shape=(1,), dtype="i1", chunks=(1,))
    metadata = json.loads((tmp_path / "a.zarr" / "x" / ".zarray").read_text())
    metadata |= {"dtype": "|O", "filters": [{"id": "pickle", "protocol": 5}], "compressor": None, "fill_value": None}
    (tmp_path / "a.zarr" / "x" / ".zarray").write_text(json.dumps(metadata))
    values = np.empty(1, object)
    values[0] = Trap()
    (tmp_path / "a.zarr" / "x" / "0").write_bytes(numcodecs.Pickle().encode(values))
    assert array.shape == (1,)
    with pytest.raises(InputError, match=r"\.zarray: holds pickled Python objects"):
        read_whole(tmp_path, kind="zarr", path=str(tmp_path / "a.zarr"), inputs="x")
    assert not (tmp_path / "sprung").exists()


def test_claims_beyond_what_is_there_are_refused(tmp_path):
    zarr.create_array(tmp_path / "x.zarr", shape=(10**9, 1000), dtype="f8", chunks=(100, 100))
    with pytest.raises(InputError, match=r"x\.zarr: x: claims 8000000000000 bytes"):
        read_whole(tmp_path, kind="zarr", path=str(tmp_path / "x.zarr"), inputs="x")
    zarr.create_array(tmp_path / "y.zarr", shape=(9, 10**6), dtype="f4", chunks=(10**6, 10**6))
    with pytest.raises(InputError, match=r"y\.zarr: "):
        read_whole(tmp_path, kind="zarr", path=str(tmp_path / "y.zarr"), inputs="y")


MARKS = ("zarr.json", ".zgroup", ".zarray")


def marks_of(folder):
    return [path for path in folder.rglob("*") if path.name in MARKS]


def chunks_of(folder):
    return [path for path in folder.rglob("*") if path.is_file() and path.name[0].isdigit()]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda path: shutil.rmtree(path / "wind"), "has no variable 'wind'"),
        (lambda path: [mark.unlink() for mark in marks_of(path)], "in no Zarr store"),
        (lambda path: [mark.write_text("{") for mark in marks_of(path)], "is no JSON"),
        (lambda path: [mark.write_text("{}") for mark in marks_of(path / "wind")], "cannot be read|has no variable"),
        (lambda path: [chunk.write_bytes(b"broken") for chunk in chunks_of(path / "wind")], "cannot be read"),
    ],
)
def test_damaged_stores_are_refused(tmp_path, store, change, why):
    change(store)
    with pytest.raises(InputError, match=why) as caught:
        read_whole(tmp_path, kind="zarr", path=str(store), inputs="wind")
    assert "\n" not in str(caught.value)
    assert "weather.zarr" in str(caught.value)
