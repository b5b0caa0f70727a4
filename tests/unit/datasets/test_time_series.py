"""Windows are what slicing the series gives, and no step is predicted in two splits."""

import gzip
import pickle

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from sklearn.preprocessing import StandardScaler

from headrace.errors import InputError
from headrace.formats import lines, series
from headrace.registry import load_kind
from headrace.sources.gathering import gather
from mutations import damaged, read_or_refuse, read_whole

STEPS = 200


@pytest.fixture
def frame():
    generator = np.random.default_rng(0)
    times = pd.date_range("2020-01-01", periods=STEPS, freq="37min").strftime("%Y-%m-%d %H:%M:%S")
    return pd.DataFrame(
        {"when": times, **{name: generator.normal(size=STEPS).round(5) for name in ("load", "wind", "sun")}}
    )


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(lines, "PART_BYTES", 600)
    monkeypatch.setattr(series, "part_borders", lambda rows, _: np.append(np.arange(0, rows, 7), rows))


def windows(frame, inputs, targets, look_back, horizon, starts):
    values = frame.astype(np.float32, errors="ignore")
    x = [values[inputs].to_numpy(np.float32)[s : s + look_back] for s in starts]
    y = [values[targets].to_numpy(np.float32)[s + look_back : s + look_back + horizon].ravel() for s in starts]
    return np.stack(x), np.stack(y)


@pytest.mark.parametrize("stride", [1, 3, 20])
@pytest.mark.parametrize("packed", [False, True])
def test_windows_are_slices_of_the_series(tmp_path, frame, small_parts, stride, packed):
    path = tmp_path / ("a.csv.gz" if packed else "a.csv")
    text = frame.to_csv(index=False).encode()
    path.write_bytes(gzip.compress(text) if packed else text)
    blocks, source, survey = read_whole(
        tmp_path,
        kind="time_series",
        path=str(path),
        time="when",
        columns=("wind", "load"),
        targets=("load", "sun"),
        look_back=8,
        horizon=3,
        stride=stride,
        split={"by": "time", "borders": (120, 160)},
    )
    starts = [
        start
        for low, high in ((0, 120), (120, 160), (160, STEPS))
        for start in range(0, STEPS, stride)
        if start + 8 >= low and start + 11 <= high
    ]
    inputs, target = windows(frame, ["wind", "load"], ["load", "sun"], 8, 3, starts)
    np.testing.assert_array_equal(blocks["inputs"], inputs)
    np.testing.assert_array_equal(blocks["target"], target)
    info = survey.info
    assert (info.shape, info.dims, info.num_targets) == ((8, 2), ("time", "feature"), 6)
    assert info.tasks == ("forecasting", "regression")
    assert info.own_split
    assert sum(info.split_sizes) == info.num_samples == len(starts)
    assert source.attributes["horizon"] == 3
    assert source.attributes["target_columns"] == ["load", "sun"]
    rows = np.random.default_rng(1).permutation(len(starts))[:9]
    again = gather(pickle.loads(pickle.dumps(source)), rows, ["inputs", "target"])
    np.testing.assert_array_equal(again["inputs"], inputs[rows])
    np.testing.assert_array_equal(again["target"], target[rows])


@pytest.mark.parametrize("stride", [1, 7])
def test_deviations_are_those_of_the_training_stretch_however_windows_are_cut(
    tmp_path, frame, small_parts, monkeypatch, stride
):
    monkeypatch.setattr(series, "PART_STEPS", 13)
    frame["wind"] = 1e4 + frame["wind"]
    frame["off"] = 0.1
    path = tmp_path / "a.csv"
    frame.to_csv(path, index=False)
    keys = {"kind": "time_series", "path": str(path), "time": "when", "look_back": 8, "horizon": 3, "stride": stride}
    targets, borders = ("wind", "load", "off"), {"by": "time", "borders": (120, 160)}
    _, source, _ = read_whole(tmp_path, **keys, targets=targets, split=borders)
    train = frame[list(targets)].astype(np.float32).astype(np.float64)[:120]
    scaler = StandardScaler().fit(train.to_numpy())
    assert source.attributes["target_deviations"] == pytest.approx(scaler.scale_.tolist(), rel=1e-9)
    assert source.attributes["target_deviations"][2] == 1
    assert source.attributes["num_train_steps"] == 120
    _, source, _ = read_whole(tmp_path, **keys, targets=("load",), split={"train": 0.5, "validation": 0.3, "test": 0.2})
    half = frame["load"].to_numpy()[: STEPS // 2].std()
    assert source.attributes["target_deviations"] == pytest.approx([half], rel=1e-6)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9), st.floats(0.2, 0.6), st.floats(0.1, 0.3))
def test_no_step_is_predicted_in_two_splits(tmp_path, look_back, horizon, stride, train, validation):
    assume(train + validation < 0.9)
    path = tmp_path / "a.csv"
    path.write_text("x\n" + "".join(f"{i}\n" for i in range(STEPS)))
    shares = {"train": train, "validation": validation, "test": 1 - train - validation}
    keys = {"look_back": look_back, "horizon": horizon, "stride": stride, "split": shares}
    blocks, _, survey = read_whole(tmp_path, kind="time_series", path=str(path), **keys)
    predicted = [set(blocks["target"][survey.index["split_key"] == i].ravel().tolist()) for i in range(3)]
    a, b = round(STEPS * train), round(STEPS * (train + validation))
    assert max(predicted[0]) < a <= min(predicted[1])
    assert max(predicted[1]) < b <= min(predicted[2])
    assert (blocks["inputs"][:, -1, 0] + 1 == blocks["target"][:, 0]).all()
    assert set(np.diff(blocks["inputs"][survey.index["split_key"] == 0, 0, 0]).tolist()) <= {stride}
    # Every window that may be kept is.
    kept = {int(first) for first in blocks["inputs"][:, 0, 0]}
    for start in range(0, STEPS - look_back - horizon + 1, stride):
        first, last = start + look_back, start + look_back + horizon - 1
        crosses = any(first < border <= last for border in (a, b))
        assert (start in kept) != crosses


