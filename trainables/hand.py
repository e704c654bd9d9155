"""The hand: MANO (right) through smplx, or the stand-in in the same layout, with a fast path for joints only.

Rest pose and axes are MANO's: metres, fingers along -x, palm facing -y, thumb towards +z. `hand_pose` is the
joints' 15 axis-angles in these axes (flat hand = zeros), in MANO's order: index, middle, pinky, ring, thumb.
"""

from __future__ import annotations

import contextlib
import io
import os

import numpy as np
import roma
import smplx
import torch
from smplx.lbs import lbs
from smplx.utils import Struct
from torch import Tensor

from trainables.mano_file import read_mano
from trainables.standin_hand import FINGER_BACKS, FINGER_TIP_VERTICES, NAME, standin_arrays

PALM_NORMAL = (0.0, -1.0, 0.0)  # out of the palm
FINGER_DIRECTION = (-1.0, 0.0, 0.0)  # wrist to finger tips
THUMB_SIDE = (0.0, 0.0, 1.0)
# 16 joints, then tips from thumb to pinky -> OpenPose's wrist, thumb, index, middle, ring, pinky.
OPENPOSE_ORDER = (0, 13, 14, 15, 16, 1, 2, 3, 17, 4, 5, 6, 18, 10, 11, 12, 19, 7, 8, 9, 20)

# What `Hand.finger_V` counts: metrics speak of contact by finger, and of all else (wrist included) as the palm.
FINGERS = ("thumb", "index", "middle", "ring", "pinky", "palm")
# Of the 16 joints: MANO's chains are index, middle, pinky, ring, thumb.
_FINGER_OF_JOINT = (5, 1, 1, 1, 2, 2, 2, 4, 4, 4, 3, 3, 3, 0, 0, 0)

_KNUCKLE = ((-0.45, 1.65), (-0.45, 0.45), (-0.25, 0.25))
_MIDDLE = ((-0.20, 1.95), (-0.15, 0.15), (-0.20, 0.20))
_END = ((-0.30, 1.50), (-0.20, 0.20), (-0.20, 0.20))
_THUMB = (
    ((-0.80, 1.00), (-0.80, 0.90), (-0.80, 0.80)),
    ((-0.45, 1.15), (-0.40, 0.40), (-0.35, 0.35)),
    ((-0.60, 1.50), (-0.12, 0.12), (-0.20, 0.20)),
)
# Radians, (45, 2) lower and upper, of (flexion, abduction, twist) a joint as `Hand.pose_from_angles` takes
# them. Ranges of motion as goniometry gives them (AAOS), with some degrees more because a surface model's
# joints lie off the bones' and its flat hand is not quite straight.
JOINT_LIMITS = torch.tensor(
    [*(_KNUCKLE + _MIDDLE + _END) * 4, *(limit for joint in _THUMB for limit in joint)]
)


def smplx_mano(arrays: dict[str, np.ndarray], dtype: torch.dtype = torch.float32) -> smplx.MANO:
    """smplx's own model of these arrays: right hand, flat mean, axis-angle."""
    with contextlib.redirect_stdout(io.StringIO()):  # it prints that MANO has 10 shape coefficients
        return smplx.MANO(
            "", data_struct=Struct(**arrays), use_pca=False, flat_hand_mean=True, dtype=dtype, num_betas=10
        )


