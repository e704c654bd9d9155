"""Latents and conditions -> trajectory: the codebook's decoder and, trained anew, the interaction predictor."""

from __future__ import annotations

from torch import Tensor, nn

from trainables.motion import CHANNELS
from trainables.noise import SampleNoise
from trainables.transformer import Layer, learned

VERTICES = 778


class Decoder(nn.Module):
    """A transformer decoder with learned queries over one memory token a frame.

    The release gives neither its memory nor its encoder a notion of time, so its queries cannot tell the frames of
    the memory apart; here each frame of the memory carries a learned position. Its queries are the same for every
    window; here the conditions are added to them, a shorter way to the output than through attention. What does not
    vary over frames (the conditions) is projected once a window and broadcast.
    """

    def __init__(
        self, *, width: int, window: int, conditions: int, depth: int, heads: int, norm: bool, dropout: float
    ) -> None:
        super().__init__()
        self.from_latent = nn.Linear(width, width)
        self.from_conditions = nn.Linear(conditions, width)
        self.query_conditions = nn.Linear(conditions, width)
        self.position_TD = learned(window, width, scale=0.5)
        self.query_TD = learned(window, width, scale=0.5)
        self.layers = nn.ModuleList(
            Layer(width, heads, cross=True, norm=norm, dropout=dropout) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(width) if norm else nn.Identity()
        self.pose = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, CHANNELS))
        self.contact = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, VERTICES))

    def forward(
        self, latent_BTD: Tensor, conditions_BC: Tensor, noise: SampleNoise | None = None
    ) -> tuple[Tensor, Tensor]:
        """Motion vectors (B,T,73) and contact logits (B,T,778)."""
        told_B1D = self.from_conditions(conditions_BC)[:, None]
        memory_BTD = (self.from_latent(latent_BTD) + told_B1D).relu() + self.position_TD
        x_BTD = self.query_TD + self.query_conditions(conditions_BC)[:, None]
        for layer in self.layers:
            x_BTD = layer(x_BTD, memory_BTD, noise)
        x_BTD = self.norm(x_BTD)
        return self.pose(x_BTD), self.contact(x_BTD)
