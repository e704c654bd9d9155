"""The interaction predictor: looks the indexer's codes up in the codebook and decodes them into a trajectory."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from trainables.conditions import Conditions
from trainables.decoder import Decoder
from trainables.noise import SampleNoise
from trainables.windows import Inputs


@dataclass(frozen=True, kw_only=True)
class PredictorConfig:
    window: int = 30
    width: int = 128
    depth: int = 1
    heads: int = 4
    norm: bool = True
    dropout: float = 0.1
    condition_width: int = 64
    contact_weight: float = 0.1
    joint_weight: float = 2.0
    # Share of training windows that see their true codes. The release trains on true codes alone and then meets
    # the indexer's for the first time when it is evaluated; here the rest are the indexer's own.
    true_codes: float = 0.25


class Predictor(nn.Module):
    def __init__(self, config: PredictorConfig) -> None:
        super().__init__()
        self.config = config
        self.conditions = Conditions(config.condition_width)
        self.decoder = Decoder(
            width=config.width,
            window=config.window,
            conditions=self.conditions.width,
            depth=config.depth,
            heads=config.heads,
            norm=config.norm,
            dropout=config.dropout,
        )

    def forward(
        self, latent_BTD: Tensor, inputs: Inputs, noise: SampleNoise | None = None
    ) -> tuple[Tensor, Tensor]:
        """Motion vectors (B,T,73) and contact logits (B,T,778)."""
        return self.decoder(latent_BTD, self.conditions(inputs), noise)