class Hand(torch.nn.Module):
    """MANO right hand (flat mean, axis-angle) or the stand-in, as buffers that no state_dict carries.

    `transl` moves what MANO gives; the whole hand turns about the wrist's rest position.
    """

    faces: Tensor
    parents: Tensor
    joint_axes: Tensor  # (15, 3, 3) rows flexion, abduction, twist in rest axes
    joint_limits: Tensor  # (45, 2) radians, see JOINT_LIMITS
    v_template: Tensor
    shapedirs: Tensor
    posedirs: Tensor
    J_regressor: Tensor
    lbs_weights: Tensor
    finger_V: Tensor  # (778,) int64, the finger (index into FINGERS) whose joints move a vertex most
    _rest_J3: Tensor
    _rest_tips_53: Tensor
    _shape_63x10: Tensor
    _tip_posedirs: Tensor
    _tip_weights_5J: Tensor

    def __init__(self, arrays: dict[str, np.ndarray], name: str) -> None:
        super().__init__()
        self.name = name
        model = smplx_mano(arrays, torch.float64)
        tips = list(FINGER_TIP_VERTICES)

        def keep(key: str, value: Tensor) -> None:
            value = value.detach().clone()
            self.register_buffer(key, value.float() if value.is_floating_point() else value, persistent=False)

        keep("faces", torch.as_tensor(arrays["f"].astype(np.int64)))
        keep("parents", model.parents)
        for key in ("v_template", "shapedirs", "posedirs", "J_regressor", "lbs_weights"):
            keep(key, getattr(model, key))
        finger_of_joint = torch.tensor(_FINGER_OF_JOINT)
        by_finger = model.lbs_weights.new_zeros(len(model.lbs_weights), len(FINGERS))
        keep("finger_V", by_finger.index_add_(1, finger_of_joint, model.lbs_weights).argmax(dim=1))
        rest = model.J_regressor @ model.v_template
        keep("_rest_J3", rest)
        keep("_rest_tips_53", model.v_template[tips])
        moves = torch.einsum("jv,vck->jck", model.J_regressor, model.shapedirs)
        keep("_shape_63x10", torch.cat([moves, model.shapedirs[tips]]).reshape(63, 10))
        keep("_tip_posedirs", model.posedirs.view(135, 778, 3)[:, tips].reshape(135, 15))
        keep("_tip_weights_5J", model.lbs_weights[tips])
        keep("joint_axes", _joint_axes(rest, model.v_template[tips]))
        keep("joint_limits", JOINT_LIMITS.double())
        self._tips_move_with_pose = bool(model.posedirs.view(135, 778, 3)[:, tips].any())
        # Joints by depth in the tree, to pose whole levels at once.
        parents = self._parent_list = model.parents.tolist()
        self._levels: list[list[int]] = []
        level = [j for j in range(16) if parents[j] == 0]
        while level:
            self._levels.append(level)
            level = [j for j in range(16) if parents[j] in level]

    def joints(
        self, global_orient_B3: Tensor, hand_pose_B45: Tensor, betas_B10: Tensor, transl_B3: Tensor
    ) -> Tensor:
        """21 joints (B, 21, 3) in metres, OpenPose order; equal to smplx's without skinning 778 vertices."""
        batch = hand_pose_B45.shape[0]
        rest = torch.cat([self._rest_J3, self._rest_tips_53]).view(1, 63)
        points = rest + betas_B10 @ self._shape_63x10.T
        points = points.view(-1, 21, 3).expand(batch, 21, 3)
        rest, tips = points[:, :16], points[:, 16:]
        turns = torch.cat([global_orient_B3, hand_pose_B45], dim=1).view(batch, 16, 3)
        turns = roma.rotvec_to_rotmat(turns)
        if self._tips_move_with_pose:
            bend = (turns[:, 1:] - torch.eye(3, dtype=turns.dtype, device=turns.device)).reshape(batch, 135)
            tips = tips + (bend @ self._tip_posedirs).view(batch, 5, 3)
        rotation: list[Tensor] = [turns[:, 0]] * 16
        position: list[Tensor] = [rest[:, 0]] * 16
        parents = self._parent_list
        for level in self._levels:
            up = [parents[j] for j in level]
            above = torch.stack([rotation[p] for p in up], dim=1)
            moved = (above @ (rest[:, level] - rest[:, up])[..., None])[..., 0]
            moved = moved + torch.stack([position[p] for p in up], dim=1)
            turned = above @ turns[:, level]
            for k, j in enumerate(level):
                rotation[j], position[j] = turned[:, k], moved[:, k]
        turned_J, moved_J = torch.stack(rotation, dim=1), torch.stack(position, dim=1)
        offset = moved_J - (turned_J @ rest[..., None])[..., 0]
        tip_turn = torch.einsum("tj,bjk->btk", self._tip_weights_5J, turned_J.view(batch, 16, 9)).view(
            batch, 5, 3, 3
        )
        tip_offset = torch.einsum("tj,bjk->btk", self._tip_weights_5J, offset)
        moved_tips = (tip_turn @ tips[..., None])[..., 0] + tip_offset
        every = torch.cat([moved_J, moved_tips], dim=1)[:, list(OPENPOSE_ORDER)]
        return every + transl_B3[:, None]

    def rest_wrist(self, betas_B10: Tensor) -> Tensor:
        """Wrist (..., 3) in metres of shapes (..., 10), at rest with no translation: the point MANO turns about."""
        return self._rest_J3[0] + betas_B10 @ self._shape_63x10[:3].T

    def vertices(
        self, global_orient_B3: Tensor, hand_pose_B45: Tensor, betas_B10: Tensor, transl_B3: Tensor
    ) -> Tensor:
        """All 778 skin vertices (B, 778, 3) in metres (linear blend skinning by smplx)."""
        pose = torch.cat([global_orient_B3, hand_pose_B45], dim=1)
        vertices, _ = lbs(
            betas_B10, pose, self.v_template, self.shapedirs, self.posedirs, self.J_regressor, self.parents,
            self.lbs_weights,
        )  # fmt: skip
        return vertices + transl_B3[:, None]

    def flexion_axes(self) -> Tensor:
        """Axis (15, 3) a joint in rest axes, hand_pose's order: a positive turn bends to the palm."""
        return self.joint_axes[:, 0]

    def pose_from_angles(self, angles_B45: Tensor) -> Tensor:
        """hand_pose (B, 45) from (flexion, abduction, twist) a joint, in radians.

        The three are the components of the joint's axis-angle along its own axes, so the map is linear and
        invertible. Flexion > 0 bends to the palm, abduction > 0 turns a finger to the thumb's side.
        """
        return torch.einsum("bjk,jkc->bjc", angles_B45.view(-1, 15, 3), self.joint_axes).reshape(-1, 45)

    def angles_from_pose(self, hand_pose_B45: Tensor) -> Tensor:
        """Inverse of `pose_from_angles`, (B, 45); the values that `joint_limits` (45, 2) bounds."""
        return torch.einsum("bjc,jkc->bjk", hand_pose_B45.view(-1, 15, 3), self.joint_axes).reshape(-1, 45)


