"""Variables of netCDF files come out as xarray reads them, or are refused."""

import pickle

import numpy as np
import pytest
import xarray as xr

from headrace.datasets.base import SPLIT_KEY
from headrace.errors import InputError
from headrace.formats import gridded
from headrace.sources import xarrays
from headrace.sources.gathering import gather
from mutations import read_whole

ROWS = 90
ENGINES = {"h5netcdf": "NETCDF4", "scipy": "NETCDF3_64BIT"}


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(xarrays, "PART_BYTES", 1500)


@pytest.fixture(params=ENGINES)
def save(request, tmp_path):
    def write(name, dataset, **options):
        path = tmp_path / name
        dataset.to_netcdf(path, engine=request.param, format=ENGINES[request.param], **options)
        return str(path)

    return write


def weather(rows=ROWS, seed=0):
    generator = np.random.default_rng(seed)
    field = generator.normal(size=(2, rows, 3, 4)).astype(np.float32)
    return xr.Dataset(
        {
            "heat": (("time", "y", "x"), field[0], {"units": "K"}),
            "wind": (("time", "y", "x"), field[1], {"units": "m s-1"}),
            "rain": (("time",), generator.normal(size=rows)),
            "both": (("time", "kind"), generator.normal(size=(rows, 2))),
            "sky": (("time",), generator.integers(0, 4, rows).astype(np.int32)),
            "word": (("time",), np.array(["sun", "cloud", "fög"])[generator.integers(0, 3, rows)]),
            "year": (("time",), np.repeat(np.arange(2000, 2000 + rows // 15), 15).astype(np.int32)),
            "turned": (("x", "time"), generator.normal(size=(4, rows))),
        },
        {"time": np.datetime64("2020-01-01", "ns") + np.arange(rows) * np.timedelta64(1, "D")},
    )


def test_inputs_are_what_xarray_reads(tmp_path, save, small_parts):
    data = weather()
    blocks, source, survey = read_whole(tmp_path, kind="netcdf", path=save("a.nc", data), inputs="heat", target="rain")
    np.testing.assert_array_equal(blocks["inputs"], data["heat"])
    np.testing.assert_array_equal(blocks["target"], data["rain"].astype(np.float32))
    assert (survey.info.dims, survey.info.tasks) == (("y", "x"), ("regression", "density"))
    assert len(source.borders) > 2
    rows = np.random.default_rng(1).permutation(ROWS)[:20]
    again = gather(pickle.loads(pickle.dumps(source)), rows, ["inputs"])
    np.testing.assert_array_equal(again["inputs"], data["heat"].to_numpy()[rows])


def test_several_inputs_are_stacked(tmp_path, save, small_parts):
    data = weather()
    path = save("a.nc", data)
    blocks, source, survey = read_whole(tmp_path, kind="netcdf", path=path, inputs=("wind", "heat"), target="both")
    np.testing.assert_array_equal(blocks["inputs"], np.stack([data["wind"], data["heat"]], axis=-1))
    np.testing.assert_array_equal(blocks["target"], data["both"].astype(np.float32))
    assert survey.info.dims == ("y", "x", "channel")
    blocks, source, survey = read_whole(tmp_path, kind="netcdf", path=path, inputs=("rain", "sky"))
    np.testing.assert_array_equal(blocks["inputs"], np.stack([data["rain"], data["sky"]], axis=-1).astype(np.float32))
    assert source.attributes["feature_names"] == ["rain", "sky"]


def test_files_follow_each_other_along_the_samples(tmp_path, save, small_parts):
    data = weather()
    for i in range(3):
        save(f"part{i}.nc", data.isel(time=slice(30 * i, 30 * i + 30)))
    blocks, source, survey = read_whole(
        tmp_path, kind="netcdf", path=str(tmp_path / "part*.nc"), inputs="turned", sample="time", target="word"
    )
    np.testing.assert_array_equal(blocks["inputs"], data["turned"].T.astype(np.float32))
    assert survey.info.class_names == ("cloud", "fög", "sun")
    assert [survey.info.class_names[code] for code in blocks["target"]] == data["word"].to_numpy().tolist()
    assert {30, 60} < set(source.borders.tolist())


def test_packed_numbers_and_fill_values_are_decoded(tmp_path, save, small_parts):
    data = weather()
    heat = data["heat"].to_numpy().copy()
    heat[7, 1, 2] = heat[50, 0, 0] = np.nan
    data["heat"] = data["heat"].dims, heat
    packing = {"heat": {"dtype": "int16", "scale_factor": 0.001, "add_offset": 1.5, "_FillValue": -32767}}
    keys = {"kind": "netcdf", "path": save("a.nc", data, encoding=packing), "inputs": "heat", "target": "sky"}
    with pytest.raises(InputError, match=r"a\.nc: heat: row 7: has a missing value"):
        read_whole(tmp_path, **keys)
    blocks, _, survey = read_whole(tmp_path, missing="drop", **keys)
    kept = np.setdiff1d(np.arange(ROWS), [7, 50])
    with xr.open_dataset(keys["path"]) as opened:
        np.testing.assert_array_equal(blocks["inputs"], opened["heat"].to_numpy()[kept].astype(np.float32))
    np.testing.assert_array_equal(blocks["target"], data["sky"].to_numpy()[kept])
    assert survey.info.num_samples == ROWS - 2


@pytest.mark.parametrize(
    ("by", "column", "wanted"),
    [
        ("time", "time", np.arange(ROWS)),
        ("grouped", "year", np.repeat(np.arange(6), 15)),
    ],
)
def test_a_variable_may_say_how_to_split(tmp_path, save, by, column, wanted):
    split = {"by": by, "column": column}
    _, _, survey = read_whole(tmp_path, kind="netcdf", path=save("a.nc", weather()), inputs="heat", split=split)
    keys = survey.index[SPLIT_KEY]
    np.testing.assert_array_equal(np.argsort(keys, kind="stable"), np.arange(ROWS))
    np.testing.assert_array_equal(np.unique(keys, return_inverse=True)[1], wanted)


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        ({"inputs": "cold"}, r"a\.nc: has no variable 'cold'; allowed: 'both', 'heat', .*'word'"),
        ({"inputs": "heat", "target": "snow"}, r"a\.nc: has no variable 'snow'"),
        ({"inputs": "heat", "sample": "day"}, r"has no dimension 'day'; allowed: time, y, x"),
        ({"inputs": "time"}, r"a\.nc: time: holds times"),
        ({"inputs": "word"}, r"a\.nc: word: .*inputs are of type"),
        ({"inputs": ("heat", "rain")}, r"rain: is 90 rows of .*several inputs must agree"),
        ({"inputs": "heat", "target": "heat", "task": "classification"}, r"heat: row 0: target has \(3, 4\) values"),
        ({"inputs": "heat", "split": {"by": "time", "column": "word"}}, "split.column holds text"),
    ],
)
def test_variables_that_cannot_be_are_refused(tmp_path, save, keys, why):
    with pytest.raises(InputError, match=why) as caught:
        read_whole(tmp_path, kind="netcdf", path=save("a.nc", weather()), **keys)
    assert "\n" not in str(caught.value)


def test_files_that_do_not_fit_together_are_refused(tmp_path, save):
    first, other = save("a.nc", weather()), weather()
    other["heat"].attrs["units"] = "degC"
    with pytest.raises(InputError, match=r"b\.nc: heat: units are \('degC',\), but those in .*a\.nc are \('K',\)"):
        read_whole(tmp_path, kind="netcdf", path=(first, save("b.nc", other)), inputs="heat")
    with pytest.raises(InputError, match=r"b\.nc: heat: shape"):
        read_whole(tmp_path, kind="netcdf", path=(first, save("b.nc", weather().isel(x=slice(2)))), inputs="heat")


def test_characters_and_booleans_are_what_xarray_reads(tmp_path, save):
    data = weather()[["heat", "word"]].assign(wet=("time", np.arange(ROWS) % 3 == 0))
    path = save("a.nc", data, encoding={"word": {"dtype": "S1"}})
    blocks, _, survey = read_whole(tmp_path, kind="netcdf", path=path, inputs="heat", target="word")
    assert [survey.info.class_names[code] for code in blocks["target"]] == data["word"].to_numpy().tolist()
    blocks, _, survey = read_whole(tmp_path, kind="netcdf", path=path, inputs="heat", target="wet")
    assert survey.info.class_names == ("false", "true")
    np.testing.assert_array_equal(blocks["target"], data["wet"])


def test_a_group_is_found(tmp_path):
    weather().to_netcdf(tmp_path / "a.nc", engine="h5netcdf", group="one/two")
    blocks, *_ = read_whole(tmp_path, kind="netcdf", path=str(tmp_path / "a.nc"), inputs="heat", group="one/two")
    np.testing.assert_array_equal(blocks["inputs"], weather()["heat"])
    with pytest.raises(InputError, match=r"a\.nc: "):
        read_whole(tmp_path, kind="netcdf", path=str(tmp_path / "a.nc"), inputs="heat", group="three")


def test_parts_are_whole_chunks(tmp_path, monkeypatch):
    monkeypatch.setattr(xarrays, "PART_BYTES", 600)
    data = weather()
    data.to_netcdf(tmp_path / "a.nc", engine="h5netcdf", encoding={"heat": {"chunksizes": (20, 3, 4), "zlib": True}})
    keys = {"kind": "netcdf", "path": str(tmp_path / "a.nc"), "inputs": "heat"}
    blocks, source, _ = read_whole(tmp_path, **keys)
    assert source.borders.tolist() == [0, 20, 40, 60, 80, 90]
    np.testing.assert_array_equal(blocks["inputs"], data["heat"])
    monkeypatch.setattr(gridded, "MOST_ALIGNED", 900)
    blocks, source, _ = read_whole(tmp_path, **keys)
    assert len(source.borders) > 7
    np.testing.assert_array_equal(blocks["inputs"], data["heat"])


@pytest.mark.parametrize(
    "content", [b"", b"CDF\5" + bytes(40), b"text", b"CDF\1" + bytes(9), b"\x89HDF\r\n\x1a\n" + bytes(90)]
)
def test_what_is_no_netcdf_is_refused(tmp_path, content):
    (tmp_path / "a.nc").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.nc: ") as caught:
        read_whole(tmp_path, kind="netcdf", path=str(tmp_path / "a.nc"), inputs="heat")
    assert "\n" not in str(caught.value)
