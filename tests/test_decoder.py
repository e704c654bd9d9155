"""The decoder computes what a plain transformer decoder would, and its dropout is each sample's own."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from trainables.decoder import Decoder, DecoderConfig
from trainables.noise import SampleNoise
from trainables.transformer import Layer

WINDOW, WIDTH, BATCH = 8, 16, 16
NORMS = pytest.mark.parametrize("norm", [True, False])


def decoder(depth: int = 2, *, norm: bool = True, dropout: float = 0.0, latent: int | None = 6) -> Decoder:
    torch.manual_seed(0)
    config = DecoderConfig(
        window=WINDOW, width=WIDTH, depth=depth, heads=2, norm=norm, dropout=dropout, latent=latent
    )
    return Decoder(config, 5, 3).double()


def told(seed: int = 0) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Latents, and conditions of the window and of each frame."""
    generator = torch.Generator().manual_seed(seed)
    shapes = [(BATCH, WINDOW, 6), (BATCH, 1, 5), (BATCH, WINDOW, 3)]
    latent, window, frames = (torch.randn(*s, generator=generator, dtype=torch.float64) for s in shapes)
    return latent, (window, frames)


def plain(network: Decoder, latent: Tensor, conditions: tuple[Tensor, ...], start: Tensor | None) -> Tensor:
    """Hidden states (B,T,D): every window goes through every layer by itself, nothing is shared and nothing dropped."""
    rows = []
    for b in range(len(latent)):
        mine = tuple(x[b : b + 1] for x in conditions)
        memory = network.from_conditions(mine) + network.from_latent(latent[b : b + 1])
        memory = memory.relu() + network.position_TD
        added = network.query_conditions(mine)
        x = network.query_TD[None].clone()
        if start is not None:
            x, added = x + start[b : b + 1] + added, torch.zeros_like(added)
        for i, layer in enumerate(network.layers):
            y = layer.norms[0](x)
            x = x + layer.attention(y, y)
            x = x + added if i == 0 else x
            x = x + layer.cross(layer.norms[1](x), memory)
            x = x + layer.feed_forward(layer.norms[2](x))
        rows.append(network.norm(x))
    return torch.cat(rows)


@NORMS
@pytest.mark.parametrize("denoising", [False, True])
def test_sharing_the_first_self_attention_changes_nothing(norm: bool, denoising: bool) -> None:
    network, (latent, conditions) = decoder(norm=norm), told()
    start = torch.randn(BATCH, WINDOW, WIDTH, dtype=torch.float64) if denoising else None
    hidden = plain(network, latent, conditions, start)
    for noise in (None, SampleNoise(0, 0, 0, BATCH)):  # a dropout of 0 is no dropout
        motion, logits = network(latent, conditions, noise, start)
        torch.testing.assert_close(motion, network.pose(hidden), atol=1e-12, rtol=1e-9)
        torch.testing.assert_close(logits, network.contact(hidden), atol=1e-12, rtol=1e-9)
    assert motion.shape == (BATCH, WINDOW, 73) and logits.shape == (BATCH, WINDOW, 778)
    assert (motion[0] - motion[1]).abs().max() > 1e-3


def test_gradients_through_the_shared_attention_are_the_plain_ones() -> None:
    network, (latent, conditions) = decoder(), told()
    parameters = [network.query_TD, *network.layers[0].attention.parameters()]
    weight = torch.randn(BATCH, WINDOW, 73, dtype=torch.float64)
    ours = torch.autograd.grad((network(latent, conditions)[0] * weight).sum(), parameters)
    theirs = torch.autograd.grad(
        (network.pose(plain(network, latent, conditions, None)) * weight).sum(), parameters
    )
    assert all(gradient.abs().max() > 1e-6 for gradient in theirs[:1])
    torch.testing.assert_close(ours, theirs, atol=1e-10, rtol=1e-7)


@pytest.mark.parametrize("denoising", [False, True])
def test_a_shard_of_a_batch_gives_the_rows_of_the_batch(denoising: bool) -> None:
    network, (latent, conditions) = decoder(dropout=0.3), told()
    start = torch.randn(BATCH, WINDOW, WIDTH, dtype=torch.float64) if denoising else None
    whole = network(latent, conditions, SampleNoise(0, 3, 0, BATCH), start)
    part = slice(8, 16)
    shard = network(
        latent[part],
        tuple(x[part] for x in conditions),
        SampleNoise(0, 3, 8, 8),
        None if start is None else start[part],
    )
    for ours, theirs in zip(shard, whole, strict=True):
        torch.testing.assert_close(ours, theirs[part], atol=1e-12, rtol=1e-9)
    # Another neighbourhood, the same rows; another step, other rows.
    other, other_conditions = told(seed=1)
    mixed = [
        torch.cat([x[:8], y[8:]])
        for x, y in zip((other, *other_conditions), (latent, *conditions), strict=True)
    ]
    again = network(mixed[0], tuple(mixed[1:]), SampleNoise(0, 3, 0, BATCH), start)
    torch.testing.assert_close(again[0][part], whole[0][part], atol=1e-12, rtol=1e-9)
    later = network(latent, conditions, SampleNoise(0, 4, 0, BATCH), start)
    assert (later[0] - whole[0]).abs().max() > 1e-3


def test_what_is_shared_is_dropped_for_each_sample_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the rest of the layer taken away, only the mask on the shared attention can tell equal windows apart."""
    network, (latent, conditions) = decoder(depth=1, norm=False, dropout=0.3), told()
    monkeypatch.setattr(Layer, "rest", lambda self, x_BTD, memory_BSD, noise: x_BTD)
    equal = latent[:1].expand(BATCH, -1, -1), tuple(x[:1].expand(BATCH, -1, -1) for x in conditions)
    motion, _ = network(*equal, SampleNoise(0, 0, 0, BATCH))
    assert all((motion[b] - motion[0]).abs().max() > 1e-4 for b in range(1, BATCH))
    still, _ = network(*equal)
    assert (still - still[:1]).abs().max() < 1e-12
    # Masks leave the mean where it is.
    masks = torch.stack(
        [network.layers[0].drop(torch.ones(BATCH, 4, 4), SampleNoise(0, s, 0, BATCH)) for s in range(40)]
    )
    assert abs(float(masks.mean()) - 1) < 0.02
    torch.testing.assert_close(masks.unique(), torch.tensor([0.0, 1 / 0.7]))


def test_without_a_codebook_there_is_no_latent() -> None:
    network, (_, conditions) = decoder(latent=None), told()
    assert network.from_latent is None
    motion, _ = network(None, conditions)
    assert motion.shape == (BATCH, WINDOW, 73) and motion.isfinite().all()
    # Each frame of the memory has its own position: a window told the same in every frame still moves.
    window = decoder(latent=None)
    motion, _ = window(None, (conditions[0], conditions[1][:, :1].expand(-1, WINDOW, -1)))
    assert (motion[:, 1:] - motion[:, :-1]).abs().max() > 1e-3
