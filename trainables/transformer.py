"""Transformer layers whose norm can be left out and whose dropout is keyed by sample."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainables.noise import SampleNoise

PRECISIONS = ("float32", "bfloat16")


def autocast(like: Tensor, precision: str) -> torch.autocast:
    """Run a network's matrix products in bfloat16 where `precision` says so; losses and the hand stay outside."""
    return torch.autocast(like.device.type, torch.bfloat16, enabled=precision == "bfloat16")


class Attention(nn.Module):
    """Multi-head attention through PyTorch's fused kernel."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x_BTD: Tensor, memory_BSD: Tensor) -> Tensor:
        query = self.query(x_BTD).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        key, value = self.key_value(memory_BSD).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return self.out(F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(-2))


class Layer(nn.Module):
    """Self-attention, cross-attention when `cross`, and a feed-forward of 4 widths; residual.

    The released network has no norm at all. `norm` puts a layer norm before each part (pre-norm, Xiong et al.
    2020), without which decoders deeper than one layer train poorly.
    """

    def __init__(self, width: int, heads: int, *, cross: bool, norm: bool, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.attention = Attention(width, heads)
        self.cross = Attention(width, heads) if cross else None
        self.feed_forward = nn.Sequential(nn.Linear(width, 4 * width), nn.ReLU(), nn.Linear(4 * width, width))
        parts = 3 if cross else 2
        self.norms = nn.ModuleList(nn.LayerNorm(width) if norm else nn.Identity() for _ in range(parts))

    def forward(
        self, x_BTD: Tensor, memory_BSD: Tensor | None = None, noise: SampleNoise | None = None
    ) -> Tensor:
        return self.rest(x_BTD + self.drop(self.self_attention(x_BTD), noise), memory_BSD, noise)

    def self_attention(self, x_BTD: Tensor) -> Tensor:
        y_BTD = self.norms[0](x_BTD)
        return self.attention(y_BTD, y_BTD)

    def rest(self, x_BTD: Tensor, memory_BSD: Tensor | None, noise: SampleNoise | None) -> Tensor:
        """What follows the self-attention."""
        if self.cross is not None and memory_BSD is not None:
            x_BTD = x_BTD + self.drop(self.cross(self.norms[1](x_BTD), memory_BSD), noise)
        return x_BTD + self.drop(self.feed_forward(self.norms[-1](x_BTD)), noise)

    def drop(self, y_BTD: Tensor, noise: SampleNoise | None) -> Tensor:
        return y_BTD if noise is None else noise.dropout(y_BTD, self.dropout)


def learned(*shape: int, scale: float = 0.02) -> nn.Parameter:
    """A learned tensor (queries, positions, stand-ins for unknown inputs)."""
    return nn.Parameter(torch.randn(*shape) * scale)
