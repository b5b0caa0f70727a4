"""Groups of samples are the same whichever format their names lie in."""

import json
import string

import h5py
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.datasets import dump_svmlight_file, load_diabetes

from headrace.datasets.base import GROUP, INPUTS
from headrace.errors import InputError
from headrace.formats import lines, parquet_tables
from headrace.registry import load_kind
from headrace.sources import xarrays
from headrace.sources.gathering import gather
from mutations import read_whole

ROWS = 90
GENERATOR = np.random.default_rng(0)
X = GENERATOR.normal(size=(ROWS, 2))
Y = np.arange(ROWS) % 2
REGIONS = np.array(["south", "fär north", "east"])[GENERATOR.integers(0, 3, ROWS)]
SITES = GENERATOR.integers(8, 12, ROWS)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    for module in (xarrays, lines, parquet_tables):
        monkeypatch.setattr(module, "PART_BYTES", 500)


def save_npz(folder, groups):
    np.savez(folder / "a.npz", x=X, y=Y, g=groups)
    return {"kind": "npz", "path": str(folder / "a.npz"), "inputs": "x", "target": "y", "groups": "g"}


def save_npy(folder, groups):
    keys = {}
    for key, name, values in (("path", "x", X), ("target", "y", Y), ("groups", "g", groups)):
        np.save(folder / f"{name}.npy", values)
        keys[key] = str(folder / f"{name}.npy")
    return {"kind": "npy", **keys}


def save_hdf5(folder, groups):
    with h5py.File(folder / "a.h5", "w") as file:
        file.update({"x": X, "y": Y, "g": groups.astype(object) if groups.dtype.kind == "U" else groups})
    return {"kind": "hdf5", "path": str(folder / "a.h5"), "inputs": "x", "target": "y", "groups": "g"}


def dataset_of(groups):
    groups = groups.astype(object) if groups.dtype.kind == "U" else groups.astype(np.int32)
    return xr.Dataset({"x": (("s", "f"), X), "y": (("s",), Y.astype(np.int32)), "g": (("s",), groups)})


def save_netcdf(folder, groups, engine="h5netcdf", form="NETCDF4"):
    dataset_of(groups).to_netcdf(folder / "a.nc", engine=engine, format=form)
    return {"kind": "netcdf", "path": str(folder / "a.nc"), "inputs": "x", "target": "y", "groups": "g"}


def save_classic(folder, groups):
    return save_netcdf(folder, groups, "scipy", "NETCDF3_64BIT")


def save_zarr(folder, groups):
    dataset_of(groups).to_zarr(folder / "a.zarr", zarr_format=2, encoding={"x": {"chunks": (20, 2)}})
    return {"kind": "zarr", "path": str(folder / "a.zarr"), "inputs": "x", "target": "y", "groups": "g"}


def save_csv(folder, groups):
    pd.DataFrame({"a": X[:, 0], "b": X[:, 1], "y": Y, "g": groups}).to_csv(folder / "a.csv", index=False)
    return {"kind": "csv", "path": str(folder / "a.csv"), "target": "y", "groups": "g"}


def save_parquet(folder, groups):
    pd.DataFrame({"a": X[:, 0], "b": X[:, 1], "y": Y, "g": groups}).to_parquet(folder / "a.parquet")
    return {"kind": "parquet", "path": str(folder / "a.parquet"), "target": "y", "groups": "g"}


