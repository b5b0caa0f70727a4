"""Digests are of decoded content: no time, host, path, compression or order of keys reaches them."""

import json
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import StageError
from headrace.provenance.digests import (
    NOT_CONTENT,
    PICTURES,
    artifact_digest,
    content_digests,
    content_of,
    without_pictures,
)
from headrace.stores.arrays import save_arrays
from headrace.stores.layout import STORE, Layout
from sample_stores import write_store

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=15,
)


def make_artifact(folder: Path, *, compression: str = "lz4") -> Path:
    folder.mkdir(parents=True)
    (folder / "summary.json").write_text('{"best": 3, "seconds": 1.5, "more": [{"host": "a", "x": 0.1}]}')
    arrays = {"weight": np.arange(6.0).reshape(2, 3), "bias": np.ones(2, np.float32)}
    save_arrays(folder / "weights.safetensors", arrays)
    inputs = np.arange(40, dtype=np.float32).reshape(20, 2) + 1
    layout = Layout(20, 8, 4)
    write_store(folder / STORE, {"inputs": inputs}, layout, {"train": 20}, {"title": "t"}, compression=compression)
    return folder


def test_every_part_has_a_digest(tmp_path: Path) -> None:
    assert set(content_digests(make_artifact(tmp_path / "a"))) == {
        "summary.json",
        "weights.safetensors/weight",
        "weights.safetensors/bias",
        "data.zarr/inputs/0",
        "data.zarr/inputs/1",
        "data.zarr/inputs/2",
        "data.zarr/split",
        "data.zarr/source_row",
        "data.zarr/attributes",
    }


def test_digests_do_not_depend_on_the_place_nor_on_the_manifest(tmp_path: Path) -> None:
    one, other = make_artifact(tmp_path / "a"), make_artifact(tmp_path / "b" / "c")
    (other / "manifest.json").write_text("{}")
    assert content_digests(one) == content_digests(other)


def test_layout_of_json_times_and_hosts_do_not_count(tmp_path: Path) -> None:
    folder = make_artifact(tmp_path / "a")
    before = content_digests(folder)
    text = json.dumps({"more": [{"x": 0.1, "host": "b"}], "seconds": 99, "best": 3, "peak_memory_mib": 5}, indent=4)
    (folder / "summary.json").write_text(text)
    assert content_digests(folder) == before


@pytest.mark.parametrize("text", ['{"best": 4, "more": [{"x": 0.1}]}', '{"best": 3, "more": [{"x": 0.10000001}]}'])
def test_content_of_json_counts(tmp_path: Path, text: str) -> None:
    folder = make_artifact(tmp_path / "a")
    before = content_digests(folder)
    (folder / "summary.json").write_text(text)
    assert content_digests(folder)["summary.json"] != before["summary.json"]


def test_compression_does_not_count_but_attributes_and_coordinates_do(tmp_path: Path) -> None:
    one, other = make_artifact(tmp_path / "a"), make_artifact(tmp_path / "b", compression="none")
    digests, others = content_digests(one), content_digests(other)
    shards = [part for part in digests if part.startswith("data.zarr/inputs/")]
    assert [digests[part] for part in shards] == [others[part] for part in shards]
    array = zarr.open_group(one / STORE, mode="r+")["source_row"]
    array[3] = 77
    changed = content_digests(one)
    assert [part for part in digests if digests[part] != changed[part]] == ["data.zarr/source_row"]


def test_known_digests_are_not_read_again(tmp_path: Path) -> None:
    folder = make_artifact(tmp_path / "a")
    known = {part: "0" for part in content_digests(folder) if part.startswith("data.zarr/")}
    digests = content_digests(folder, known)
    assert {part for part, digest in digests.items() if digest == "0"} == set(known)
    assert {"summary.json", "weights.safetensors/bias"} <= set(digests)


@pytest.mark.parametrize("name", ["notes.txt", "model.pt", "state.pkl", "data.npy"])
def test_an_artifact_holds_no_other_files(tmp_path: Path, name: str) -> None:
    folder = make_artifact(tmp_path / "a")
    (folder / name).write_bytes(b"x")
    with pytest.raises(StageError, match="may hold JSON, safetensors and Zarr only"):
        content_digests(folder)


@given(JSON, st.sampled_from(sorted(NOT_CONTENT)), JSON)
def test_only_named_keys_are_left_out_at_any_depth(value: object, key: str, noise: object) -> None:
    clean = content_of({"value": value, "rows": [{"kept": 1}]})
    assert content_of({"value": value, key: noise, "rows": [{"kept": 1, key: noise}]}) == clean
    assert content_of(clean) == clean


def test_one_digest_for_the_whole_does_not_depend_on_the_order_of_the_parts() -> None:
    assert artifact_digest({"a": "1", "b": "2"}) == artifact_digest({"b": "2", "a": "1"})
    assert artifact_digest({"a": "1", "b": "2"}) != artifact_digest({"a": "2", "b": "1"})


def test_pictures_have_digests_of_their_own_and_count_in_no_other(tmp_path: Path) -> None:
    folder = make_artifact(tmp_path / "a")
    before = content_digests(folder)
    save_arrays(folder / PICTURES, {"picture": np.zeros((2, 2), np.uint8)})
    after = content_digests(folder)
    assert after.keys() - before.keys() == {f"{PICTURES}/picture"}
    assert without_pictures(after) == before
    assert artifact_digest(after) == artifact_digest(before)
