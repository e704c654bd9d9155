"""Losses: zero at the truth, known distances away from it, and means over what is known alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from tests.tiny_clips import tiny_clips
from trainables.clips import Clips
from trainables.hand import Hand, load_hand
from trainables.losses import (
    code_loss,
    contact_loss,
    joint_loss,
    known_mean,
    reconstruction_loss,
    vertex_loss,
)
from trainables.motion import CAMERA_FREE, CHANNELS, MotionVector, Pose, to_first
from trainables.windows import Batch, Windows

ALL = slice(None)
# Distances are sqrt(d^2 + 1e-8 m^2), so that they have a gradient at the truth: there they are 0.1 mm, in units of 5 cm.
AT_TRUTH = 1e-4 / 0.05


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Clips:
    return tiny_clips(tmp_path_factory.mktemp("data") / "tiny", clips=8)


@pytest.fixture
def batch(clips: Clips) -> Batch:
    windows = Windows(clips, torch.arange(8), length=8)
    return windows.gather(torch.arange(0, 40, 5))


@pytest.fixture(scope="module")
def hand() -> Hand:
    return load_hand()


def moved(pose: Pose, metres: float, frames: slice = ALL) -> Pose:
    wrist = pose.wrist_first_BT3.clone()
    wrist[:, frames, 1] += metres
    return replace(pose, wrist_first_BT3=wrist)


def losses(pose: Pose, batch: Batch, hand: Hand, frames: slice = ALL) -> tuple[float, float]:
    """(of joints, of vertices)"""
    truth = to_first(batch, hand)
    return float(joint_loss(pose, batch, hand, frames)), float(vertex_loss(pose, truth, batch, hand, frames))


def test_at_the_truth_joint_and_vertex_loss_are_nothing(batch: Batch, hand: Hand) -> None:
    joints, vertices = losses(to_first(batch, hand), batch, hand)
    # Joints are read from the data, as float32 of metres; vertices are the hand model's of the same pose.
    assert joints == pytest.approx(AT_TRUTH, rel=0.02) and vertices == pytest.approx(AT_TRUTH, rel=1e-4)


@pytest.mark.parametrize("metres", [0.01, 0.05])
def test_a_hand_that_is_elsewhere_is_that_far_away(batch: Batch, hand: Hand, metres: float) -> None:
    found = losses(moved(to_first(batch, hand), metres), batch, hand)
    assert found == pytest.approx((metres / 0.05,) * 2, rel=1e-3)


def test_the_vertex_loss_sees_what_joints_hide(batch: Batch, hand: Hand) -> None:
    """Another shape of the same bones: a finger turned about its own axis moves its skin and not its joints."""
    truth = to_first(batch, hand)
    pose = truth.hand_pose_BT45.clone().requires_grad_()
    vertex_loss(replace(truth, hand_pose_BT45=pose + 0.1), truth, batch, hand, ALL).backward()
    assert pose.grad is not None and (pose.grad.abs().amax((0, 1)) > 0).all()  # every channel counts
    other = replace(truth, hand_pose_BT45=truth.hand_pose_BT45 + 0.1)
    assert losses(other, batch, hand)[1] > 10 * AT_TRUTH


def test_only_the_chosen_frames_count(batch: Batch, hand: Hand) -> None:
    pose = moved(to_first(batch, hand), 0.05, slice(1, None, 3))
    assert losses(pose, batch, hand, slice(1, None, 3)) == pytest.approx((1.0, 1.0), rel=1e-3)
    assert max(losses(pose, batch, hand, slice(0, None, 3))) < 2 * AT_TRUTH


def test_frames_whose_camera_is_unknown_count_for_neither(batch: Batch, hand: Hand) -> None:
    truth = to_first(batch, hand)
    known = batch.camera_known_BT.clone()
    known[:, 4:] = False
    hidden = replace(batch, camera_known_BT=known)
    assert max(losses(moved(truth, 0.05, slice(4, None)), hidden, hand)) < 2 * AT_TRUTH
    # They leave the denominator too.
    assert losses(moved(truth, 0.05), hidden, hand) == pytest.approx((1.0, 1.0), rel=1e-3)
    nothing = replace(batch, camera_known_BT=torch.zeros_like(known))
    assert losses(moved(truth, 0.05), nothing, hand) == (0.0, 0.0)


def test_a_mean_is_over_what_is_known() -> None:
    loss, known = torch.tensor([[1.0, 3.0], [100.0, 100.0]]), torch.tensor([[True], [False]])
    assert float(known_mean(loss, known)) == 2.0
    assert float(known_mean(loss, known & False)) == 0.0


def test_without_a_camera_pose_and_shape_of_the_hand_still_count(batch: Batch, hand: Hand) -> None:
    truth = MotionVector().encode(to_first(batch, hand), torch.zeros(8, 1, 3))
    assert float(reconstruction_loss(truth, truth, batch)) == 0.0
    blind = replace(batch, camera_known_BT=torch.zeros_like(batch.camera_known_BT))
    counted = []
    for channel in range(CHANNELS):
        off = truth.clone()
        off[..., channel] += 1
        assert float(reconstruction_loss(off, truth, batch)) > 0
        if float(reconstruction_loss(off, truth, blind)) > 0:
            counted.append(channel)
    assert counted == list(range(CHANNELS))[CAMERA_FREE]


def test_contact_counts_five_times_and_unknown_contact_not_at_all(batch: Batch) -> None:
    assert batch.contact_BTV.any() and not batch.contact_BTV.all()
    logits = torch.randn(batch.contact_BTV.shape, generator=torch.Generator().manual_seed(0))
    weight_BTV = 1 + 4 * batch.contact_BTV
    each = weight_BTV * F.binary_cross_entropy(logits.sigmoid(), batch.contact_BTV, reduction="none")
    torch.testing.assert_close(contact_loss(logits, batch), each.mean(), rtol=1e-4, atol=1e-6)
    known = batch.contact_known_BT.clone()
    known[2:] = False
    part = contact_loss(logits, replace(batch, contact_known_BT=known))
    torch.testing.assert_close(part, each[:2].mean(), rtol=1e-4, atol=1e-6)
    right = 60 * (batch.contact_BTV - 0.5)
    assert float(contact_loss(right, batch)) < 1e-6 < float(contact_loss(-right, batch))


def test_code_loss_is_the_cross_entropy_over_frames_and_quantizers() -> None:
    generator = torch.Generator().manual_seed(0)
    logits, index = (
        torch.randn(2, 3, 4, 5, generator=generator),
        torch.randint(0, 5, (2, 3, 4), generator=generator),
    )
    expected = -logits.log_softmax(-1).gather(-1, index[..., None]).mean()
    torch.testing.assert_close(code_loss(logits, index), expected)
    assert float(code_loss(1e4 * F.one_hot(index, 5).float(), index)) == 0.0
