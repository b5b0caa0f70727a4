"""Windows of steps, against windows cut one by one and SciPy's taper."""

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

from headrace.blocks import Ragged
from headrace.datasets.base import DataInfo
from sample_fits import Sample, dense_sample, fit_apply, step


def one_by_one(sequence: np.ndarray, size: int, stride: int, taper: np.ndarray) -> np.ndarray:
    """(windows, size * numbers) of (steps, ...); what is shorter than a window ends in zeros."""
    if len(sequence) < size:
        sequence = np.concatenate([sequence, np.zeros((size - len(sequence), *sequence.shape[1:]))])
    starts = range(0, len(sequence) - size + 1, stride)
    weights = taper.reshape(-1, *[1] * (sequence.ndim - 1))
    return np.array([(weights * sequence[start : start + size]).reshape(-1) for start in starts])


def taper_of(name: str, size: int) -> np.ndarray:
    return signal.get_window("hann", size, fftbins=False) if name == "hann" else np.ones(size)


@given(
    shape=st.lists(st.integers(1, 4), min_size=0, max_size=2),
    steps=st.integers(3, 20),
    size=st.integers(3, 20),
    stride=st.integers(1, 9),
    taper=st.sampled_from(["none", "hann"]),
    dtype=st.sampled_from([np.float32, np.float64]),
    seed=st.integers(0, 100),
)
@settings(deadline=None, max_examples=40)
def test_dense_windows_are_those_cut_one_by_one(
    shape: list[int], steps: int, size: int, stride: int, taper: str, dtype: Any, seed: int
) -> None:
    size = min(size, steps)
    values = np.random.default_rng(seed).normal(size=(6, steps, *shape)).astype(dtype)
    spec = step("window", size=size, stride=stride, taper=taper)
    found = fit_apply(spec, dense_sample(values))
    expected = np.array([one_by_one(row, size, stride, taper_of(taper, size)) for row in values])
    assert found.dtype == np.float32
    assert found == pytest.approx(expected, abs=1e-6)
    described = spec.describe(dense_sample(values).info, 6)
    assert described.shape == found.shape[1:]
    assert described.dims == ("window", "feature")


def ragged_sample(lengths: list[int], shape: tuple[int, ...] = (), seed: int = 0) -> Sample:
    values = np.random.default_rng(seed).normal(size=(sum(lengths), *shape)).astype(np.float32)
    known: dict[str, Any] = {"layout": "ragged", "num_values": sum(lengths), "longest": max(lengths)}
    dims = tuple(f"axis_{i}" for i in range(len(shape)))
    info = DataInfo(tasks=("density",), num_samples=len(lengths), shape=shape, dims=dims, **known)
    return Sample(Ragged(values, np.array(lengths, np.int64)), info, len(lengths))


@given(
    lengths=st.lists(st.integers(0, 12), min_size=1, max_size=8),
    shape=st.lists(st.integers(1, 3), min_size=0, max_size=2),
    size=st.integers(3, 6),
    stride=st.integers(1, 8),
    taper=st.sampled_from(["none", "hann"]),
    seed=st.integers(0, 100),
)
@settings(deadline=None, max_examples=40)
def test_ragged_windows_are_those_cut_one_by_one(
    lengths: list[int], shape: list[int], size: int, stride: int, taper: str, seed: int
) -> None:
    sample = ragged_sample(lengths, tuple(shape), seed)
    assert isinstance(sample.inputs, Ragged)
    spec = step("window", size=size, stride=stride, taper=taper)
    found = sample.apply(spec, spec.fit(sample.fit_data()), [len(lengths) // 2])
    assert isinstance(found, Ragged)
    offsets = sample.inputs.offsets
    rows = [sample.inputs.values[a:b] for a, b in itertools.pairwise(offsets)]
    expected = [one_by_one(row, size, stride, taper_of(taper, size)) for row in rows]
    assert found.lengths.tolist() == [len(windows) for windows in expected]
    assert found.values.dtype == np.float32
    assert found.values == pytest.approx(np.concatenate(expected), abs=1e-6)
    described = spec.describe(sample.info, len(lengths))
    assert described.shape == found.values.shape[1:]
    assert described.num_values >= len(found.values)
    if described.longest:
        assert described.longest == found.lengths.max()


@pytest.mark.parametrize(("size", "stride"), [(1, 1), (2, 1), (3, 1), (5, 2), (8, 4)])
def test_windows_overlap_by_half_unless_told_otherwise(size: int, stride: int) -> None:
    values = np.random.default_rng(0).normal(size=(4, 10, 2)).astype(np.float32)
    given, told = (fit_apply(step("window", size=size, **more), values) for more in ({}, {"stride": stride}))
    assert np.array_equal(given, told)
    assert given.shape == (4, 1 + (10 - size) // stride, size * 2)


@pytest.mark.parametrize("size", [3, 4, 33, 256])
def test_the_taper_is_that_of_scipy(size: int) -> None:
    found = fit_apply(step("window", size=size, taper="hann"), np.ones((2, size), np.float32))
    assert found[0, 0] == pytest.approx(signal.get_window("hann", size, fftbins=False), abs=1e-7)


def test_a_window_keeps_the_unit_interval() -> None:
    info = DataInfo(tasks=("density",), num_samples=9, shape=(8,), dims=("time",), unit_interval=True)
    assert step("window", size=4, taper="hann").describe(info, 9).unit_interval


@pytest.mark.parametrize(
    ("parameters", "shape", "message"),
    [
        ({"size": 9}, (8, 2), r"size: 9 is above the 8 steps; allowed: 1 to 8"),
        ({"size": 1}, (), r"kind: window needs samples that are sequences of steps, .*"),
        ({"size": 2, "taper": "hann"}, (8,), r"size: hann leaves nothing of 2 steps; allowed: 3 or more"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    parameters: dict[str, Any], shape: tuple[int, ...], message: str
) -> None:
    info = DataInfo(tasks=("density",), num_samples=9, shape=shape, dims=("time", "feature")[: len(shape)])
    with pytest.raises(ValueError, match=f"^{message}$"):
        step("window", **parameters).describe(info, 9)
