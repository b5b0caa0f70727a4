"""Self-attention over sequences (Vaswani et al. 2017, https://arxiv.org/abs/1706.03762)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

LONGEST_WAVE = 10_000.0
"""Steps in a radian of the slowest wave, as in the paper."""


def sinusoids(num_steps: int, width: int, device: torch.device) -> Tensor:
    """(steps, width) float32: where a step is, as sines and cosines by turns, whose wavelengths grow geometrically."""
    steps = torch.arange(num_steps, dtype=torch.float32, device=device)
    waves = torch.arange(0, width, 2, dtype=torch.float32, device=device)
    angles = steps[:, None] * torch.exp(waves * (-math.log(LONGEST_WAVE) / width))
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)[:, :width]


class Attention(nn.Module):
    """Every step looks at all real steps of its sequence, in several heads; a causal one not at those behind it."""

    def __init__(self, width: int, heads: int, dropout: float, *, is_causal: bool = False) -> None:
        super().__init__()
        self.heads, self.dropout, self.is_causal = heads, dropout, is_causal
        self.project = nn.Linear(width, 3 * width)
        self.merge = nn.Linear(width, width)

    def forward(self, steps: Tensor, mask: Tensor | None) -> Tensor:
        """(batch, steps, width) to the same; mask (batch, steps) bool says which steps are real, None that all are.

        Causal attention takes no mask: no real step looks at what fills up, which lies behind it.
        """
        batch, num_steps, width = steps.shape
        # (queries, keys, values; batch; heads; steps; numbers a head)
        projected = self.project(steps).view(batch, num_steps, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        queries, keys, values = projected.unbind(0)
        seen = functional.scaled_dot_product_attention(
            queries,
            keys,
            values,
            attn_mask=None if mask is None else mask[:, None, None, :],
            dropout_p=self.dropout if self.training else 0.0,
            is_causal=self.is_causal,
        )
        output: Tensor = self.merge(seen.transpose(1, 2).reshape(batch, num_steps, width))
        return output


class EncoderBlock(nn.Module):
    """Attention, then two linear layers for every step alone; both are added to what they read.

    Layers are normalised before, not after, which learns without a warm-up: Xiong et al. 2020,
    https://arxiv.org/abs/2002.04745.
    """

    def __init__(self, width: int, heads: int, feedforward: int, dropout: float, *, is_causal: bool = False) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = Attention(width, heads, dropout, is_causal=is_causal)
        self.feedforward_norm = nn.LayerNorm(width)
        self.feedforward = nn.Sequential(
            nn.Linear(width, feedforward), nn.GELU(), nn.Dropout(dropout), nn.Linear(feedforward, width)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, steps: Tensor, mask: Tensor | None) -> Tensor:
        """(batch, steps, width) to the same; mask as in Attention."""
        steps = steps + self.dropout(self.attention(self.attention_norm(steps), mask))
        output: Tensor = steps + self.dropout(self.feedforward(self.feedforward_norm(steps)))
        return output


class Encoder(nn.Module):
    """Blocks on top of each other, and a last normalisation. With causal attention they decode."""

    def __init__(
        self, layers: int, width: int, heads: int, feedforward: int, dropout: float, *, is_causal: bool = False
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            EncoderBlock(width, heads, feedforward, dropout, is_causal=is_causal) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, steps: Tensor, mask: Tensor | None) -> Tensor:
        """(batch, steps, width) to the same; mask as in Attention."""
        for block in self.blocks:
            steps = block(steps, mask)
        output: Tensor = self.norm(steps)
        return output
