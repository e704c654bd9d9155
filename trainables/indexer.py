"""The indexer: which codes follow from text, image and contact point."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from trainables.conditions import Conditions
from trainables.transformer import learned
from trainables.windows import Inputs


@dataclass(frozen=True, kw_only=True)
class IndexerConfig:
    window: int = 30
    codes: int = 256
    quantizers: int = 3
    width: int = 128
    condition_width: int = 64


class Indexer(nn.Module):
    """All T x Q codes at once from a single memory token.

    The released indexer runs a decoder layer of T x Q learned queries over one memory token. Its self-attention
    never sees the input, and cross-attention to a single token has weight 1 always: what the layer computes is a
    learned constant a query plus a projection of the token, then a feed-forward, and that is what stands here.
    """

    def __init__(self, config: IndexerConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.conditions = Conditions(config.condition_width)
        self.memory = nn.Sequential(
            nn.Linear(self.conditions.width, 4 * width), nn.ReLU(), nn.Linear(4 * width, width), nn.ReLU()
        )
        self.value = nn.Linear(width, width)
        self.query_SD = learned(config.window * config.quantizers, width, scale=1.0)
        self.norm_query = nn.LayerNorm(width)
        self.feed_forward = nn.Sequential(nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width))
        self.norm = nn.LayerNorm(width)
        self.classify = nn.Sequential(
            nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, config.codes)
        )

    def forward(self, inputs: Inputs) -> Tensor:
        """Code logits (B,T,Q,K)."""
        value_B1D = self.value(self.memory(self.conditions(inputs)))[:, None]
        x_BSD = self.norm_query(self.query_SD + value_B1D)
        x_BSD = self.norm(x_BSD + self.feed_forward(x_BSD))
        return self.classify(x_BSD).unflatten(1, (self.config.window, self.config.quantizers))
