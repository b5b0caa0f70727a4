"""Sequences of different lengths, and what a batch must not do to them."""

from __future__ import annotations

import torch
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from headrace.batching.batches import Padded
from headrace.models.base import Shapes

NUM_CODES = 6
RAGGED = {
    "codes": Shapes((), 3, "classification", "ragged", NUM_CODES),
    "measurements": Shapes((4,), 3, "classification", "ragged"),
    "numbers": Shapes((), 3, "classification", "ragged"),
}
LENGTHS = st.lists(st.integers(0, 9), min_size=1, max_size=5)


def draw_rows(shapes: Shapes, lengths: list[int], seed: int = 0) -> list[Tensor]:
    """A sequence of each length."""
    generator = torch.Generator().manual_seed(seed)
    if shapes.num_codes:
        return [torch.randint(shapes.num_codes, (length,), generator=generator) for length in lengths]
    return [torch.randn((length, *shapes.inputs), generator=generator) for length in lengths]


def batch_of(rows: list[Tensor]) -> Padded:
    """Filled up to the longest."""
    return Padded(pad_sequence(rows, batch_first=True), torch.tensor([len(row) for row in rows]))


@torch.no_grad()
def assert_neighbours_change_nothing(module: nn.Module, rows: list[Tensor]) -> None:
    """Every sequence gives alone what it gives beside longer ones."""
    module.eval()
    together = module(batch_of(rows))
    alone = torch.cat([module(batch_of([row])) for row in rows])
    assert torch.isfinite(together).all()
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def assert_filling_changes_nothing(module: nn.Module, rows: list[Tensor], num_codes: int) -> None:
    """Whatever stands behind the ends, and however much of it: the same bits where only its values differ."""
    module.eval()
    batch = batch_of(rows)
    longer = torch.cat([batch.values, torch.zeros_like(batch.values)], dim=1)
    other = longer.clone()
    behind = ~Padded(longer, batch.lengths).mask
    other[behind] = num_codes - 1 if num_codes else 1e4
    one, two = (module(Padded(values, batch.lengths)) for values in (longer, other))
    torch.testing.assert_close(one, two, rtol=0, atol=0)
    torch.testing.assert_close(one, module(batch), rtol=1e-5, atol=1e-5)
