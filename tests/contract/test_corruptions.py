"""Every kind of corruption makes a batch worse, sample by sample, and leaves the original alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from headrace.corruptions.base import CorruptionSpec, Original
from headrace.datasets.base import DataInfo
from headrace.registry import list_kinds

INFOS = {
    "flat": DataInfo(("classification",), 9, (6,), ("feature",)),
    "image": DataInfo(("classification",), 9, (5, 4), ("height", "width")),
    "colours": DataInfo(("classification",), 9, (5, 4, 3), ("height", "width", "channel")),
    "sequence": DataInfo(("classification",), 9, (7, 2), ("time", "feature")),
}


@pytest.mark.parametrize("kind", list_kinds("corruptions"))
def test_every_kind_makes_inputs_worse(kind: str, make_example: Callable[..., Any]) -> None:
    spec: CorruptionSpec = make_example("corruptions", kind)
    assert spec.unit
    assert spec.needs
    fitting = {name: info for name, info in INFOS.items() if spec.misfit(info) is None}
    assert fitting
    for name, info in fitting.items():
        inputs = torch.randn(64, *info.shape, generator=torch.Generator().manual_seed(1)) + 3
        known = (inputs.mean(dim=0), inputs.std(dim=0)) if spec.reads_training else (None, None)
        original = Original(name == "sequence", *known)
        before = inputs.clone()

        def worse(part: torch.Tensor, generator: torch.Generator, original: Original = original) -> torch.Tensor:
            return spec.apply(part, spec.strengths[0], original, generator)

        found = worse(inputs, torch.Generator().manual_seed(5))
        assert (found.shape, found.dtype) == (inputs.shape, torch.float32)
        assert torch.isfinite(found).all()
        assert torch.equal(inputs, before)
        assert not torch.equal(found, inputs)
        assert torch.equal(worse(inputs, torch.Generator().manual_seed(5)), found)
        if not spec.reads_training:
            # What draws nothing does not look at a sample's neighbours in its batch.
            assert torch.allclose(worse(inputs[:16], torch.Generator()), found[:16], atol=1e-6)
