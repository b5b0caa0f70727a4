"""Noise has the size that was asked for, input by input."""

from __future__ import annotations

import numpy as np
import torch
from scipy.stats import kstest

from headrace.corruptions.base import Original
from headrace.corruptions.noise import Spec


def noisy(inputs: torch.Tensor, deviation: torch.Tensor, strength: float, seed: int = 0) -> torch.Tensor:
    spec = Spec(kind="noise", strengths=(strength,))
    original = Original(is_sequence=False, deviation=deviation)
    return spec.apply(inputs, strength, original, torch.Generator().manual_seed(seed))


def test_noise_is_gaussian_and_in_units_of_every_feature() -> None:
    inputs, deviations = torch.full((20_000, 3), 7.0), torch.tensor([0.0, 2.0, 0.1])
    found = noisy(inputs, deviations, 0.5, seed=1)
    assert torch.equal(found[:, 0], inputs[:, 0])
    for column, deviation in ((1, 1.0), (2, 0.05)):
        assert kstest((found[:, column].double() - 7).numpy(), "norm", (0, deviation)).pvalue > 1e-3
    assert abs(np.corrcoef(found[:, 1:].T.numpy())[0, 1]) < 0.03


def test_every_strength_has_the_same_noise() -> None:
    inputs, deviations = torch.zeros(50, 4), torch.ones(4)
    assert torch.equal(noisy(inputs, deviations, 0.5), 2 * noisy(inputs, deviations, 0.25))
    assert not torch.equal(noisy(inputs, deviations, 0.5), noisy(inputs, deviations, 0.5, seed=1))
