"""Latents and conditions -> trajectory: the codebook's decoder and, trained anew, the interaction predictor."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from trainables.motion import CHANNELS
from trainables.noise import SampleNoise
from trainables.transformer import Layer, learned

VERTICES = 778


@dataclass(frozen=True, kw_only=True)
class DecoderConfig:
    window: int = 30
    width: int = 128
    depth: int = 1
    heads: int = 1
    norm: bool = True
    dropout: float = 0.1
    latent: int | None = None  # width of the codebook's latents; None: there is no codebook


class Project(nn.Module):
    """A linear layer over features side by side, some of a window and some of each frame: each at its own rate."""

    def __init__(self, widths: tuple[int, ...], width: int) -> None:
        super().__init__()
        self.parts = nn.ModuleList(nn.Linear(before, width, bias=i == 0) for i, before in enumerate(widths))

    def forward(self, told: tuple[Tensor, ...]) -> Tensor:
        """(B,S,width) of features, each (B,1,F) or (B,T,F)."""
        first, *others = (part(x) for part, x in zip(self.parts, told, strict=True))
        return sum(others, first)


class Decoder(nn.Module):
    """A transformer decoder with learned queries over one memory token a frame.

    The release gives neither its memory nor its encoder a notion of time, so its queries cannot tell the frames of
    the memory apart; here each frame of the memory carries a learned position. Its queries are the same for every
    window, and so is their first self-attention: it is computed once and shared over the batch. After it the
    conditions are added to the queries, a shorter way to the output than through attention. What does not vary over
    frames is projected once a window and broadcast.
    """

    def __init__(self, config: DecoderConfig, *conditions: int) -> None:
        super().__init__()
        width = config.width
        self.from_latent = nn.Linear(config.latent, width) if config.latent else None
        self.from_conditions = Project(conditions, width)
        self.query_conditions = Project(conditions, width)
        self.position_TD = learned(config.window, width, scale=0.5)
        self.query_TD = learned(config.window, width, scale=0.5)
        self.layers = nn.ModuleList(
            Layer(width, config.heads, cross=True, norm=config.norm, dropout=config.dropout)
            for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(width) if config.norm else nn.Identity()
        self.pose = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, CHANNELS))
        self.contact = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, VERTICES))

    def forward(
        self,
        latent_BTD: Tensor | None,
        told: tuple[Tensor, ...],
        noise: SampleNoise | None = None,
        start_BTD: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Motion vectors (B,T,73) and contact logits (B,T,778).

        Args:
            latent_BTD: latents of the codebook, where there is one.
            told: conditions, each (B,1,C) where a window's or (B,T,C) where each frame's.
            start_BTD: added to the queries from the start (a denoiser's noisy motion); nothing is shared then.
        """
        memory_BTD = self.from_conditions(told)
        if self.from_latent is not None:
            memory_BTD = memory_BTD + self.from_latent(latent_BTD)
        memory_BTD = memory_BTD.relu() + self.position_TD
        first, *others = self.layers
        assert isinstance(first, Layer)
        told_BTD = self.query_conditions(told)
        x_BTD = self.query_TD[None]
        if start_BTD is not None:
            x_BTD = x_BTD + start_BTD + told_BTD
            told_BTD = 0.0
        # The dropout mask is each sample's own, although what it falls on may be shared.
        attended_BTD = first.self_attention(x_BTD).expand(len(memory_BTD), -1, -1)
        x_BTD = x_BTD + told_BTD + first.drop(attended_BTD, noise)
        x_BTD = first.rest(x_BTD, memory_BTD, noise)
        for layer in others:
            x_BTD = layer(x_BTD, memory_BTD, noise)
        x_BTD = self.norm(x_BTD)
        return self.pose(x_BTD), self.contact(x_BTD)
