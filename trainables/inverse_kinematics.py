"""Hand parameters from measured joints: inverse kinematics onto a hand model, all frames at once.

Three steps. The shape follows from lengths that no pose changes (bones, and the distances between wrist and
knuckles), by Gauss-Newton. The palm is laid onto the measured palm rigidly (Kabsch/Umeyama through roma), which
removes the wrist from the problem but for a small correction. The rest - finger angles and that correction - is
found by Adam on all frames together, with the joint limits held by projection after every step.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import roma
import torch
from torch import Tensor

from trainables.hand import Hand

PALM = (0, 1, 5, 9, 13, 17)  # wrist and the five finger roots: one rigid body in MANO's skeleton
PARENTS = (-1, 0, 1, 2, 3, 0, 5, 6, 7, 0, 9, 10, 11, 0, 13, 14, 15, 0, 17, 18, 19)  # OpenPose order
STEPS = 120
LEARNING_RATE = 0.1
SMOOTHNESS = 0.05  # cm^2 per rad^2 between neighbouring frames: light, so that unseen twists do not jitter
REST_PULL = 0.02  # cm^2 per rad^2 towards the middle of the joint limits, for angles the joints do not show
SHAPE_RIDGE_M = 1e-3  # a shape coefficient of 1 weighs as much as one length that is 1 mm off


@dataclass(frozen=True, kw_only=True)
class HandFit:
    """Parameters of N frames of one hand, in the measurements' frame, and the joints they give."""

    global_orient_N3: Tensor
    hand_pose_N45: Tensor
    betas_10: Tensor
    transl_N3: Tensor  # metres
    joints_NJ3: Tensor  # metres


def fit_hand(
    hand: Hand, joints_NJ3: Tensor, clip_N: Tensor, on_step: Callable[[], None] | None = None
) -> HandFit:
    """Fit one hand to its measured joints (N, 21, 3), metres, OpenPose order.

    clip_N (N,) numbers the clip each frame belongs to: different clips are not smoothed into each other.
    `on_step` is called once per optimisation step (progress).
    """
    joints_NJ3 = joints_NJ3.to(torch.float32)
    betas = fit_shape(hand, joints_NJ3)
    return fit_pose(hand, joints_NJ3, betas, clip_N, on_step)


def fit_shape(hand: Hand, joints_NJ3: Tensor) -> Tensor:
    """Shape coefficients (10,) from the lengths that hardly depend on the pose, by ridge Gauss-Newton."""
    measured = _lengths(joints_NJ3.float()).mean(0)
    betas = torch.zeros(10)

    def lengths(betas_10: Tensor) -> Tensor:
        return _lengths(_rest_joints(hand, betas_10)[None])[0]

    for _ in range(10):
        jacobian = torch.autograd.functional.jacobian(lengths, betas)
        residual = lengths(betas) - measured
        normal = jacobian.T @ jacobian + SHAPE_RIDGE_M**2 * torch.eye(10)
        betas = betas - torch.linalg.solve(normal, jacobian.T @ residual + SHAPE_RIDGE_M**2 * betas)
    return betas


def fit_pose(
    hand: Hand,
    joints_NJ3: Tensor,
    betas_10: Tensor,
    clip_N: Tensor,
    on_step: Callable[[], None] | None = None,
) -> HandFit:
    """Orientation, finger angles and translation of every frame, with the shape given."""
    rest_J3 = _rest_joints(hand, betas_10)
    palm = list(PALM)
    align_N33, shift_N3 = roma.rigid_points_registration(
        rest_J3[palm].expand(len(joints_NJ3), -1, -1), joints_NJ3[:, palm]
    )
    target_NJ3 = torch.einsum("nji,nkj->nki", align_N33, joints_NJ3 - shift_N3[:, None])
    turn_N3, move_N3, pose_N45 = _descend(hand, target_NJ3, betas_10, clip_N, on_step)

    # The fit lives in the aligned palm's frame; MANO turns about the wrist's rest position.
    wrist_3 = rest_J3[0]
    orient_N33 = align_N33 @ roma.rotvec_to_rotmat(turn_N3)
    transl_N3 = torch.einsum("nij,nj->ni", align_N33, wrist_3 + move_N3) + shift_N3 - wrist_3
    orient_N3 = roma.rotmat_to_rotvec(orient_N33)
    betas_N10 = betas_10.expand(len(pose_N45), -1)
    with torch.no_grad():
        fitted = hand.joints(orient_N3, pose_N45, betas_N10, transl_N3)
    return HandFit(
        global_orient_N3=orient_N3,
        hand_pose_N45=pose_N45,
        betas_10=betas_10,
        transl_N3=transl_N3,
        joints_NJ3=fitted,
    )


