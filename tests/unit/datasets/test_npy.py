"""Arrays in .npy files come out as NumPy reads them, or are refused."""

import io
import pickle

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from headrace.errors import InputError
from headrace.sources import xarrays
from headrace.sources.gathering import gather
from mutations import damaged, read_or_refuse, read_whole

ROWS = 120


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(xarrays, "PART_BYTES", 500)


def save(path, values):
    np.save(path, values)
    return str(path)


def packed(values):
    buffer = io.BytesIO()
    np.save(buffer, values)
    return buffer.getvalue()


@pytest.mark.parametrize("dtype", ["float16", "float32", ">f4", "float64", "int8", "int64", "uint16", "bool"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", [(ROWS, 7), (ROWS, 3, 4, 2), (ROWS,)])
def test_numbers_become_float32(tmp_path, small_parts, dtype, order, shape):
    values = np.asarray(np.random.default_rng(0).normal(size=shape) * 9, dtype, order=order)
    blocks, source, survey = read_whole(tmp_path, kind="npy", path=save(tmp_path / "a.npy", values))
    assert blocks["inputs"].dtype == np.float32
    np.testing.assert_array_equal(blocks["inputs"].reshape(shape), values.astype(np.float32))
    assert survey.info.tasks == ("density",)
    assert survey.info.shape == (shape[1:] or (1,))
    assert survey.info.unit_interval == bool(values.min() >= 0 and values.max() <= 1)
    assert len(source.borders) > 2 or values.nbytes < 500


def test_bytes_in_two_dimensions_are_images(tmp_path, small_parts):
    images = np.random.default_rng(0).integers(0, 256, (ROWS, 5, 4, 3)).astype(np.uint8)
    blocks, source, survey = read_whole(tmp_path, kind="npy", path=save(tmp_path / "a.npy", images))
    np.testing.assert_array_equal(blocks["inputs"], images)
    variable = source.variables["inputs"]
    assert (variable.dims, variable.dtype, variable.scale) == (("height", "width", "channel"), "uint8", 1 / 255)
    assert (survey.info.dtype, survey.info.unit_interval) == ("uint8", True)


def test_bytes_in_one_dimension_are_numbers(tmp_path):
    values = np.random.default_rng(0).integers(0, 256, (ROWS, 5)).astype(np.uint8)
    blocks, _, survey = read_whole(tmp_path, kind="npy", path=save(tmp_path / "a.npy", values))
    np.testing.assert_array_equal(blocks["inputs"], values.astype(np.float32))
    assert survey.info.dims == ("feature",)


def test_files_follow_each_other_and_pair_with_targets_cut_elsewhere(tmp_path, small_parts):
    values = np.random.default_rng(0).normal(size=(ROWS, 6))
    labels = np.random.default_rng(1).integers(-1, 3, ROWS)
    paths = (save(tmp_path / "b.npy", values[:50]), save(tmp_path / "a.npy", np.asfortranarray(values[50:])))
    targets = (save(tmp_path / "y1.npy", labels[:7]), save(tmp_path / "y2.npy", labels[7:]))
    blocks, source, survey = read_whole(tmp_path, kind="npy", path=paths, target=targets)
    np.testing.assert_array_equal(blocks["inputs"], values.astype(np.float32))
    assert survey.info.class_names == ("-1", "0", "1", "2")
    np.testing.assert_array_equal(blocks["target"] - 1, labels)
    assert survey.info.class_counts == tuple(np.bincount(labels + 1))
    rows = np.random.default_rng(2).permutation(ROWS)[:33]
    again = gather(pickle.loads(pickle.dumps(source)), rows, ["target", "inputs"])
    np.testing.assert_array_equal(again["inputs"], values[rows].astype(np.float32))
    np.testing.assert_array_equal(again["target"] - 1, labels[rows])
    assert len(pickle.dumps(source)) < 5000


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (np.array(["é", "b", "b", "A"] * 30), ("A", "b", "é")),
        (np.array([b"x", b"yy"] * 60), ("x", "yy")),
        (np.array([True, False] * 60), ("false", "true")),
        (np.array([[3], [11], [2]] * 40, np.uint8), ("2", "3", "11")),
    ],
)
def test_classes_have_sorted_names(tmp_path, small_parts, labels, names):
    path = save(tmp_path / "x.npy", np.zeros((ROWS, 2)))
    blocks, _, survey = read_whole(tmp_path, kind="npy", path=path, target=save(tmp_path / "y.npy", labels))
    assert survey.info.class_names == names
    spelled = [value.decode() if isinstance(value, bytes) else str(value) for value in labels.reshape(-1).tolist()]
    assert [names[code] for code in blocks["target"]] == [s.lower() if labels.dtype == bool else s for s in spelled]


@pytest.mark.parametrize("shape", [(ROWS,), (ROWS, 3)])
def test_fractions_are_numbers_to_predict(tmp_path, small_parts, shape):
    values = np.random.default_rng(0).normal(size=shape)
    path = save(tmp_path / "x.npy", np.zeros((ROWS, 2)))
    blocks, _, survey = read_whole(tmp_path, kind="npy", path=path, target=save(tmp_path / "y.npy", values))
    np.testing.assert_array_equal(blocks["target"], values.astype(np.float32))
    assert survey.info.tasks == ("regression", "density")
    assert survey.info.num_targets == np.prod(shape[1:])


