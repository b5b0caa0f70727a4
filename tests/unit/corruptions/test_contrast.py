"""Contrast falls by the share that was asked for, and nothing else changes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.corruptions.base import Original
from headrace.corruptions.contrast import Spec


def lowered(inputs: np.ndarray, share: float, *, is_sequence: bool = False) -> np.ndarray:
    spec = Spec(kind="contrast", strengths=(share,))
    found = spec.apply(torch.from_numpy(inputs), share, Original(is_sequence), torch.Generator())
    assert found.dtype == torch.float32
    return found.numpy()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.floats(0.01, 0.99), st.integers(0, 3))
def test_it_is_that_of_hendrycks_and_dietterich(seed: int, share: float, channels: int) -> None:
    shape = (4, 6, 5, channels) if channels else (4, 6, 5)
    images = np.random.default_rng(seed).uniform(size=shape).astype(np.float32)
    found = lowered(images, share)
    for image, worse in zip(images, found, strict=True):
        # As their published code has it, with c = 1 - share.
        means = np.mean(image, axis=(0, 1), keepdims=True)
        assert worse == pytest.approx((image - means) * (1 - share) + means, abs=1e-6)


def test_every_feature_of_a_sequence_keeps_its_own_mean() -> None:
    sequences = np.random.default_rng(0).normal([0, 100], [1, 10], size=(3, 40, 2)).astype(np.float32)
    found = lowered(sequences, 0.75, is_sequence=True)
    assert found.mean(axis=1) == pytest.approx(sequences.mean(axis=1), abs=1e-4)
    assert found.std(axis=1) == pytest.approx(0.25 * sequences.std(axis=1), rel=1e-4)
