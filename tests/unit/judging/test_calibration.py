"""Reliability diagrams against scikit-learn and torchmetrics."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from torchmetrics.functional.classification import multiclass_calibration_error

from headrace.judging.calibration import NUM_BINS, Reliability, measure_reliability
from headrace.judging.metrics import compute


def draw(num_samples: int, num_classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities in 64ths, which float32 holds exactly and of which none but 0 and 1 is an edge of a bin."""
    generator = np.random.default_rng(seed)
    counts = generator.multinomial(63, generator.dirichlet(np.full(num_classes, 0.4), num_samples))
    counts[np.arange(num_samples), counts.argmax(axis=1)] += 1
    return generator.integers(0, num_classes, num_samples), counts / 64


@given(st.integers(1, 200), st.integers(2, 6), st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_bins_are_those_of_scikit_learn_and_the_error_that_of_torchmetrics(
    num_samples: int, num_classes: int, seed: int
) -> None:
    target, probabilities = draw(num_samples, num_classes, seed)
    found = measure_reliability(target, probabilities)
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == target
    # scikit-learn has no bin for a confidence of exactly 1, and its bins hold their upper edge.
    below = confidence < 1
    if below.any():
        accuracy, mean = calibration_curve(right[below], confidence[below], n_bins=NUM_BINS)
        held = found.counts[:NUM_BINS] > 0
        np.testing.assert_allclose(found.accuracy[:NUM_BINS][held], accuracy, rtol=1e-12)
        np.testing.assert_allclose(found.confidence[:NUM_BINS][held], mean, rtol=1e-12)
    assert found.counts[NUM_BINS] == (~below).sum()
    assert found.counts.sum() == num_samples
    tensors = torch.from_numpy(probabilities), torch.from_numpy(target)
    expected = multiclass_calibration_error(*tensors, num_classes=num_classes, n_bins=NUM_BINS, norm="l1")
    assert found.ece == pytest.approx(float(expected), abs=1e-6)
    rows = compute("classification", {"target": target, "probabilities": probabilities}, num_resamples=0, seed=0)
    assert found.ece == pytest.approx(next(row["value"] for row in rows if row["metric"] == "ece"), abs=1e-12)


def test_pooled_seeds_are_all_samples_together() -> None:
    parts = [draw(50, 3, seed) for seed in range(4)]
    pooled = Reliability.pool([measure_reliability(*part) for part in parts])
    whole = measure_reliability(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))
    np.testing.assert_array_equal(pooled.counts, whole.counts)
    np.testing.assert_allclose(pooled.confidence, whole.confidence, rtol=1e-12)
    np.testing.assert_allclose(pooled.accuracy, whole.accuracy, rtol=1e-12)
    assert pooled.ece == pytest.approx(whole.ece, rel=1e-12)


def test_a_worked_example() -> None:
    probabilities = np.array([[0.61, 0.39], [0.65, 0.35], [0.4, 0.6], [1.0, 0.0]])
    found = measure_reliability(np.array([0, 1, 1, 1]), probabilities)
    assert found.counts.tolist() == [0] * 9 + [3] + [0] * 5 + [1]
    assert found.confidence[9] == pytest.approx(0.62)
    assert found.accuracy[9] == pytest.approx(2 / 3)
    assert (found.confidence[15], found.accuracy[15]) == (1.0, 0.0)
    assert np.isnan(found.confidence[:9]).all()
    assert found.ece == pytest.approx((3 * (2 / 3 - 0.62) + 1) / 4)


def test_confidences_of_single_precision_that_exceed_one_are_certain() -> None:
    above = np.nextafter(np.float32(1), np.float32(2))
    found = measure_reliability(np.array([0]), np.array([[above, 0]], np.float32))
    assert found.counts[NUM_BINS] == 1