def save_texts(folder, groups):
    rows = [{"text": f"{a:.3f}", "y": y, "g": g} for a, y, g in zip(X[:, 0], Y.tolist(), groups.tolist(), strict=True)]
    (folder / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    keys = {"kind": "text_lines", "format": "json", "target": "y", "groups": "g"}
    return {**keys, "path": str(folder / "a.jsonl")}


def save_svmlight(folder, groups):
    dump_svmlight_file(X, Y, str(folder / "a.svm"), query_id=groups)
    return {"kind": "svmlight", "path": str(folder / "a.svm"), "groups": "qid"}


WRITERS = {
    "npz": save_npz,
    "npy": save_npy,
    "hdf5": save_hdf5,
    "netcdf": save_netcdf,
    "netcdf 3": save_classic,
    "zarr": save_zarr,
    "csv": save_csv,
    "parquet": save_parquet,
    "text_lines": save_texts,
    "svmlight": save_svmlight,
}
ARRAYS = ("npz", "npy", "hdf5", "netcdf", "netcdf 3", "zarr")


def read(folder, keys):
    """The names in the store, and those of the groups of all rows."""
    blocks, source, survey = read_whole(folder, **keys)
    names = source.attributes["group_names"]
    assert names == survey.attributes["group_names"]
    assert blocks[GROUP].dtype.name == source.variables[GROUP].dtype == "int16"
    found = [names[code] for code in blocks[GROUP]]
    assert len(source.borders) > 2
    some = np.array([len(found) - 1, 3, 9])
    np.testing.assert_array_equal(gather(source, some, [GROUP, INPUTS])[GROUP], blocks[GROUP][some])
    return names, found


@pytest.mark.parametrize("values", [REGIONS, SITES], ids=["names", "numbers"])
@pytest.mark.parametrize("kind", WRITERS)
def test_every_row_keeps_its_group(tmp_path, kind, values):
    if kind == "svmlight" and values is REGIONS:
        pytest.skip("a qid is a number")
    names, found = read(tmp_path, WRITERS[kind](tmp_path, values))
    assert names == [str(value) for value in np.unique(values).tolist()]
    assert found == [str(value) for value in values.tolist()]


@given(
    st.lists(st.text(string.ascii_letters + "é-", min_size=1, max_size=3), min_size=2, max_size=9, unique=True)
    | st.lists(st.integers(-(2**62), 2**62), min_size=2, max_size=9, unique=True)
    | st.lists(st.integers(-(2**20), 2**20).map(lambda value: value / 8), min_size=2, max_size=9, unique=True),
    st.integers(0, 2**32),
)
@settings(max_examples=40, deadline=None)
def test_groups_of_arrays_are_those_of_a_table(tmp_path_factory, values, seed):
    words = {"NA", "NaN", "nan", "null"}
    values = [f"{value}." if value in words else value for value in values]
    groups = np.array(values)[np.random.default_rng(seed).permutation(ROWS) % len(values)]
    folder = tmp_path_factory.mktemp("groups")
    of_array = read(folder, save_npz(folder, groups))
    if groups.dtype.kind != "f":
        assert read(folder, save_csv(folder, groups)) == of_array
    assert read(folder, save_parquet(folder, groups)) == of_array
    assert len(of_array[0]) == len(values)


@pytest.mark.parametrize(
    ("values", "names"),
    [
        (np.tile([True, False, True], 30), ["false", "true"]),
        (np.tile(np.array([0.1, 2, -3], np.float32), 30), ["-3", "0.1", "2"]),
        (np.tile([16777217.0, 16777216.0, 1e30], 30), ["16777216", "16777217", "1e+30"]),
        (np.tile(np.array([b"m", b"f", b"f"]), 30), ["f", "m"]),
        (np.tile([[1], [2], [2]], (30, 1)), ["1", "2"]),
    ],
)
def test_whatever_tells_groups_apart_has_a_name(tmp_path, values, names):
    found, of_rows = read(tmp_path, save_npz(tmp_path, values))
    assert found == names
    assert [of_rows.index(name) for name in names] == np.unique(values, return_index=True)[1].tolist()


def test_large_numbers_in_a_table_stay_apart(tmp_path):
    values = np.tile([1234567.0, 1234568.0, 0.5], 30)
    assert read(tmp_path, save_parquet(tmp_path, values))[0] == ["0.5", "1234567", "1234568"]


@pytest.mark.parametrize("kind", ARRAYS)
def test_rows_without_a_group_are_refused_or_left_out(tmp_path, kind):
    regions = REGIONS.copy()
    regions[7] = ""
    keys = WRITERS[kind](tmp_path, regions)
    with pytest.raises(InputError, match=r"row 7: has a missing value; allowed with missing: drop") as caught:
        read_whole(tmp_path, **keys)
    assert "\n" not in str(caught.value)
    blocks, source, _ = read_whole(tmp_path, **keys, missing="drop")
    assert [source.attributes["group_names"][code] for code in blocks[GROUP]] == np.delete(REGIONS, 7).tolist()
    np.testing.assert_array_equal(blocks[INPUTS], np.delete(X, 7, axis=0).astype(np.float32))


@pytest.mark.parametrize("kind", [*ARRAYS, "text_lines", "svmlight"])
@pytest.mark.parametrize(
    ("values", "why"),
    [
        (np.arange(ROWS), r"^groups: .*(row|line) \d+.*: more than 50 different names$"),
        (np.full(ROWS, 3), r"^groups: .*[^0-9]: every row is of the same group$"),
    ],
)
def test_too_many_groups_and_one_alone_are_refused(tmp_path, kind, values, why):
    with pytest.raises(InputError, match=why) as caught:
        read_whole(tmp_path, **WRITERS[kind](tmp_path, values))
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    ("values", "why"),
    [
        (SITES[:-1], r"a\.npz: g: row 0: groups has 89 rows; inputs have 90"),
        (np.stack([SITES, SITES], axis=1), r"a\.npz: g: row 0: groups has \(2,\) values a row; allowed: one"),
        (np.where(Y, np.nan, SITES), r"a\.npz: g: row 1: has a missing value"),
    ],
)
def test_arrays_that_cannot_be_groups_are_refused(tmp_path, values, why):
    with pytest.raises(InputError, match=why):
        read_whole(tmp_path, **save_npz(tmp_path, values))


