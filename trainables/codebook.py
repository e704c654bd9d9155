"""The interaction codebook: a residual VQ-VAE over hand motion and contact maps."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from trainables.conditions import Conditions
from trainables.decoder import VERTICES, Decoder
from trainables.hand import Hand
from trainables.losses import contact_loss, reconstruction_loss
from trainables.motion import CHANNELS, MotionVector, to_first
from trainables.noise import SampleNoise
from trainables.quantizer import Quantized, QuantizerConfig, ResidualQuantizer
from trainables.transformer import Layer, learned
from trainables.windows import Batch


@dataclass(frozen=True, kw_only=True)
class CodebookConfig:
    """The codebook keeps its own depth, so that one codebook serves predictors of every depth."""

    window: int = 30
    quantizer: QuantizerConfig = field(default_factory=QuantizerConfig)
    encoder_depth: int = 1
    decoder_depth: int = 1
    heads: int = 1
    norm: bool = False
    dropout: float = 0.2  # of the decoder; the encoder has none
    condition_width: int = 64
    commitment_weight: float = 0.02
    contact_weight: float = 0.1


class Codebook(nn.Module):
    def __init__(self, config: CodebookConfig) -> None:
        super().__init__()
        self.config = config
        width = config.quantizer.width
        self.motion = MotionVector()
        self.embed = nn.Linear(CHANNELS + VERTICES, width)
        self.position_TD = learned(config.window, width, scale=0.5)
        self.encoder = nn.ModuleList(
            Layer(width, config.heads, cross=False, norm=config.norm, dropout=0.0)
            for _ in range(config.encoder_depth)
        )
        self.quantizer = ResidualQuantizer(config.quantizer)
        self.conditions = Conditions(config.condition_width)
        self.decoder = Decoder(
            width=width,
            window=config.window,
            conditions=self.conditions.width,
            depth=config.decoder_depth,
            heads=config.heads,
            norm=config.norm,
            dropout=config.dropout,
        )

    def target(self, batch: Batch, hand: Hand) -> Tensor:
        """True motion vectors (B,T,73)."""
        return self.motion.encode(to_first(batch, hand), self.motion.anchor(batch))

    def encode(self, target_BTC: Tensor, batch: Batch, noise: SampleNoise | None = None) -> Quantized:
        """Latents and code indices of true motion and contact. Unknown contact and camera read as zero."""
        motion_BTC = target_BTC * batch.camera_known_BT[..., None]
        contact_BTV = batch.contact_BTV * batch.contact_known_BT[..., None]
        x_BTD = self.embed(torch.cat([motion_BTC, contact_BTV.to(motion_BTC.dtype)], dim=-1)).relu()
        x_BTD = x_BTD + self.position_TD
        for layer in self.encoder:
            x_BTD = layer(x_BTD)
        return self.quantizer(x_BTD, noise)

    def loss(self, batch: Batch, hand: Hand, noise: SampleNoise | None) -> tuple[Tensor, Tensor]:
        """(training loss, code indices (B,T,Q)); `noise` None evaluates with argmin and without dropout."""
        target_BTC = self.target(batch, hand)
        quantized = self.encode(target_BTC, batch, noise)
        motion_BTC, logits_BTV = self.decoder(quantized.latent_BTD, self.conditions(batch), noise)
        loss = reconstruction_loss(motion_BTC, target_BTC, batch)
        loss = loss + self.config.contact_weight * contact_loss(logits_BTV, batch)
        return loss + self.config.commitment_weight * quantized.commitment, quantized.index_BTQ
