"""The interaction codebook: a residual VQ-VAE over hand motion and contact maps."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from trainables.conditions import Conditions, ConditionsConfig
from trainables.decoder import VERTICES, Decoder, DecoderConfig
from trainables.motion import CHANNELS, known_channels
from trainables.noise import SampleNoise
from trainables.quantizer import Quantized, QuantizerConfig, ResidualQuantizer
from trainables.transformer import Layer, autocast, learned
from trainables.windows import Batch, Inputs

TOLD = ("window", "frame")


@dataclass(frozen=True, kw_only=True)
class CodebookConfig:
    """The codebook keeps its own depth, so that one codebook serves predictors of every depth."""

    window: int = 30
    quantizer: QuantizerConfig = field(default_factory=QuantizerConfig)
    conditions: ConditionsConfig = field(default_factory=ConditionsConfig)
    # What the decoder is told: the inputs of the window ("window"), or every frame's own image and contact point, as
    # the release ("frame"). A predictor never sees these, so that codes made beside them leave out what they say.
    told: str = "window"
    encoder_depth: int = 1
    decoder_depth: int = 1
    heads: int = 1
    norm: bool = False
    dropout: float = 0.2  # of the decoder; the encoder has none
    precision: str = "float32"
    commitment_weight: float = 0.02
    contact_weight: float = 0.1
    joint_weight: float = 0.0


class Codebook(nn.Module):
    """Motion vectors and contact maps <-> codes. Where they come from (`MotionVector`) is the whole model's concern."""

    def __init__(self, config: CodebookConfig) -> None:
        super().__init__()
        self.config = config
        width = config.quantizer.width
        self.embed = nn.Linear(CHANNELS + VERTICES, width)
        self.position_TD = learned(config.window, width, scale=0.5)
        self.encoder = nn.ModuleList(
            Layer(width, config.heads, cross=False, norm=config.norm, dropout=0.0)
            for _ in range(config.encoder_depth)
        )
        self.quantizer = ResidualQuantizer(config.quantizer)
        self.conditions = Conditions(config.conditions)
        told: tuple[int, ...] = (self.conditions.width,)
        if config.told == "frame":
            told = (self.conditions.text.width, self.conditions.of_a_frame)
        decoder = DecoderConfig(
            window=config.window,
            width=width,
            depth=config.decoder_depth,
            heads=config.heads,
            norm=config.norm,
            dropout=config.dropout,
            latent=width,
        )
        self.decoder = Decoder(decoder, *told)
        # What the encoder reads where the camera or the contact is unknown.
        self.unknown_motion_C = nn.Parameter(torch.zeros(CHANNELS))
        self.unknown_contact_V = nn.Parameter(torch.zeros(VERTICES))

    def encode(self, target_BTC: Tensor, batch: Batch, noise: SampleNoise | None = None) -> Quantized:
        """Latents and code indices of true motion vectors (B,T,73) and contact."""
        known_BTC = known_channels(batch.camera_known_BT)
        motion_BTC = target_BTC.where(known_BTC, self.unknown_motion_C)
        contact_BTV = batch.contact_BTV.to(target_BTC.dtype)
        contact_BTV = contact_BTV.where(batch.contact_known_BT[..., None], self.unknown_contact_V)
        with autocast(target_BTC, self.config.precision):
            x_BTD = self.embed(torch.cat([motion_BTC, contact_BTV], dim=-1)).relu()
            x_BTD = x_BTD + self.position_TD
            for layer in self.encoder:
                x_BTD = layer(x_BTD)
        return self.quantizer(x_BTD.to(target_BTC.dtype), noise)

    def decode(
        self, latent_BTD: Tensor, told: Inputs, noise: SampleNoise | None = None
    ) -> tuple[Tensor, Tensor]:
        """Motion vectors (B,T,73) and contact logits (B,T,778) of latents."""
        with autocast(latent_BTD, self.config.precision):
            every = self.config.told == "frame"
            features = self.conditions.each_frame(told) if every else (self.conditions(told)[:, None],)
            motion, logits = self.decoder(latent_BTD, features, noise)
        return motion.to(latent_BTD.dtype), logits.to(latent_BTD.dtype)