def test_numbers_of_two_parts_are_no_groups(tmp_path):
    with pytest.raises(InputError, match=r"a\.h5: g: row 0: groups are of type complex128; allowed: whole .* or text"):
        read_whole(tmp_path, **save_hdf5(tmp_path, SITES.astype(complex)))


@pytest.mark.parametrize("kind", ["npz", "npy", "hdf5", "netcdf", "zarr", "text_lines"])
def test_groups_need_a_target_beside_them(tmp_path, kind):
    keys = WRITERS[kind](tmp_path, SITES)
    for target in (None, keys["groups"]):
        with pytest.raises(ValueError, match=r"groups: .*allowed: an? (array|file|variable|key) beside that of the"):
            load_kind("datasets", keys["kind"]).model_validate({**keys, "target": target})


def test_a_name_that_is_not_there_is_refused_with_those_that_are(tmp_path):
    for kind in ("npz", "hdf5", "netcdf", "zarr"):
        with pytest.raises(InputError, match=r"has no (array|variable) 'sexe'; allowed: .*'g', .*'x', 'y'"):
            read_whole(tmp_path, **{**WRITERS[kind](tmp_path, SITES), "groups": "sexe"})
    with pytest.raises(InputError, match=r"^groups: .*sexe\.npy"):
        read_whole(tmp_path, **{**save_npy(tmp_path, SITES), "groups": str(tmp_path / "sexe.npy")})
    with pytest.raises(InputError, match=r"line 1: sexe: 'null' is neither text nor"):
        read_whole(tmp_path, **{**save_texts(tmp_path, SITES), "groups": "sexe"})
    with pytest.raises(ValueError, match="groups: means nothing with format: tab; allowed with json"):
        load_kind("datasets", "text_lines").model_validate(
            {"kind": "text_lines", "path": "a", "format": "tab", "groups": "g"}
        )


def test_files_of_groups_follow_each_other(tmp_path):
    keys = save_npy(tmp_path, SITES)
    assert read_whole(tmp_path, **keys)[1].attributes["group_column"] == "g"
    parts = (str(tmp_path / "first.npy"), str(tmp_path / "second.npy"))
    np.save(parts[0], SITES[:20])
    np.save(parts[1], SITES[20:])
    blocks, source, _ = read_whole(tmp_path, **{**keys, "groups": parts})
    assert source.attributes["group_column"] == "group"
    np.testing.assert_array_equal(blocks[GROUP] + SITES.min(), SITES)


def test_a_line_without_qid_has_no_group(tmp_path):
    (tmp_path / "a.svm").write_text("1 1:2\n2 1:2\n1 1:3\n")
    with pytest.raises(InputError, match=r"line 1: groups: qid: this line has none"):
        read_whole(tmp_path, kind="svmlight", path=str(tmp_path / "a.svm"), groups="qid")


@pytest.mark.parametrize("above", ["", "train"])
def test_images_are_of_the_group_that_a_folder_names(tmp_path, above):
    folder = tmp_path / "flowers"
    wanted = []
    for split in ("test", "train", "validation") if above else ("",):
        for name in ("lily", "rose"):
            for garden in ("north/deeper", "south"):
                place = folder / split / name / garden
                place.mkdir(parents=True)
                for i in range(4):
                    Image.fromarray(np.full((5, 4, 3), i, np.uint8)).save(place / f"{i}.png")
                    wanted.append(garden.partition("/")[0])
    keys = {"kind": "image_folder", "path": str(folder), "groups": "folder"}
    names, found = read(tmp_path, keys)
    assert names == ["north", "south"]
    assert found == wanted
    stray = folder / above / "rose" / "9.png"
    (folder / above / "rose" / "south" / "1.png").rename(stray)
    with pytest.raises(InputError, match=r"^groups: .*9\.png: lies in no folder below that of its class$"):
        read_whole(tmp_path, **keys)


def test_folders_that_make_no_groups_are_refused(tmp_path):
    for i in range(51):
        place = tmp_path / "a" / "bc"[i % 2] / f"{i}"
        place.mkdir(parents=True)
        Image.fromarray(np.zeros((2, 2, 3), np.uint8)).save(place / "0.png")
    with pytest.raises(InputError, match=r"^groups: .*a: folders below those of classes: more than 50 different names"):
        read_whole(tmp_path, kind="image_folder", path=str(tmp_path / "a"), groups="folder")


def test_patients_of_the_diabetes_data_are_of_the_sex_that_scikit_learn_tells():
    spec = load_kind("datasets", "diabetes").model_validate({"kind": "diabetes", "groups": "sex"})
    found = spec.open(None)
    data = load_diabetes(scaled=False, as_frame=True).data
    names = found.attrs["group_names"]
    assert [float(names[code]) for code in found[GROUP].to_numpy()] == data["sex"].tolist()
    np.testing.assert_array_equal(found[INPUTS], data.to_numpy().astype(np.float32))
    assert GROUP not in load_kind("datasets", "diabetes").model_validate({"kind": "diabetes"}).open(None)
