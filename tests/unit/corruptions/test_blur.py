"""Blur against scipy's filters along one axis, and against the sum that defines it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from headrace.corruptions.base import Original
from headrace.corruptions.blur import Spec


def blurred(inputs: np.ndarray, sigma: float, *, is_sequence: bool = False) -> np.ndarray:
    spec, original = Spec(kind="blur", strengths=(sigma,)), Original(is_sequence)
    found = spec.apply(torch.from_numpy(inputs), sigma, original, torch.Generator())
    assert found.dtype == torch.float32
    return found.numpy()


def smooth_by_definition(values: np.ndarray, sigma: float) -> np.ndarray:
    """A weighted mean over the neighbours within four deviations, the ends mirrored; (steps,)"""
    radius = int(4 * sigma + 0.5)
    weights = np.exp(-(np.arange(-radius, radius + 1) ** 2) / (2 * sigma**2))
    padded = np.pad(values.astype(np.float64), radius, mode="symmetric")
    return np.array([(padded[i : i + 2 * radius + 1] * weights).sum() for i in range(len(values))]) / weights.sum()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.floats(0.1, 4), st.integers(1, 12), st.integers(1, 12), st.integers(0, 3))
def test_images_are_blurred_sample_by_sample_and_channel_by_channel(
    seed: int, sigma: float, height: int, width: int, channels: int
) -> None:
    shape = (3, height, width, channels) if channels else (3, height, width)
    images = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    found = blurred(images, sigma)
    for sample in range(3):
        for channel in range(channels or 1):
            own = (sample, ..., channel) if channels else (sample,)
            assert found[own] == pytest.approx(gaussian_filter(images[own].astype(np.float64), sigma), abs=1e-5)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.floats(0.2, 5), st.integers(1, 15))
def test_sequences_are_smoothed_along_their_steps_alone(seed: int, sigma: float, steps: int) -> None:
    sequences = np.random.default_rng(seed).normal(size=(2, steps, 3)).astype(np.float32)
    found = blurred(sequences, sigma, is_sequence=True)
    for sample in range(2):
        for feature in range(3):
            expected = smooth_by_definition(sequences[sample, :, feature], sigma)
            assert found[sample, :, feature] == pytest.approx(expected, abs=1e-5)


def test_the_mean_of_an_image_stays_and_its_contrast_falls() -> None:
    images = np.random.default_rng(0).uniform(size=(5, 28, 28)).astype(np.float32)
    found = [blurred(images, sigma) for sigma in (0.5, 1, 3)]
    for each in found:
        assert each.mean(axis=(1, 2)) == pytest.approx(images.mean(axis=(1, 2)), rel=1e-5)
    spreads = [images.std(), *(each.std() for each in found)]
    assert spreads == sorted(spreads, reverse=True)
