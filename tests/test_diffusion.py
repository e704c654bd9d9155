"""Diffusion: the noise schedule, and what sampling leaves of a perfect denoiser."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from trainables.conditions import ConditionsConfig
from trainables.decoder import VERTICES, DecoderConfig
from trainables.diffusion import Diffusion, DiffusionConfig
from trainables.motion import CHANNELS
from trainables.noise import SampleNoise
from trainables.predictor import PredictorConfig
from trainables.windows import Inputs

WINDOW, BATCH = 8, 16


def diffusion(sampling_steps: int = 4, samples: int = 2, latent: int | None = None) -> Diffusion:
    torch.manual_seed(0)
    config = PredictorConfig(
        decoder=DecoderConfig(window=WINDOW, width=16, heads=2, latent=latent),
        conditions=ConditionsConfig(width=16, contact_encoder="points"),
    )
    return Diffusion(config, DiffusionConfig(sampling_steps=sampling_steps, samples=samples)).eval()


def inputs(count: int = BATCH) -> Inputs:
    generator = torch.Generator().manual_seed(0)
    return Inputs(
        texts=["push left", "push right"],
        text_B=torch.arange(count) % 2,
        text_BF=None,
        text_known_B=torch.ones(count, dtype=torch.bool),
        image_BSX=torch.randint(0, 255, (count, 1, 64, 64, 3), generator=generator).to(torch.uint8),
        image_known_BS=torch.ones(count, 1, dtype=torch.bool),
        point_BS3=torch.randn(count, 1, 3, generator=generator),
        point_known_BS=torch.ones(count, 1, dtype=torch.bool),
    )


def some(of: Inputs, rows: slice) -> Inputs:
    fields = {k: v[rows] if isinstance(v, Tensor) else v for k, v in vars(of).items()}
    return Inputs(**fields)


def test_the_signal_falls_from_all_to_almost_none() -> None:
    kept_S = diffusion().kept_S
    assert kept_S.shape == (1001,) and kept_S[0] == 1.0 and 0 < kept_S[-1] < 1e-4
    assert (kept_S.diff()[:-2] < 0).all() and (kept_S.diff() <= 0).all()  # the last three are the floor

    # Nichol & Dhariwal 2021, equation 17, with s = 0.008.
    def f(t: float) -> float:
        return math.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2

    assert float(kept_S[500]) == pytest.approx(f(0.5) / f(0), rel=1e-5)
    assert "kept_S" not in diffusion().state_dict()  # it follows from the config


def test_training_sees_every_share_of_noise() -> None:
    network = diffusion()
    generator = torch.Generator().manual_seed(0)
    motion = torch.randn(4096, 1, CHANNELS, generator=generator)
    contact = (torch.rand(4096, 1, VERTICES, generator=generator) < 0.1).float()
    noisy, step = network.noised(motion, contact, SampleNoise(0, 0, 0, 4096))
    assert int(step.min()) >= 1 and int(step.max()) <= 1000 and step.unique().numel() > 900
    kept = network.kept_S[step][:, None, None]
    clean = torch.cat([motion, 2 * contact - 1], dim=-1)
    draws = (noisy - kept.sqrt() * clean) / (1 - kept).sqrt()
    some_noise = step > 50  # where there is little, dividing by it loses digits
    assert abs(float(draws[some_noise].mean())) < 0.01 and abs(float(draws[some_noise].std()) - 1) < 0.01
    assert (noisy[step < 5] - clean[step < 5]).abs().max() < 0.5


@pytest.mark.parametrize("sampling_steps", [1, 4, 10])
def test_a_perfect_denoiser_is_a_fixed_point_of_sampling(
    monkeypatch: pytest.MonkeyPatch, sampling_steps: int
) -> None:
    """Told the truth at every step, sampling ends there, and on its way is where training's noise would be."""
    network, told = diffusion(sampling_steps, samples=3), inputs()
    generator = torch.Generator().manual_seed(1)
    motion = torch.randn(BATCH, WINDOW, CHANNELS, generator=generator)
    contact = (torch.rand(BATCH, WINDOW, VERTICES, generator=generator) < 0.3).float()
    logits = 60 * (contact - 0.5)
    clean = torch.cat([motion, 2 * contact - 1], dim=-1)
    seen: list[tuple[int, Tensor]] = []

    def perfect(noisy: Tensor, step_B: Tensor, *rest: object) -> tuple[Tensor, Tensor]:
        seen.append((int(step_B[0]), noisy))
        return motion, logits

    monkeypatch.setattr(network, "forward", perfect)
    sampled, found = network.sample(None, told)
    torch.testing.assert_close(sampled, motion, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.sigmoid(), contact, atol=1e-4, rtol=0)
    assert len(seen) == 3 * sampling_steps and [step for step, _ in seen[:1]] == [1000]
    for first in range(0, len(seen), sampling_steps):
        start = seen[first][1]  # pure noise
        assert abs(float(start.std()) - 1) < 0.05
        for step, noisy in seen[first : first + sampling_steps]:
            kept = network.kept_S[step]
            drawn = (start - network.kept_S[-1].sqrt() * clean) / (1 - network.kept_S[-1]).sqrt()
            expected = kept.sqrt() * clean + (1 - kept).sqrt() * drawn
            torch.testing.assert_close(noisy, expected, atol=1e-4, rtol=0)
    assert not torch.equal(seen[0][1], seen[sampling_steps][1])  # each sample from its own noise


@torch.no_grad()
@pytest.mark.parametrize("latent", [None, 6])
def test_sampling_is_deterministic_and_independent_of_batch_neighbours(latent: int | None) -> None:
    network, told = diffusion(latent=latent), inputs()
    latent_BTD = None if latent is None else torch.randn(BATCH, WINDOW, latent)
    torch.manual_seed(1)
    whole = network.sample(latent_BTD, told)
    torch.manual_seed(2)  # the global generator is not used
    for one, other in zip(whole, network.sample(latent_BTD, told), strict=True):
        assert torch.equal(one, other)
    part = slice(5, 9)
    alone = network.sample(None if latent_BTD is None else latent_BTD[part], some(told, part))
    for ours, theirs in zip(alone, whole, strict=True):
        torch.testing.assert_close(ours, theirs[part], atol=1e-5, rtol=1e-5)
    assert (whole[0][0] - whole[0][1]).abs().max() > 1e-4  # what it is told matters


@torch.no_grad()
def test_a_prediction_is_the_mean_of_its_samples() -> None:
    network, told = diffusion(samples=2), inputs(8)
    motion, logits = network.sample(None, told)
    network.diffusion = DiffusionConfig(sampling_steps=4, samples=1)
    first = network.sample(None, told)
    network.diffusion = DiffusionConfig(sampling_steps=4, samples=4)
    four = network.sample(None, told)
    assert not torch.allclose(motion, first[0], atol=1e-4) and not torch.allclose(motion, four[0], atol=1e-4)
    # The first sample of two is the one of one, so the second is what remains.
    second = 2 * motion - first[0]
    assert (second - first[0]).abs().max() > 1e-3
    probability = 2 * logits.sigmoid() - first[1].sigmoid()
    assert (probability > -1e-3).all() and (probability < 1 + 1e-3).all()


@torch.no_grad()
def test_the_step_is_told() -> None:
    network, told = diffusion(), inputs(8)
    conditions = network.conditions(told)[:, None]
    noisy = torch.randn(8, WINDOW, CHANNELS + VERTICES)
    early, late = (network(noisy, torch.full((8,), step), None, conditions)[0] for step in (10, 900))
    assert (early - late).abs().max() > 1e-4
