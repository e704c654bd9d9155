"""A diffusion predictor: the trajectory is drawn from noise, step by step, told the inputs (and codes, if any).

Trained as DDPM (Ho et al. 2020) with the cosine schedule of Nichol & Dhariwal 2021; the network predicts the clean
trajectory, as in MDM (Tevet et al. 2023); sampled as DDIM without noise (Song et al. 2021).
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainables.conditions import Conditions
from trainables.decoder import VERTICES, Decoder
from trainables.motion import CHANNELS
from trainables.noise import SampleNoise
from trainables.predictor import PredictorConfig
from trainables.transformer import autocast
from trainables.windows import Inputs


@dataclass(frozen=True, kw_only=True)
class DiffusionConfig:
    steps: int = 1000  # of the noise schedule
    sampling_steps: int = 10
    samples: int = 4  # drawn for a prediction, which is their mean


class Diffusion(nn.Module):
    """Denoises motion vectors and contact maps (0 and 1 as -1 and 1) together."""

    kept_S: Tensor

    def __init__(self, predictor: PredictorConfig, config: DiffusionConfig) -> None:
        super().__init__()
        self.config, self.diffusion = predictor, config
        decoder = predictor.decoder
        self.conditions = Conditions(predictor.conditions)
        self.decoder = Decoder(decoder, self.conditions.width)
        self.from_noisy = nn.Linear(CHANNELS + VERTICES, decoder.width)
        self.from_time = nn.Sequential(
            nn.Linear(decoder.width, decoder.width), nn.SiLU(), nn.Linear(decoder.width, decoder.width)
        )
        # Share of the signal's variance that is left after each step, from all of it to almost none.
        angle = (torch.arange(config.steps + 1) / config.steps + 0.008) / 1.008 * (math.pi / 2)
        kept = (angle.cos() / angle[0].cos()).square().clamp(1e-5, 1.0)
        self.register_buffer("kept_S", kept, persistent=False)

    def forward(
        self,
        noisy_BTX: Tensor,
        step_B: Tensor,
        latent_BTD: Tensor | None,
        told_B1C: Tensor,
        noise: SampleNoise | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Clean motion vectors (B,T,73) and contact logits (B,T,778) of noisy ones after `step_B` steps of noise."""
        with autocast(noisy_BTX, self.config.precision):
            start = self.from_noisy(noisy_BTX) + self.from_time(self._wave(step_B, noisy_BTX))[:, None]
            motion, logits = self.decoder(latent_BTD, (told_B1C,), noise, start)
        return motion.to(noisy_BTX.dtype), logits.to(noisy_BTX.dtype)

    def noised(self, motion_BTC: Tensor, contact_BTV: Tensor, noise: SampleNoise) -> tuple[Tensor, Tensor]:
        """Trajectories after a random number of steps, and that number: what training denoises."""
        clean_BTX = torch.cat([motion_BTC, 2 * contact_BTV.to(motion_BTC.dtype) - 1], dim=-1)
        step_B = 1 + (noise.uniform((), motion_BTC) * self.diffusion.steps).long().clamp_max(
            self.diffusion.steps - 1
        )
        kept_B11 = self.kept_S[step_B].to(motion_BTC.dtype)[:, None, None]
        draws_BTX = noise.normal(tuple(clean_BTX.shape[1:]), clean_BTX)
        return kept_B11.sqrt() * clean_BTX + (1 - kept_B11).sqrt() * draws_BTX, step_B

    def sample(self, latent_BTD: Tensor | None, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """Mean motion vectors (B,T,73) of several samples, and logits (B,T,778) of their mean contact probability.

        Every window starts from the same noise, so that a prediction does not depend on its neighbours in a batch.
        """
        told_B1C = self.conditions(inputs)[:, None]
        window = self.config.decoder.window
        generator = torch.Generator().manual_seed(0)
        motions, contacts = [], []
        for _ in range(self.diffusion.samples):
            x_TX = torch.randn(window, CHANNELS + VERTICES, generator=generator)
            x_BTX = x_TX.to(told_B1C.device, inputs.point_BS3.dtype).expand(len(inputs), -1, -1)
            motion_BTC, logits_BTV = self._denoise(x_BTX, latent_BTD, told_B1C)
            motions.append(motion_BTC)
            contacts.append(logits_BTV.sigmoid())
        return torch.stack(motions).mean(0), torch.logit(torch.stack(contacts).mean(0), eps=1e-6)

    def _denoise(self, x_BTX: Tensor, latent_BTD: Tensor | None, told_B1C: Tensor) -> tuple[Tensor, Tensor]:
        times = (
            torch.linspace(self.diffusion.steps, 0, self.diffusion.sampling_steps + 1).round().long().tolist()
        )
        for before, after in itertools.pairwise(times):
            step_B = torch.full((len(x_BTX),), before, device=x_BTX.device)
            motion_BTC, logits_BTV = self(x_BTX, step_B, latent_BTD, told_B1C)
            clean_BTX = torch.cat([motion_BTC, 2 * logits_BTV.sigmoid() - 1], dim=-1)
            kept, next_kept = self.kept_S[before], self.kept_S[after]
            draws_BTX = (x_BTX - kept.sqrt() * clean_BTX) / (1 - kept).sqrt()
            x_BTX = next_kept.sqrt() * clean_BTX + (1 - next_kept).sqrt() * draws_BTX
        return motion_BTC, logits_BTV

    def _wave(self, step_B: Tensor, like: Tensor) -> Tensor:
        """Sines and cosines of the step (B,D), as transformers write positions."""
        half = self.config.decoder.width // 2
        frequency = torch.exp(-math.log(10000.0) * torch.arange(half, device=like.device) / half)
        phase = step_B[:, None] * frequency
        wave_BD = torch.cat([phase.cos(), phase.sin()], dim=-1).to(like.dtype)
        return F.pad(wave_BD, (0, self.config.decoder.width - 2 * half))
