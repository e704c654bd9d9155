"""Clips keep the frame rate they were recorded at; windows are made at one rate. This brings them to it.

Frame j of a resampled clip is the moment j / fps_out seconds after the clip's first frame. Rotations are
interpolated on the sphere (slerp), positions linearly, contact maps are those of the nearest recorded frame.
What a network may see (text, image, contact point) is the latest at or before the moment, so that nothing of
the future enters it. Slerp: Shoemake 1985, "Animating rotation with quaternion curves".
"""

from dataclasses import replace
from typing import TYPE_CHECKING

import roma
import torch
from torch import Tensor

if TYPE_CHECKING:
    from trainables.clip_set import Clips


def resample(clips: "Clips", fps_C: Tensor, fps_out: float) -> "Clips":
    """`clips` with every clip, recorded at fps_C (C) frames per second, brought to `fps_out`."""
    frames_C = clips.offsets_C1.diff()
    # A clip of n frames lasts (n-1)/fps seconds. The slack keeps the last frame where rates divide evenly.
    new_C = ((frames_C - 1) * fps_out / fps_C + 1e-6).floor().long() + 1
    offsets_C1 = torch.cat([new_C.new_zeros(1), new_C.cumsum(0)])
    clip_N = torch.repeat_interleave(torch.arange(len(new_C)), new_C)
    step_N = torch.arange(len(clip_N)) - offsets_C1[clip_N]
    position_N = step_N * fps_C[clip_N] / fps_out
    whole_N = (position_N + 1e-6).floor()
    part_N = (position_N - whole_N).clamp(0, 1)
    part_N = torch.where(part_N < 1e-5, 0.0, part_N).float()
    start_N = clips.offsets_C1[clip_N]
    low_N = start_N + whole_N.long()
    high_N = torch.where(part_N > 0, low_N + 1, low_N).clamp(max=clips.offsets_C1[clip_N + 1] - 1)
    near_N = torch.where(part_N < 0.5, low_N, high_N)

    def straight(values: Tensor) -> Tensor:
        share = part_N.reshape(-1, *[1] * (values.dim() - 1))
        return torch.lerp(values[low_N], values[high_N], share.expand_as(values[low_N]))

    def sphere(rotvec_FK3: Tensor) -> Tensor:
        low, high = rotvec_FK3[low_N], rotvec_FK3[high_N]
        step = roma.rotvec_composition([roma.rotvec_inverse(low), high])
        between = roma.rotvec_composition([low, step * part_N[:, None, None]])
        return torch.where(part_N[:, None, None] > 0, between, low)

    pose_N45 = sphere(clips.hand_pose_F45.unflatten(1, (15, 3))).flatten(1)
    camera_rotvec_F3 = roma.rotmat_to_rotvec(clips.camera_rot_F33)
    camera_N33 = torch.where(
        part_N[:, None, None] > 0,
        roma.rotvec_to_rotmat(sphere(camera_rotvec_F3[:, None])[:, 0]),
        clips.camera_rot_F33[low_N],
    )
    return replace(
        clips,
        offsets_C1=offsets_C1,
        global_orient_F3=sphere(clips.global_orient_F3[:, None])[:, 0],
        hand_pose_F45=pose_N45,
        transl_F3=straight(clips.transl_F3),
        camera_rot_F33=camera_N33,
        camera_transl_F3=straight(clips.camera_transl_F3),
        camera_known_F=clips.camera_known_F[low_N] & clips.camera_known_F[high_N],
        joints_FJ3=straight(clips.joints_FJ3),
        contact_FX=clips.contact_FX[near_N],
        contact_known_F=clips.contact_known_F[near_N],
        point_F3=clips.point_F3[low_N],
        point_known_F=clips.point_known_F[low_N],
        image_F=clips.image_F[low_N],
        hand_free_F=clips.hand_free_F[low_N],
        text_F=clips.text_F[low_N],
    )
