"""Arrays in .npz files come out as NumPy reads them, or are refused."""

import io
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from headrace.datasets.base import SPLIT_KEY
from headrace.errors import InputError
from headrace.sources import xarrays
from mutations import damaged, read_or_refuse, read_whole

ROWS = 90


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(xarrays, "PART_BYTES", 500)


def save(path, compressed=True, **arrays):
    (np.savez_compressed if compressed else np.savez)(path, **arrays)
    return str(path)


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("order", ["C", "F"])
def test_members_are_what_numpy_reads(tmp_path, small_parts, compressed, order):
    generator = np.random.default_rng(0)
    x, y = np.asarray(generator.normal(size=(ROWS, 6)), order=order), generator.integers(0, 4, ROWS)
    path = save(tmp_path / "a.npz", compressed, x=x, y=y, other=np.zeros(3))
    blocks, source, survey = read_whole(tmp_path, kind="npz", path=path, inputs="x", target="y")
    np.testing.assert_array_equal(blocks["inputs"], x.astype(np.float32))
    np.testing.assert_array_equal(blocks["target"], y)
    assert survey.info.class_counts == tuple(np.bincount(y))
    assert len(source.borders) > 3


def test_images_of_several_files_keep_their_bytes(tmp_path, small_parts):
    images = np.random.default_rng(0).integers(0, 256, (ROWS, 4, 3)).astype(np.uint8)
    paths = (save(tmp_path / "b.npz", images=images[:40]), save(tmp_path / "a.npz", images=images[40:]))
    blocks, source, _ = read_whole(tmp_path, kind="npz", path=paths, inputs="images")
    np.testing.assert_array_equal(blocks["inputs"], images)
    assert source.variables["inputs"].scale == 1 / 255


def test_numbers_to_predict_are_read_with_missing_rows_left_out(tmp_path, small_parts):
    x, y = np.random.default_rng(0).normal(size=(2, ROWS, 3))
    x[5, 1] = np.nan
    path = save(tmp_path / "a.npz", x=x, y=y)
    keys = {"kind": "npz", "path": path, "inputs": "x", "target": "y"}
    with pytest.raises(InputError, match=r"a\.npz: x: row 5"):
        read_whole(tmp_path, **keys)
    blocks, *_ = read_whole(tmp_path, missing="drop", **keys)
    np.testing.assert_array_equal(blocks["inputs"], np.delete(x, 5, axis=0).astype(np.float32))
    np.testing.assert_array_equal(blocks["target"], np.delete(y, 5, axis=0).astype(np.float32))


@pytest.mark.parametrize(
    ("by", "key", "wanted"),
    [
        ("grouped", np.repeat([7, 5, 9, 1, 2, 3], 15), np.repeat([4, 3, 5, 0, 1, 2], 15)),
        ("time", np.arange(ROWS)[::-1] * 3, np.arange(ROWS)[::-1] * 3),
        ("time", np.arange(ROWS) / 7, np.arange(ROWS) / 7),
        ("source", np.repeat(["train", "val", "test"], 30), np.repeat([0, 1, 2], 30)),
        ("source", np.repeat([1, 2, 0], 30), np.repeat([1, 2, 0], 30)),
    ],
)
def test_a_member_may_say_how_to_split(tmp_path, by, key, wanted):
    path = save(tmp_path / "a.npz", x=np.zeros((ROWS, 2)), key=key)
    split = {"by": by, "column": "key"}
    _, _, survey = read_whole(tmp_path, kind="npz", path=path, inputs="x", split=split)
    np.testing.assert_array_equal(survey.index[SPLIT_KEY], wanted)


def rewritten(change):
    """A good .npz file of which something is said that is not so."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, x=np.random.default_rng(0).normal(size=(ROWS, 4)))
    return change(buffer.getvalue())


def with_member(content, method=zipfile.ZIP_STORED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr("x.npy", content)
    return buffer.getvalue()


def packed(values):
    buffer = io.BytesIO()
    np.save(buffer, values)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "not a zip"),
        (packed(np.zeros(4)), "not a zip"),
        (rewritten(lambda data: data[:-40]), "not a zip"),
        (rewritten(lambda data: data[:300] + b"\xff\xff\xff" + data[303:]), "a.npz: "),
        (with_member(packed(np.zeros((ROWS, 4)))[:-8]), "there are"),
        (with_member(packed(np.array([{}] * ROWS))), "pickled"),
        (with_member(packed(np.zeros((500_000, 4))), zipfile.ZIP_DEFLATED), "no data do"),
        (with_member(packed(np.ones((ROWS, 4))), zipfile.ZIP_LZMA), "allowed: stored, deflated"),
        (with_member(b"not an array"), "no .npy file"),
    ],
)
def test_what_is_no_archive_of_arrays_is_refused(tmp_path, content, why):
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(InputError, match=why) as caught:
        read_whole(tmp_path, kind="npz", path=str(tmp_path / "a.npz"), inputs="x")
    assert "\n" not in str(caught.value)
    assert str(tmp_path / "a.npz") in str(caught.value)


def test_a_member_that_is_not_there_is_refused_with_those_that_are(tmp_path):
    path = save(tmp_path / "a.npz", first=np.zeros((9, 2)), second=np.zeros(9))
    with pytest.raises(InputError, match=r"a\.npz: has no array 'x'; allowed: 'first', 'second'"):
        read_whole(tmp_path, kind="npz", path=path, inputs="x")


GENERATOR = np.random.default_rng(0)
MEMBERS = {"x": GENERATOR.normal(size=(20, 2)), "y": np.arange(20) % 3}
GOOD = []
for write in (np.savez, np.savez_compressed):
    written = io.BytesIO()
    write(written, **MEMBERS)
    GOOD.append(written.getvalue())


@given(data=damaged(GOOD[0]) | damaged(GOOD[1], (b"x.npy", b"PK\1\2", b"PK\5\6", b"\xff\xff\xff\xff")))
@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
def test_damaged_files_are_read_or_refused(data):
    read_or_refuse(data, "a.npz", kind="npz", inputs="x", target="y", missing="drop")
