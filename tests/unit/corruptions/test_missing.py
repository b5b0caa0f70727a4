"""As many inputs are missing as were asked for, and each has the mean of its own kind in its place."""

from __future__ import annotations

import torch
from scipy.stats import binomtest

from headrace.corruptions.base import Original
from headrace.corruptions.missing import Spec


def incomplete(inputs: torch.Tensor, mean: torch.Tensor, share: float, seed: int = 0) -> torch.Tensor:
    spec, original = Spec(kind="missing", strengths=(share,)), Original(False, mean=mean)
    return spec.apply(inputs, share, original, torch.Generator().manual_seed(seed))


def test_a_share_of_every_input_is_replaced_by_its_mean() -> None:
    inputs, mean = torch.full((5000, 2, 2), 7.0), torch.arange(4.0).reshape(2, 2)
    found = incomplete(inputs, mean, 0.3)
    for row in range(2):
        for column in range(2):
            own = found[:, row, column]
            is_missing = own == mean[row, column]
            assert torch.equal(own[~is_missing], inputs[~is_missing, row, column])
            assert binomtest(int(is_missing.sum()), 5000, 0.3).pvalue > 1e-3
    # Each by itself: as many samples are whole as chance says.
    assert binomtest(int((found == 7).all(dim=(1, 2)).sum()), 5000, 0.7**4).pvalue > 1e-3


def test_what_is_missing_is_so_at_every_larger_share() -> None:
    inputs, mean = torch.ones(400, 9), torch.zeros(9)
    some, more = (incomplete(inputs, mean, share) == 0 for share in (0.1, 0.6))
    assert bool(some.any())
    assert bool(more[some].all())
    assert more.sum() > 4 * some.sum()
    assert torch.equal(incomplete(inputs, mean, 0.1) == 0, some)
    assert not torch.equal(incomplete(inputs, mean, 0.1, seed=1) == 0, some)
