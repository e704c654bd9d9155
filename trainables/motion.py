"""The motion vector: what the codebook reads and the decoder writes for each frame.

| slice | content |
| --- | --- |
| 0:6 | hand orientation in the window's first camera, first two rows of the matrix (Zhou et al. 2019) |
| 6:51 | 15 joint rotations, axis-angle |
| 51:61 | shape |
| 61:64 | wrist in the window's first camera, minus the anchor, metres |
| 64:70 | camera rotation, frame -> first camera, 6D |
| 70:73 | camera translation of the same transform, metres |

The release keeps orientation and translation in each frame's own camera, the orientation as axis-angle, and leaves
them unnormalised. Here they stand in the first camera, where the headline error is measured, so that an error of the
predicted camera does not add to it; 6D has no jump at half a turn; and each group of channels is divided by its
standard deviation over the training windows. The *anchor* is the contact point, or the mean training contact where
it is unknown: codes then describe motion about the contact and not places in the room.
"""

from __future__ import annotations

from dataclasses import dataclass

import roma
import torch
from torch import Tensor, nn

from trainables.hand import Hand
from trainables.windows import Batch, Inputs

CHANNELS = 73
GROUPS = (6, 45, 10, 3, 6, 3)
ORIENTATION, HAND_POSE, BETAS, WRIST, CAMERA_ROTATION, CAMERA_TRANSLATION = range(6)


def to_6d(matrix: Tensor) -> Tensor:
    """First two rows of rotation matrices (...,3,3), flattened: (...,6)."""
    return matrix[..., :2, :].flatten(-2)


def from_6d(rows: Tensor) -> Tensor:
    """Rotation matrices (...,3,3) of their first two rows (...,6), by Gram-Schmidt."""
    first, second = rows.unflatten(-1, (2, 3)).unbind(-2)
    first = torch.nn.functional.normalize(first, dim=-1)
    second = torch.nn.functional.normalize(second - (first * second).sum(-1, keepdim=True) * first, dim=-1)
    return torch.stack([first, second, torch.linalg.cross(first, second)], dim=-2)


# Hand pose and shape do not depend on the camera.
CAMERA_FREE = slice(6, 61)


def known_channels(camera_known_BT: Tensor) -> Tensor:
    """Which channels are known, bool (B,T,73), where each frame's camera is known or not."""
    known_BTC = camera_known_BT[..., None].repeat(1, 1, CHANNELS)
    known_BTC[..., CAMERA_FREE] = True
    return known_BTC


@dataclass
class Pose:
    """Hand and camera of B windows of T frames; `first` = in the window's first camera."""

    orientation_first_BT33: Tensor
    hand_pose_BT45: Tensor
    betas_BT10: Tensor
    wrist_first_BT3: Tensor  # metres
    camera_rot_BT33: Tensor  # frame's camera -> first camera
    camera_transl_BT3: Tensor  # metres

    def __getitem__(self, frames: slice) -> Pose:
        return Pose(**{name: value[:, frames] for name, value in vars(self).items()})


def _flat(x: Tensor) -> Tensor:
    return x.reshape(-1, x.shape[-1])


def joints_first(hand: Hand, pose: Pose) -> Tensor:
    """Joints (B,T,21,3), metres, in the window's first camera."""
    transl = pose.wrist_first_BT3 - hand.rest_wrist(pose.betas_BT10)
    orient = roma.rotmat_to_rotvec(pose.orientation_first_BT33)
    joints = hand.joints(_flat(orient), _flat(pose.hand_pose_BT45), _flat(pose.betas_BT10), _flat(transl))
    return joints.view(*pose.wrist_first_BT3.shape[:-1], 21, 3)


def vertices_first(hand: Hand, pose: Pose) -> Tensor:
    """Skin vertices (B,T,778,3), metres, in the window's first camera."""
    transl = pose.wrist_first_BT3 - hand.rest_wrist(pose.betas_BT10)
    orient = roma.rotmat_to_rotvec(pose.orientation_first_BT33)
    rows = (_flat(orient), _flat(pose.hand_pose_BT45), _flat(pose.betas_BT10), _flat(transl))
    return hand.vertices(*rows).view(*pose.wrist_first_BT3.shape[:-1], -1, 3)


