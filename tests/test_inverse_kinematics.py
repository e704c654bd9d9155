"""Inverse kinematics against hands whose parameters are known."""

from __future__ import annotations

import pytest
import roma
import torch

from trainables.hand import Hand, load_hand
from trainables.inverse_kinematics import (
    HandFit,
    bone_lengths_m,
    fit_errors_mm,
    fit_hand,
    fit_pose,
    fit_shape,
)

FRAMES = 60  # three clips of twenty


@pytest.fixture(scope="module")
def hand() -> Hand:
    return load_hand()


@pytest.fixture(scope="module")
def known(hand: Hand) -> dict[str, torch.Tensor]:
    """Smooth motion inside the joint limits, in front of a camera, by a hand that is not the average one."""
    generator = torch.Generator().manual_seed(3)

    def smooth(low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
        ends = low + (high - low) * torch.rand(3, 2, len(low), generator=generator)
        return torch.lerp(ends[:, :1], ends[:, 1:], torch.linspace(0, 1, 20)[None, :, None]).flatten(0, 1)

    low, high = hand.joint_limits.unbind(1)
    betas = torch.tensor([1.0, -0.5, 0.8, 0.5, -1.0, 0.3, 0.0, 0.7, 0.0, 0.5])
    pose = hand.pose_from_angles(smooth(low, high))
    orient = smooth(torch.full((3,), -2.5), torch.full((3,), 2.5))
    transl = smooth(torch.tensor([-0.3, -0.2, 0.5]), torch.tensor([0.3, 0.2, 1.0]))
    joints = hand.joints(orient, pose, betas.expand(FRAMES, -1), transl)
    return {"joints": joints, "betas": betas, "clip": torch.arange(3).repeat_interleave(20), "orient": orient}


@pytest.fixture(scope="module")
def fit(hand: Hand, known: dict[str, torch.Tensor]) -> HandFit:
    return fit_hand(hand, known["joints"], known["clip"])


def test_finds_the_joints_of_a_known_motion(fit: HandFit, known: dict[str, torch.Tensor]) -> None:
    joint_mm, bone_mm = fit_errors_mm(fit.joints_NJ3, known["joints"])
    assert joint_mm.median() < 1.5
    assert joint_mm.flatten().quantile(0.95) < 6
    assert bone_mm.median() < 1


def test_parameters_give_the_joints_it_reports(hand: Hand, fit: HandFit) -> None:
    again = hand.joints(
        fit.global_orient_N3, fit.hand_pose_N45, fit.betas_10.expand(FRAMES, -1), fit.transl_N3
    )
    torch.testing.assert_close(again, fit.joints_NJ3, atol=1e-6, rtol=0)


def test_orientation_is_found(fit: HandFit, known: dict[str, torch.Tensor]) -> None:
    between = roma.rotvec_to_rotmat(fit.global_orient_N3).mT @ roma.rotvec_to_rotmat(known["orient"])
    assert torch.rad2deg(roma.rotmat_to_rotvec(between).norm(dim=-1)).median() < 2


def test_joint_limits_hold_even_where_the_measurement_breaks_them(hand: Hand) -> None:
    low, high = hand.joint_limits.unbind(1)
    beyond = hand.pose_from_angles((1.3 * high).expand(20, -1))
    zero = torch.zeros(20, 3)
    joints = hand.joints(zero, beyond, torch.zeros(20, 10), zero)
    fit = fit_pose(hand, joints, torch.zeros(10), torch.zeros(20, dtype=torch.int64))
    angles = hand.angles_from_pose(fit.hand_pose_N45)
    assert (angles >= low - 1e-5).all() and (angles <= high + 1e-5).all()


def test_shape_follows_from_lengths_whatever_the_pose(hand: Hand, known: dict[str, torch.Tensor]) -> None:
    betas = fit_shape(hand, known["joints"])
    rest = torch.zeros(1, 48)
    rebuilt = hand.joints(rest[:, :3], rest[:, 3:], betas[None], rest[:, :3])
    error_mm = 1000 * (bone_lengths_m(rebuilt) - bone_lengths_m(known["joints"])).abs()
    assert error_mm.median() < 1  # the pull to the average hand costs a little
    average = hand.joints(rest[:, :3], rest[:, 3:], torch.zeros(1, 10), rest[:, :3])
    assert (
        error_mm.mean()
        < 0.5 * 1000 * (bone_lengths_m(average) - bone_lengths_m(known["joints"])).abs().mean()
    )


def test_clips_do_not_leak_into_each_other(hand: Hand, fit: HandFit, known: dict[str, torch.Tensor]) -> None:
    alone = fit_pose(hand, known["joints"][20:40], fit.betas_10, known["clip"][20:40])
    torch.testing.assert_close(alone.joints_NJ3, fit.joints_NJ3[20:40], atol=2e-4, rtol=0)
    as_one = fit_pose(hand, known["joints"], fit.betas_10, torch.zeros_like(known["clip"]))
    apart = (as_one.joints_NJ3 - fit.joints_NJ3)[[19, 20, 39, 40]].norm(dim=-1)
    assert apart.max() > 2e-4  # smoothing over the seam would have shown