def _descend(
    hand: Hand, target_NJ3: Tensor, betas_10: Tensor, clip_N: Tensor, on_step: Callable[[], None] | None
) -> tuple[Tensor, Tensor, Tensor]:
    low, high = hand.joint_limits.float().unbind(1)
    middle = ((low + high) / 2).expand(len(target_NJ3), -1)
    turn = torch.zeros(len(target_NJ3), 3, requires_grad=True)
    move_cm = torch.zeros(len(target_NJ3), 3, requires_grad=True)
    angles = middle.clone().requires_grad_()
    betas = betas_10.expand(len(target_NJ3), -1)
    same_clip = (clip_N[1:] == clip_N[:-1]).float()[:, None]
    adam = torch.optim.Adam([turn, move_cm, angles], lr=LEARNING_RATE, betas=(0.9, 0.95))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        adam, lambda step: 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / STEPS))
    )
    for _ in range(STEPS):
        adam.zero_grad(set_to_none=True)
        off_cm = 100 * (hand.joints(turn, hand.pose_from_angles(angles), betas, move_cm / 100) - target_NJ3)
        # Sums, not means: frames are separate problems, and Adam's step does not depend on the scale.
        loss = off_cm.square().sum()
        loss = loss + SMOOTHNESS * (same_clip * (angles[1:] - angles[:-1])).square().sum()
        loss = loss + REST_PULL * (angles - middle).square().sum()
        loss.backward()
        adam.step()
        schedule.step()
        with torch.no_grad():
            angles.clamp_(low, high)
        if on_step:
            on_step()
    with torch.no_grad():
        return turn.detach(), move_cm.detach() / 100, hand.pose_from_angles(angles)


def bone_lengths_m(joints_NJ3: Tensor) -> Tensor:
    """(N, 20) metres: length of the bone that ends in joint 1..20, OpenPose order."""
    return (joints_NJ3[:, 1:] - joints_NJ3[:, list(PARENTS[1:])]).norm(dim=-1)


def fit_errors_mm(fitted_NJ3: Tensor, joints_NJ3: Tensor) -> tuple[Tensor, Tensor]:
    """Joint error (N, 21) and bone-length change (N, 20) of fitted against measured joints, millimetres."""
    joint = 1000 * (fitted_NJ3 - joints_NJ3).norm(dim=-1)
    bone = 1000 * (bone_lengths_m(fitted_NJ3) - bone_lengths_m(joints_NJ3)).abs()
    return joint, bone


def _lengths(joints_NJ3: Tensor) -> Tensor:
    palm = joints_NJ3[:, list(PALM)]
    first, second = torch.triu_indices(len(PALM), len(PALM), offset=1)
    phalanges = [joint for joint in range(1, 21) if joint not in PALM]
    return torch.cat(
        [
            (palm[:, first] - palm[:, second]).norm(dim=-1),
            bone_lengths_m(joints_NJ3)[:, [j - 1 for j in phalanges]],
        ],
        1,
    )


def _rest_joints(hand: Hand, betas_10: Tensor) -> Tensor:
    zero = torch.zeros(1, 48)
    return hand.joints(zero[:, :3], zero[:, 3:], betas_10[None], zero[:, :3])[0]