def test_files_follow_each_other(tmp_path, frame, small_parts):
    frame[:90].to_csv(tmp_path / "1.csv", index=False)
    frame[90:].to_csv(tmp_path / "2.csv", index=False)
    frame.to_csv(tmp_path / "whole.csv", index=False)
    keys = {"kind": "time_series", "time": "when", "look_back": 5, "horizon": 2}
    one, _, _ = read_whole(tmp_path, path=(str(tmp_path / "1.csv"), str(tmp_path / "2.csv")), **keys)
    two, _, _ = read_whole(tmp_path, path=str(tmp_path / "whole.csv"), **keys)
    np.testing.assert_array_equal(one["inputs"], two["inputs"])
    with pytest.raises(InputError, match=r"1\.csv: line 2: column 'when': .* does not lie after the row before"):
        read_whole(tmp_path, path=(str(tmp_path / "2.csv"), str(tmp_path / "1.csv")), **keys)


@pytest.mark.parametrize(
    ("row", "column", "value", "message"),
    [
        (50, "load", "", r"line 52: column 'load': no value; a step of a series cannot be left out"),
        (50, "load", "high", r"line 52: column 'load': 'high' is not a number"),
        (50, "load", "inf", r"line 52: column 'load': inf is not a finite number"),
        (50, "when", "2020-01-01", r"line 52: column 'when': '2020-01-01' does not lie after the row before"),
        (50, "when", "later", r"line 52: column 'when': 'later' is no number and no ISO 8601 time"),
        (50, "when", "", r"line 52: column 'when': '' is no number and no ISO 8601 time"),
    ],
)
def test_steps_that_cannot_be_used_are_named(tmp_path, frame, small_parts, row, column, value, message):
    frame = frame.astype(object)
    frame.loc[row, column] = value
    frame.to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(InputError, match=rf"a\.csv: {message}"):
        read_whole(tmp_path, kind="time_series", path=str(tmp_path / "a.csv"), time="when", look_back=5, horizon=2)


@pytest.mark.parametrize(
    ("text", "keys", "message"),
    [
        ("", {}, r"a\.csv: is empty"),
        ("t,x\n1,2\n2,3\n", {}, "has 2 rows"),
        ("t,x\n1,2\n1,3\n2,4\n", {}, "line 3: column 't': '1' does not lie after"),
        ("t\n1\n2\n3\n", {}, "has no column besides the time"),
        ("t,x\n1,2\n2,3\n3,4\n", {"columns": ("y",)}, "columns: .* has no column 'y'"),
        ("t,x\n1,2\n2,3\n3,4\n", {"targets": ("y",)}, "targets: .* has no column 'y'"),
        ("t,x\n1,2\n2,3\n3\n", {}, "line 4: has 1 fields, not 2"),
        ("t,x\n1,2\n2,3\n3,4\n", {}, r"split\.train: .* leave train without a window of 2 \+ 1 steps"),
        ("t,x\n1,2\n2,3\n3,4\n", {"split": {"by": "time", "borders": (2, 9)}}, "split.borders: .* has 3 rows"),
    ],
)
def test_series_that_cannot_be_cut_are_refused(tmp_path, text, keys, message):
    (tmp_path / "a.csv").write_text(text)
    keys = {"time": "t", "look_back": 2, "horizon": 1, **keys}
    with pytest.raises(InputError, match=message):
        read_whole(tmp_path, kind="time_series", path=str(tmp_path / "a.csv"), **keys)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"split": {"by": "random"}}, r"split\.by: random would mix windows that overlap"),
        ({"split": {"by": "grouped", "column": "x"}}, r"split\.by: grouped"),
        ({"split": {"by": "time", "borders": (5, 5)}}, "borders: the first must lie below the second"),
        ({"time": "t", "columns": ("t",)}, "columns: 't' is the column of times"),
        ({"targets": ("t", "t")}, "targets: 't' stands here twice"),
    ],
)
def test_keys_that_cannot_be_meant_are_refused(keys, message):
    with pytest.raises(ValueError, match=message):
        load_kind("datasets", "time_series").model_validate(
            {"kind": "time_series", "path": "a", "look_back": 1, "horizon": 1, **keys}
        )


GOOD = b"t,x,y\n" + b"".join(b"2020-01-%02d,%d.5,%d\n" % (i + 1, i, -i) for i in range(25))


@settings(max_examples=220, deadline=None, suppress_health_check=list(HealthCheck))
@given(damaged(GOOD, (b'"', b",", b"\n", b"\r", b"NA", b"1e999", b"\xff", b"\0", b"-")))
def test_damaged_files_are_read_whole_or_refused(data):
    read_or_refuse(data, "a.csv", kind="time_series", time="t", look_back=2, horizon=1)