def _joint_axes(rest_J3: Tensor, tips_53: Tensor) -> Tensor:
    """Rows flexion, abduction, twist (15, 3, 3) a joint, from the rest skeleton; twist is along the bone."""
    axes = torch.zeros(15, 3, 3, dtype=rest_J3.dtype)
    tip_of_chain = (1, 2, 4, 3, 0)
    finger_of_chain = (0, 1, 3, 2, 4)
    for chain in range(5):
        for bone in range(3):
            joint = 1 + 3 * chain + bone
            end = rest_J3[joint + 1] if bone < 2 else tips_53[tip_of_chain[chain]]
            along = torch.nn.functional.normalize(end - rest_J3[joint], dim=0)
            back = torch.tensor(FINGER_BACKS[finger_of_chain[chain]], dtype=rest_J3.dtype)
            back = torch.nn.functional.normalize(back - along * (back @ along), dim=0)
            axes[joint - 1] = torch.stack([torch.linalg.cross(back, along), back, along])
    return axes


def load_hand(mano_path: str | os.PathLike[str] | None = None) -> Hand:
    """The hand at `mano_path`, else at $MANO_PATH (file or folder), else the stand-in.

    Raises:
        HandFileError: the path is given and holds no readable MANO right hand.
    """
    path = mano_path or os.environ.get("MANO_PATH")
    standin = standin_arrays()
    if not path:
        return Hand(standin, NAME)
    arrays = read_mano(path)
    # Manifests and cards carry the name, so a stand-in written to a file must not pass for MANO.
    is_standin = np.allclose(arrays["v_template"], standin["v_template"], atol=1e-6)
    return Hand(arrays, NAME if is_standin else "mano")
