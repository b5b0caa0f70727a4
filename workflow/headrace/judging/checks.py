"""What metrics are given, checked: arrays of the outputs by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from headrace.judging.statistics import FloatArray

IntArray = NDArray[np.int64]
Measure = Callable[[FloatArray], dict[str, FloatArray]]
"""Weights (resamples, samples) -> the value (resamples,) of each metric."""


def get_floats(outputs: Mapping[str, np.ndarray], name: str, dims: tuple[int, ...]) -> FloatArray:
    """Return one output as float64, checked to have samples, the right number of dimensions and finite values."""
    if name not in outputs:
        raise ValueError(f"{name}: missing from the outputs")
    array = np.asarray(outputs[name])
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{name}: must be real numbers, not {array.dtype}")
    if array.ndim not in dims or array.size == 0:
        raise ValueError(f"{name}: must have {' or '.join(map(str, dims))} dimensions and samples, not {array.shape}")
    floats = array.astype(np.float64)
    if not np.isfinite(floats).all():
        raise ValueError(f"{name}: holds NaN or Inf")
    return floats


def get_classes(outputs: Mapping[str, np.ndarray], name: str, num_classes: int) -> IntArray:
    """Return one output as class numbers (samples,), checked to be whole and in range."""
    floats = get_floats(outputs, name, dims=(1,))
    classes = floats.astype(np.int64)
    if (classes != floats).any() or classes.min() < 0 or classes.max() >= num_classes:
        raise ValueError(f"{name}: must be whole numbers from 0 to {num_classes - 1}")
    return classes


def check_same(expected: object, found: object, name: str, what: str) -> None:
    """Raise ValueError unless two arrays agree."""
    if expected != found:
        raise ValueError(f"{name}: {what} {found}, but {expected} expected")
