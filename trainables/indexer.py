"""The indexer: which codes follow from text, image and contact point."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor, nn

from trainables.conditions import Conditions, ConditionsConfig
from trainables.noise import SampleNoise
from trainables.transformer import autocast, learned
from trainables.windows import Inputs


@dataclass(frozen=True, kw_only=True)
class IndexerConfig:
    window: int = 30
    codes: int = 256
    quantizers: int = 3
    width: int = 128
    dropout: float = 0.0  # of the conditions' summary
    precision: str = "float32"
    conditions: ConditionsConfig = field(default_factory=ConditionsConfig)


class Indexer(nn.Module):
    """All T x Q codes at once from a single memory token: one token a frame, with a head for each quantizer.

    The released indexer runs a decoder layer of T x Q learned queries over one memory token. Its self-attention
    never sees the input, and cross-attention to a single token has weight 1 always: what the layer computes is a
    learned constant a query plus a projection of the token, then a feed-forward. Here that stands once a frame and not
    once a frame and quantizer, and the quantizers differ in their rows of the last layer: a fifth of the arithmetic
    at six quantizers; docs/log.md compares their errors.
    """

    def __init__(self, config: IndexerConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.conditions = Conditions(config.conditions)
        self.memory = nn.Sequential(
            nn.Linear(self.conditions.width, 4 * width), nn.ReLU(), nn.Linear(4 * width, width), nn.ReLU()
        )
        self.value = nn.Linear(width, width)
        self.query_TD = learned(config.window, width, scale=1.0)
        self.norm_query = nn.LayerNorm(width)
        self.feed_forward = nn.Sequential(nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width))
        self.norm = nn.LayerNorm(width)
        self.classify = nn.Linear(width, config.quantizers * config.codes)

    def forward(self, inputs: Inputs, noise: SampleNoise | None = None) -> Tensor:
        """Code logits (B,T,Q,K)."""
        with autocast(inputs.point_BS3, self.config.precision):
            told_BD = self.memory(self.conditions(inputs))
            if noise is not None:
                told_BD = noise.dropout(told_BD, self.config.dropout)
            x_BTD = self.norm_query(self.query_TD + self.value(told_BD)[:, None])
            x_BTD = self.norm(x_BTD + self.feed_forward(x_BTD))
            logits = self.classify(x_BTD)
        return logits.to(inputs.point_BS3.dtype).unflatten(-1, (self.config.quantizers, self.config.codes))
