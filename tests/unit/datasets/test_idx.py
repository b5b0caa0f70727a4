"""IDX files come out as their bytes say, or are refused."""

import gzip
import struct

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from headrace.errors import InputError
from headrace.sources import xarrays
from mutations import damaged, read_or_refuse, read_whole

ROWS = 80
CODES = {">u1": 8, ">i1": 9, ">i2": 11, ">i4": 12, ">f4": 13, ">f8": 14}


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(xarrays, "PART_BYTES", 400)


def packed(values, dtype=">u1"):
    values = np.asarray(values, dtype)
    return struct.pack(f">HBB{values.ndim}I", 0, CODES[dtype], values.ndim, *values.shape) + values.tobytes()


def save(path, content):
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return str(path)


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_images_and_digits_are_those_of_mnist(tmp_path, small_parts, suffix):
    generator = np.random.default_rng(0)
    images, digits = generator.integers(0, 256, (ROWS, 5, 6)), np.arange(ROWS) % 10
    blocks, source, survey = read_whole(
        tmp_path,
        kind="idx",
        path=save(tmp_path / f"images{suffix}", packed(images)),
        target=save(tmp_path / f"labels{suffix}", packed(digits)),
    )
    assert blocks["inputs"].dtype == np.uint8
    np.testing.assert_array_equal(blocks["inputs"], images)
    np.testing.assert_array_equal(blocks["target"], digits)
    assert survey.info.class_names == tuple("0123456789")
    variable = source.variables["inputs"]
    assert (variable.dims, variable.shape, variable.scale) == (("height", "width"), (5, 6), 1 / 255)
    assert survey.info.unit_interval
    assert len(source.borders) > 5


@pytest.mark.parametrize("dtype", [">i1", ">i2", ">i4", ">f4", ">f8"])
@pytest.mark.parametrize(
    ("shape", "dims"),
    [
        ((3,), ("feature",)),
        ((2, 3), ("height", "width")),
        ((2, 2, 1), ("height", "width", "channel")),
        ((2, 1, 1, 2), ("axis_1", "axis_2", "axis_3", "axis_4")),
    ],
)
def test_other_numbers_become_float32(tmp_path, small_parts, dtype, shape, dims):
    values = np.asarray(np.random.default_rng(0).normal(size=(ROWS, *shape)) * 50, dtype)
    blocks, source, _ = read_whole(tmp_path, kind="idx", path=save(tmp_path / "a.gz", packed(values, dtype)))
    np.testing.assert_array_equal(blocks["inputs"], values.astype(np.float32))
    assert source.variables["inputs"].dims == dims


def test_files_follow_each_other(tmp_path, small_parts):
    images = np.random.default_rng(0).integers(0, 256, (ROWS, 3, 3, 2))
    numbers = np.random.default_rng(0).normal(size=ROWS)
    blocks, source, _ = read_whole(
        tmp_path,
        kind="idx",
        path=(save(tmp_path / "b", packed(images[:30])), save(tmp_path / "a.gz", packed(images[30:]))),
        target=(save(tmp_path / "y1", packed(numbers[:50], ">f4")), save(tmp_path / "y2", packed(numbers[50:], ">f4"))),
    )
    np.testing.assert_array_equal(blocks["inputs"], images)
    assert source.variables["inputs"].dims == ("height", "width", "channel")
    np.testing.assert_array_equal(blocks["target"], numbers.astype(np.float32))


GOOD = packed(np.arange(60).reshape(10, 3, 2))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "no IDX file"),
        (b"PNG and so on", "no IDX file"),
        (b"\0\0\x0a\x01\0\0\0\1x", "no IDX file"),
        (GOOD[:9], "cut short"),
        (GOOD[:-1], "there are 75"),
        (GOOD + b"x", "there are 77"),
        (b"\0\0\x0e\3" + b"\xff" * 12 + GOOD, "there are"),
        (gzip.compress(GOOD)[:-12], "cut short"),
        (gzip.compress(GOOD)[:-4] + b"abcd", "cannot be read"),
        (gzip.compress(bytes(40 * 2**20)), "expands to more than"),
        (packed(np.full((10, 2), np.nan), ">f4"), "row 0: has a missing value"),
        (packed(np.zeros((0, 2))), "hold nothing"),
    ],
)
def test_what_is_no_idx_file_is_refused(tmp_path, content, why):
    (tmp_path / "a.idx").write_bytes(content)
    with pytest.raises(InputError, match=why) as caught:
        read_whole(tmp_path, kind="idx", path=str(tmp_path / "a.idx"))
    assert str(tmp_path / "a.idx") in str(caught.value)
    assert "\n" not in str(caught.value)


@given(data=damaged(GOOD) | damaged(gzip.compress(GOOD, mtime=0)) | damaged(packed(np.eye(6), ">f8")))
@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
def test_damaged_files_are_read_or_refused(data):
    read_or_refuse(data, "a.idx", kind="idx")
