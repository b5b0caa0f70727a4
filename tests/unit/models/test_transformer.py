"""The transformer family, against attention written out and torch's own encoder layer."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from headrace.batching.batches import Padded
from headrace.datasets.base import DataInfo
from headrace.layers.attention import Attention, EncoderBlock, sinusoids
from headrace.models.base import ModelSpec, Shapes
from headrace.registry import restore
from sample_sequences import RAGGED

SEQUENCES = Shapes((6, 4), 3, "classification")
THEIR_NAMES = {
    "attention.project.": "self_attn.in_proj_",
    "attention.merge.": "self_attn.out_proj.",
    "feedforward.0.": "linear1.",
    "feedforward.3.": "linear2.",
    "attention_norm.": "norm1.",
    "feedforward_norm.": "norm2.",
}


def transformer(**parameters: Any) -> ModelSpec:
    return restore("models", {"kind": "transformer", "width": 12, "heads": 3, **parameters}, ModelSpec)


def build(shapes: Shapes, **parameters: Any) -> nn.Module:
    torch.manual_seed(0)
    return transformer(**parameters).build(shapes)


def attend(steps: np.ndarray, weights: dict[str, np.ndarray], heads: int) -> np.ndarray:
    """(steps, width) of one sequence, every step and head one after the other."""
    width = steps.shape[1]
    projected = steps @ weights["project.weight"].T + weights["project.bias"]
    queries, keys, values = (projected[:, i * width : (i + 1) * width] for i in range(3))
    size, out = width // heads, np.zeros_like(steps)
    for head in range(heads):
        own = slice(head * size, (head + 1) * size)
        for i in range(len(steps)):
            powers = np.exp([queries[i, own] @ keys[j, own] / math.sqrt(size) for j in range(len(steps))])
            out[i, own] = powers @ values[:, own] / powers.sum()
    result: np.ndarray = out @ weights["merge.weight"].T + weights["merge.bias"]
    return result


def test_attention_is_a_softmax_over_the_real_steps_alone() -> None:
    torch.manual_seed(0)
    attention = Attention(6, 2, 0.0).double()
    weights = {name: value.numpy() for name, value in attention.state_dict().items()}
    steps, lengths = torch.randn(3, 5, 6, dtype=torch.float64), torch.tensor([5, 2, 1])
    found = attention(steps, Padded(steps, lengths).mask).detach().numpy()
    for i, length in enumerate(lengths.tolist()):
        expected = attend(steps[i, :length].numpy(), weights, 2)
        assert found[i, :length] == pytest.approx(expected, abs=1e-12)


def test_a_block_is_the_encoder_layer_of_torch_with_norms_first() -> None:
    torch.manual_seed(0)
    block = EncoderBlock(12, 3, 24, 0.0)
    peer = nn.TransformerEncoderLayer(12, 3, 24, 0.0, activation="gelu", batch_first=True, norm_first=True)
    own, ends = block.state_dict(), ("weight", "bias")
    peer.load_state_dict({theirs + end: own[ours + end] for ours, theirs in THEIR_NAMES.items() for end in ends})
    steps = torch.randn(4, 7, 12)
    mask = Padded(steps, torch.tensor([7, 3, 1, 5])).mask
    expected = peer(steps, src_key_padding_mask=~mask)
    assert torch.allclose(block(steps, mask)[mask], expected[mask], atol=1e-5)
    assert torch.allclose(block(steps, None), peer(steps), atol=1e-5)


@pytest.mark.parametrize("width", [1, 7, 12])
def test_sinusoids_are_those_of_the_paper(width: int) -> None:
    found = sinusoids(50, width, torch.device("cpu"))
    assert found.shape == (50, width)
    for step in (0, 1, 49):
        for i in range(width):
            angle = step / 10_000 ** (2 * (i // 2) / width)
            assert float(found[step, i]) == pytest.approx(math.cos(angle) if i % 2 else math.sin(angle), abs=1e-5)


@pytest.mark.parametrize(("position", "counts"), [("none", False), ("sinusoidal", True), ("learned", True)])
def test_the_order_of_steps_counts_only_where_they_say_where_they_are(position: str, counts: bool) -> None:
    inputs = torch.randn(2, 6, 4)
    module = build(SEQUENCES, position=position).eval()
    assert torch.allclose(module(inputs), module(inputs.flip(1)), atol=1e-5) != counts


def test_sequences_may_be_longer_than_any_seen() -> None:
    module = build(RAGGED["measurements"]).eval()
    assert torch.isfinite(module(torch.randn(1, 2000, 4))).all()


def test_only_training_drops_units() -> None:
    inputs, module = torch.randn(4, 6, 4), build(SEQUENCES, dropout=0.3)
    assert not torch.equal(module(inputs), module(inputs))
    module.eval()
    assert torch.equal(module(inputs), module(inputs))


@pytest.mark.parametrize(("read", "more"), [("mean", 0), ("token", 12)])
def test_the_number_of_parameters_is_known(read: str, more: int) -> None:
    module, width = build(SEQUENCES, layers=2, read=read), 12
    block = 12 * width**2 + 13 * width
    expected = (4 + 1) * width + 2 * block + 2 * width + (width + 1) * 3 + more
    assert sum(parameter.numel() for parameter in module.parameters()) == expected


def test_heads_that_cannot_share_the_width_are_refused() -> None:
    with pytest.raises(ValueError, match="width: 10 cannot be shared by heads: 4"):
        transformer(width=10, heads=4)


def test_places_are_learned_only_where_their_number_is_fixed() -> None:
    info = DataInfo(("classification",), 9, (4,), ("feature",), layout="ragged")
    transformer().check(info)
    with pytest.raises(ValueError, match="position: learned needs sequences of one length"):
        transformer(position="learned").check(info)
    transformer(position="learned").check(DataInfo(("classification",), 9, (6, 4), ("step", "feature")))


def test_only_sequences_are_read() -> None:
    with pytest.raises(ValueError, match="transformer reads sequences"):
        transformer().check(DataInfo(("classification",), 9, (8, 8, 3), ("height", "width", "channel")))