def test_many_whole_numbers_need_to_be_told(tmp_path):
    files = {
        "path": save(tmp_path / "x.npy", np.zeros((ROWS, 2))),
        "target": save(tmp_path / "y.npy", np.arange(ROWS)),
    }
    with pytest.raises(InputError, match=r"y\.npy.*more than 100 .*task: regression.*task: classification"):
        read_whole(tmp_path, kind="npy", **files)
    blocks, *_ = read_whole(tmp_path, kind="npy", task="regression", **files)
    np.testing.assert_array_equal(blocks["target"], np.arange(ROWS, dtype=np.float32))
    blocks, _, survey = read_whole(tmp_path, kind="npy", task="classification", **files)
    assert survey.info.class_names == tuple(map(str, range(ROWS)))
    np.testing.assert_array_equal(blocks["target"], np.arange(ROWS))


def test_rows_with_missing_values_are_named_or_dropped(tmp_path, small_parts):
    values = np.random.default_rng(0).normal(size=(ROWS, 3))
    numbers = np.random.default_rng(1).normal(size=ROWS)
    values[[17, 80], 1] = np.nan
    numbers[44] = np.nan
    files = {"path": save(tmp_path / "x.npy", values), "target": save(tmp_path / "y.npy", numbers)}
    with pytest.raises(InputError, match=r"x\.npy: row 17: .*missing: drop"):
        read_whole(tmp_path, kind="npy", **files)
    blocks, _, survey = read_whole(tmp_path, kind="npy", missing="drop", **files)
    kept = np.setdiff1d(np.arange(ROWS), [17, 44, 80])
    assert survey.info.num_samples == len(kept)
    np.testing.assert_array_equal(blocks["inputs"], values[kept].astype(np.float32))
    np.testing.assert_array_equal(blocks["target"], numbers[kept].astype(np.float32))


@pytest.mark.parametrize("wrong", [np.inf, -np.inf, 1e300])
def test_what_float32_cannot_hold_is_refused(tmp_path, small_parts, wrong):
    values = np.zeros((ROWS, 3))
    values[99, 2] = wrong
    with pytest.raises(InputError, match=r"x\.npy: row 99: .*float32"):
        read_whole(tmp_path, kind="npy", missing="drop", path=save(tmp_path / "x.npy", values))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "no .npy file"),
        (b"\x93NUMPY\x01\x00", "cut short"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff{", "longer than"),
        (packed(np.zeros((ROWS, 3)))[:-1], "there are"),
        (packed(np.zeros((ROWS, 3))) + b"\0", "there are"),
        (packed(np.zeros((ROWS, 3))).replace(b"(120, 3)", b"(9999999999, 3)"), "there are"),
        (packed(np.array([{}] * 9)), "pickled"),
        (packed(np.zeros(9, [("a", "f4")])), "allowed: plain numbers"),
        (packed(np.zeros(9, "M8[s]")), "allowed: plain numbers"),
        (packed(np.zeros((9, 2), complex)), "allowed: plain numbers"),
        (packed(np.array(["a"] * 9)), "type <U1"),
        (packed(np.zeros((0, 3))), "hold nothing"),
        (packed(np.zeros((5, 0))), "hold nothing"),
        (packed(np.float64(3)), "no rows"),
        (packed(np.zeros((2, 3))), "three splits"),
    ],
)
def test_what_is_no_array_of_numbers_is_refused(tmp_path, content, why):
    (tmp_path / "x.npy").write_bytes(content)
    with pytest.raises(InputError, match=r"x\.npy: .*" + why) as caught:
        read_whole(tmp_path, kind="npy", path=str(tmp_path / "x.npy"))
    assert "\n" not in str(caught.value)


def test_files_that_do_not_fit_together_are_refused(tmp_path):
    first = save(tmp_path / "a.npy", np.zeros((ROWS, 3)))
    for other in (np.zeros((ROWS, 4)), np.zeros((ROWS, 3), np.int32)):
        with pytest.raises(InputError, match=r"b\.npy: .*a\.npy.*must agree"):
            read_whole(tmp_path, kind="npy", path=(first, save(tmp_path / "b.npy", other)))
    with pytest.raises(InputError, match=r"b\.npy: .*target has 119 rows; inputs have 120"):
        read_whole(tmp_path, kind="npy", path=first, target=save(tmp_path / "b.npy", np.zeros(ROWS - 1)))


def test_a_file_that_is_cut_short_while_it_is_read_is_refused(tmp_path):
    path = tmp_path / "x.npy"
    _, source, _ = read_whole(tmp_path, kind="npy", path=save(path, np.zeros((ROWS, 3))))
    path.write_bytes(path.read_bytes()[:600])
    with pytest.raises(InputError, match="cut short"):
        source.read(0, ["inputs"])


GOOD = [packed(np.random.default_rng(0).normal(size=(20, 2))), packed(np.asfortranarray(np.ones((9, 3), np.uint8)))]
WORDS = (b"'<f8'", b"'|O'", b"(20, 2)", b"(-1, 2)", b"1e3", b"True", b"L", b"[('a', 'f4')]")


@given(data=damaged(GOOD[0], WORDS) | damaged(GOOD[1], WORDS))
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
def test_damaged_files_are_read_or_refused(data):
    read_or_refuse(data, "x.npy", kind="npy", missing="drop")


@given(data=damaged(packed(np.array(["a", "bc", "d"] * 7)), (b"'<U2'", b"'|S8'", b"'<f8'")))
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_damaged_targets_are_read_or_refused(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("root")
    (folder / "y.npy").write_bytes(data)
    files = {"path": save(folder / "x.npy", np.zeros((21, 2))), "target": str(folder / "y.npy")}
    problem = ""
    try:
        blocks, _, survey = read_whole(folder, kind="npy", missing="drop", **files)
        assert len(blocks["target"]) == survey.info.num_samples
    except InputError as error:
        problem = str(error)
    assert not problem or "y.npy" in problem or "three splits" in problem
    assert "\n" not in problem
