"""The interaction predictor: looks the indexer's codes up in the codebook and decodes them into a trajectory."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor, nn

from trainables.conditions import Conditions, ConditionsConfig
from trainables.decoder import Decoder, DecoderConfig
from trainables.noise import SampleNoise
from trainables.transformer import autocast
from trainables.windows import Inputs


@dataclass(frozen=True, kw_only=True)
class PredictorConfig:
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    conditions: ConditionsConfig = field(default_factory=ConditionsConfig)
    precision: str = "float32"
    contact_weight: float = 0.1
    joint_weight: float = 2.0
    vertex_weight: float = 0.0
    # Share of training windows that see their true codes. The release trains on true codes alone and then meets
    # the indexer's for the first time when it is evaluated; here the rest are the indexer's own.
    true_codes: float = 0.25


class Predictor(nn.Module):
    def __init__(self, config: PredictorConfig) -> None:
        super().__init__()
        self.config = config
        self.conditions = Conditions(config.conditions)
        self.decoder = Decoder(config.decoder, self.conditions.width)

    def forward(
        self, latent_BTD: Tensor | None, inputs: Inputs, noise: SampleNoise | None = None
    ) -> tuple[Tensor, Tensor]:
        """Motion vectors (B,T,73) and contact logits (B,T,778); `latent_BTD` is None where there is no codebook."""
        with autocast(inputs.point_BS3, self.config.precision):
            motion, logits = self.decoder(latent_BTD, (self.conditions(inputs)[:, None],), noise)
        return motion.to(inputs.point_BS3.dtype), logits.to(inputs.point_BS3.dtype)