def to_first(batch: Batch, hand: Hand) -> Pose:
    """The batch's true motion, moved into the window's first camera."""
    wrist_BT3 = batch.transl_BT3 + hand.rest_wrist(batch.betas_BT10)
    rot = batch.camera_rot_BT33
    return Pose(
        orientation_first_BT33=rot @ roma.rotvec_to_rotmat(batch.global_orient_BT3),
        hand_pose_BT45=batch.hand_pose_BT45,
        betas_BT10=batch.betas_BT10,
        wrist_first_BT3=(rot @ wrist_BT3[..., None])[..., 0] + batch.camera_transl_BT3,
        camera_rot_BT33=rot,
        camera_transl_BT3=batch.camera_transl_BT3,
    )


def to_own(pose: Pose, hand: Hand) -> tuple[Tensor, Tensor]:
    """(global_orient (B,T,3) axis-angle, transl (B,T,3) metres) in each frame's own camera."""
    back = pose.camera_rot_BT33.transpose(-1, -2)
    orient = roma.rotmat_to_rotvec(back @ pose.orientation_first_BT33)
    wrist = (back @ (pose.wrist_first_BT3 - pose.camera_transl_BT3)[..., None])[..., 0]
    return orient, wrist - hand.rest_wrist(pose.betas_BT10)


class MotionVector(nn.Module):
    """Pose <-> normalised motion vector. The statistics are buffers, so a model carries its own."""

    mean_C: Tensor
    std_C: Tensor
    anchor_3: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean_C", torch.zeros(CHANNELS))
        self.register_buffer("std_C", torch.ones(CHANNELS))
        self.register_buffer("anchor_3", torch.zeros(3))

    def anchor(self, batch: Inputs) -> Tensor:
        """Where the wrist is measured from, (B,1,3) metres in the first camera."""
        return batch.point_B3.where(batch.point_known_B[:, None], self.anchor_3)[:, None]

    def raw(self, pose: Pose, anchor_B13: Tensor) -> Tensor:
        parts = [to_6d(pose.orientation_first_BT33), pose.hand_pose_BT45, pose.betas_BT10]
        parts += [pose.wrist_first_BT3 - anchor_B13, to_6d(pose.camera_rot_BT33), pose.camera_transl_BT3]
        return torch.cat(parts, dim=-1)

    def encode(self, pose: Pose, anchor_B13: Tensor) -> Tensor:
        """Motion vectors (B,T,73)."""
        return (self.raw(pose, anchor_B13) - self.mean_C) / self.std_C

    def decode(self, motion_BTC: Tensor, anchor_B13: Tensor) -> Pose:
        """Pose of motion vectors (B,T,73)."""
        parts = (motion_BTC * self.std_C + self.mean_C).split(GROUPS, dim=-1)
        return Pose(
            orientation_first_BT33=from_6d(parts[ORIENTATION]),
            hand_pose_BT45=parts[HAND_POSE],
            betas_BT10=parts[BETAS],
            wrist_first_BT3=parts[WRIST] + anchor_B13,
            camera_rot_BT33=from_6d(parts[CAMERA_ROTATION]),
            camera_transl_BT3=parts[CAMERA_TRANSLATION],
        )

    @torch.no_grad()
    def fit(self, pose: Pose, batch: Batch) -> None:
        """Take mean, standard deviation and anchor from training windows."""
        known = batch.point_known_B
        if known.any():
            self.anchor_3.copy_(batch.point_B3[known].mean(0))
        raw_NC = self.raw(pose, self.anchor(batch))[batch.camera_known_BT]
        self.mean_C.copy_(raw_NC.mean(0))
        # One deviation a group: channels that hardly move keep a small weight and are not blown up to unit noise.
        group_std = [part.var(0).mean().sqrt().clamp_min(1e-2) for part in raw_NC.split(GROUPS, dim=-1)]
        sizes = torch.tensor(GROUPS, device=raw_NC.device)
        self.std_C.copy_(torch.stack(group_std).repeat_interleave(sizes))
