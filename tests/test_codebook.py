"""What the codebook reads of a window: everything that is known, and nothing of what is not."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tests.tiny_clips import tiny_clips
from tests.tiny_trials import tiny
from trainables.codebook import Codebook
from trainables.hand import load_hand
from trainables.motion import CAMERA_FREE, CHANNELS, MotionVector, to_first
from trainables.noise import SampleNoise
from trainables.windows import Batch, Windows


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> Batch:
    clips = tiny_clips(tmp_path_factory.mktemp("data") / "tiny", clips=8)
    return Windows(clips, torch.arange(8), length=8).gather(torch.arange(0, 40, 5))


@pytest.fixture(scope="module")
def codebook(batch: Batch) -> Codebook:
    torch.manual_seed(0)
    config = tiny().model(data="tiny", data_digest="d", hand=load_hand().name, encoders={}).codebook
    assert config is not None
    codebook = Codebook(config).eval()
    codebook.encode(
        target(batch), batch, SampleNoise(0, 0, 0, 8)
    )  # the first step takes the codes from the data
    # Stand-ins as training leaves them.
    torch.nn.init.normal_(codebook.unknown_motion_C)
    torch.nn.init.normal_(codebook.unknown_contact_V)
    return codebook.requires_grad_(False)


def target(batch: Batch) -> torch.Tensor:
    return MotionVector().encode(to_first(batch, load_hand()), torch.zeros(8, 1, 3))


def read(codebook: Codebook, target_BTC: torch.Tensor, batch: Batch) -> torch.Tensor:
    """What the encoder's first layer makes of a window, before codes are chosen: (B,T,D)."""
    seen: list[torch.Tensor] = []
    handle = codebook.embed.register_forward_hook(lambda module, given, made: seen.append(made))
    codebook.encode(target_BTC, batch)
    handle.remove()
    return seen[0]


@pytest.mark.parametrize("channel", range(0, CHANNELS, 4))
def test_channels_that_need_the_camera_are_hidden_without_it_and_the_others_are_read(
    codebook: Codebook, batch: Batch, channel: int
) -> None:
    known = batch.camera_known_BT.clone()
    known[:, 3:] = False
    hidden, true_BTC = replace(batch, camera_known_BT=known), target(batch)
    other_BTC = true_BTC.clone()
    other_BTC[..., channel] += 1
    before, after = (read(codebook, x, hidden) for x in (true_BTC, other_BTC))
    assert not torch.equal(before[:, :3], after[:, :3])
    free = channel in range(CHANNELS)[CAMERA_FREE]
    assert torch.equal(before[:, 3:], after[:, 3:]) != free


def test_unknown_contact_is_hidden(codebook: Codebook, batch: Batch) -> None:
    known = batch.contact_known_BT.clone()
    known[:, 3:] = False
    hidden, true_BTC = replace(batch, contact_known_BT=known), target(batch)
    other = replace(hidden, contact_BTV=1 - batch.contact_BTV)
    before, after = (read(codebook, true_BTC, b) for b in (hidden, other))
    assert torch.equal(before[:, 3:], after[:, 3:]) and not torch.equal(before[:, :3], after[:, :3])
    assert not torch.allclose(before[:, 3:], read(codebook, true_BTC, batch)[:, 3:])


def test_codes_do_not_depend_on_what_is_unknown(codebook: Codebook, batch: Batch) -> None:
    """To the last bit, whatever numbers stand there; and the codes of what is known do."""
    nothing = torch.zeros_like(batch.contact_known_BT)
    hidden = replace(batch, contact_known_BT=nothing, camera_known_BT=nothing)
    spoilt_BTC = target(batch)
    spoilt_BTC[..., : CAMERA_FREE.start] = torch.nan
    spoilt_BTC[..., CAMERA_FREE.stop :] = torch.nan
    spoilt = replace(hidden, contact_BTV=torch.full_like(batch.contact_BTV, torch.nan))
    one, other = codebook.encode(target(batch), hidden), codebook.encode(spoilt_BTC, spoilt)
    assert torch.equal(one.latent_BTD, other.latent_BTD) and torch.equal(one.index_BTQ, other.index_BTQ)
    assert one.index_BTQ.unique().numel() > 1


def test_the_stand_ins_are_learned(codebook: Codebook, batch: Batch) -> None:
    nothing = torch.zeros_like(batch.contact_known_BT)
    hidden = replace(batch, contact_known_BT=nothing, camera_known_BT=nothing)
    parameters = [codebook.unknown_motion_C.requires_grad_(), codebook.unknown_contact_V.requires_grad_()]
    motion, contact = torch.autograd.grad(codebook.encode(target(batch), hidden).commitment, parameters)
    codebook.requires_grad_(False)
    assert contact.abs().max() > 0
    assert not motion[CAMERA_FREE].any() and motion[: CAMERA_FREE.start].abs().max() > 0


def test_every_frame_is_read_with_its_place_in_time(codebook: Codebook, batch: Batch) -> None:
    """A window that shows the same in every frame has other latents in each, by the learned position."""
    frozen_BTC = target(batch)[:, :1].expand(-1, 8, -1)
    still = replace(batch, contact_BTV=batch.contact_BTV[:, :1].expand(-1, 8, -1))
    read_BTD = read(codebook, frozen_BTC, still)
    torch.testing.assert_close(read_BTD, read_BTD[:, :1].expand(-1, 8, -1))
    quantized = codebook.encode(frozen_BTC, still)
    assert quantized.index_BTQ.shape == (8, 8, 2) and quantized.index_BTQ.min() >= 0
    assert quantized.index_BTQ[0].unique().numel() > 1
