"""Hand, object and camera of planned clips, frame by frame, with contact from the true distance to the surface."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import roma
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from trainables.hand import Hand
from trainables.world_actions import FPS, WRAPPED, course, rigid_act
from trainables.world_grasp import Things, grip_objects, hand_at_wrist
from trainables.world_objects import SIZES, SPAN_M, TOP_M
from trainables.world_plan import Plan
from trainables.world_scenes import PALETTE, Scene, head_camera

CONTACT_RADIUS_M = 0.005
FRAMES = (36, 48)  # shortest and longest clip
_SIDEWAYS_HEIGHT_M = 0.05  # of the knuckles of a hand that comes from the side, at least
_STEPS = 2000  # closing and distance are rounded to such parts, so that equal postures are computed once


@dataclass(frozen=True, kw_only=True)
class Motion:
    """All F frames of a batch of clips, one after another; world axes unless named otherwise."""

    things: Things  # one a clip
    colour_C: list[int]  # of the object, in the palette
    clip_F: Tensor  # int64, index in the batch
    angles_F45: Tensor  # of Hand.pose_from_angles
    betas_C10: Tensor
    rot_F33: Tensor  # wrist to world
    wrist_F3: Tensor  # metres
    posture_F: Tensor  # int64, row of skin_P
    skin_PV3: Tensor  # vertices about the wrist in hand axes
    object_rot_F33: Tensor
    object_at_F3: Tensor
    distance_FV: Tensor  # metres, skin vertices to the object's surface, negative inside
    camera_rot_F33: Tensor  # world to camera
    camera_transl_F3: Tensor

    def world_skin(self, frames: Tensor) -> Tensor:
        """Skin vertices (N, 778, 3) in world axes at some frames."""
        skin = self.skin_PV3[self.posture_F[frames]]
        return skin @ self.rot_F33[frames].float().mT + self.wrist_F3[frames].float()[:, None]


@dataclass(frozen=True, kw_only=True)
class _Draw:
    """The chance part of one clip, apart from its course."""

    frames: int
    size: float
    yaw: float
    at_m: np.ndarray
    aim_m: np.ndarray
    turn: float
    slope: float
    from_m: np.ndarray
    from_turn: np.ndarray
    reach: float
    swerve: float
    colour: int


_SLOPES = {
    "wrap": (-0.05, 0.20),
    "shove": (-0.05, 0.20),
    "pinch": (-0.10, 0.12),
    "flat": (0.10, 0.35),
    "poke": (0.50, 0.85),
}
_TURNS = {
    "wrap": (0.0, 0.7),
    "shove": (-0.15, 0.35),
    "pinch": (-0.2, 0.6),
    "flat": (-0.2, 0.6),
    "poke": (-0.2, 0.6),
}


def grip_of(plan: Plan) -> str:
    """The kind of grip the plan's action takes on its object."""
    if plan.action.grip != "hold":
        return plan.action.grip
    return "wrap" if plan.category in WRAPPED else "pinch"


def _draw(plan: Plan, rng: np.random.Generator) -> _Draw:
    grip = grip_of(plan)
    centred = plan.category in ("marker", "knob", "button") or grip == "wrap"
    round_ = plan.category in ("ball", "can", "bottle", "bowl", "lid", "button", "knob")
    return _Draw(
        frames=int(rng.integers(FRAMES[0], FRAMES[1] + 1)),
        size=SIZES[plan.size] * rng.uniform(0.97, 1.03),
        yaw=0.0 if round_ else rng.uniform(-0.3, 0.3),
        at_m=np.array([rng.uniform(-0.10, 0.10), rng.uniform(0.03, 0.19), 0.0]),
        aim_m=rng.uniform(-1.0, 1.0, 2) * (0.003 if centred else 0.010),
        turn=rng.uniform(*_TURNS[grip]),
        slope=rng.uniform(*_SLOPES[grip]),
        from_m=np.array(
            [rng.uniform(-0.02, 0.05), rng.uniform(-0.07, 0.0), plan.task.clearance_m + rng.uniform(0, 0.02)]
        ),
        from_turn=rng.uniform(-0.3, 0.3, 3),
        reach=plan.task.reach * rng.uniform(0.92, 1.08),
        swerve=rng.normal(0.0, 0.10),
        colour=int(rng.integers(len(PALETTE))),
    )


def _height_m(plan: Plan, size: float) -> float:
    """Height above the table at which the plan's grip aims."""
    top, grip = TOP_M[plan.category] * size, grip_of(plan)
    if grip in ("wrap", "shove"):
        return max(0.5 * top, _SIDEWAYS_HEIGHT_M)
    if grip == "pinch":
        # Handles by their upper end, other things no deeper than finger tips reach.
        return {"ball": 0.5 * top, "lid": top - 0.012, "knob": top - 0.012}.get(
            plan.category, max(top - 0.022, 0.010)
        )
    return 0.0


def _tensor(rows: list[np.ndarray] | list[float]) -> Tensor:
    return torch.from_numpy(np.asarray(rows, dtype=np.float64))


def move(hand: Hand, plans: list[Plan], scenes: list[Scene], rngs: list[np.random.Generator]) -> Motion:
    """The motion of a batch of clips; clip i depends on its plan, scene and generator alone."""
    draws = [_draw(plan, rng) for plan, rng in zip(plans, rngs, strict=True)]
    things = Things(
        category=[plan.category for plan in plans],
        size_N=_tensor([d.size for d in draws]).float(),
        yaw_N=_tensor([d.yaw for d in draws]).float(),
    )
    betas = _tensor([scene.betas for scene in scenes]).float()
    grips = grip_objects(
        hand,
        things,
        [grip_of(plan) for plan in plans],
        [plan.action.direction for plan in plans],
        _tensor([_height_m(plan, d.size) for plan, d in zip(plans, draws, strict=True)]).float(),
        _tensor(
            [SPAN_M.get(plan.category, 0.0) * d.size for plan, d in zip(plans, draws, strict=True)]
        ).float(),
        _tensor([d.aim_m for d in draws]).float(),
        _tensor([d.turn for d in draws]).float(),
        _tensor([d.slope for d in draws]).float(),
        betas,
    )
    clip, away, closed, act_turn, act_moved, at, come, come_turn = [], [], [], [], [], [], [], []
    for i, (plan, d, rng) in enumerate(zip(plans, draws, rngs, strict=True)):
        time = course(plan.action, plan.task, d.frames, rng)
        turn, moved = rigid_act(plan.action, time.done_T, d.reach, 0.5 * TOP_M[plan.category] * d.size)
        moved = Rotation.from_rotvec([0.0, 0.0, d.swerve]).apply(moved)
        clip.append(np.full(d.frames, i))
        away.append(np.round(time.away_T * _STEPS) / _STEPS)
        closed.append(np.round(time.closed_T * _STEPS) / _STEPS)
        act_turn.append(turn)
        act_moved.append(moved)
        at.append(np.broadcast_to(d.at_m, moved.shape))
        come.append(time.away_T[:, None] * (d.from_m - 0.08 * grips.onward_N3[i].numpy()))
        come_turn.append(time.away_T[:, None] * d.from_turn)
    clip_F, away_F, closed_F = (np.concatenate(parts) for parts in (clip, away, closed))
    act_rot = roma.rotvec_to_rotmat(torch.from_numpy(np.concatenate(act_turn)))
    act_at = torch.from_numpy(np.concatenate(act_moved) + np.concatenate(at))
    come_rot = roma.rotvec_to_rotmat(torch.from_numpy(np.concatenate(come_turn)))
    come_at = torch.from_numpy(np.concatenate(come))
    index = torch.from_numpy(clip_F)

    # Postures: a clip's fingers at one degree of closing. Contact needs the way off the object besides, not the act,
    # which moves hand and object alike.
    _, first, posture = np.unique(
        np.stack([clip_F, closed_F]), axis=1, return_index=True, return_inverse=True
    )
    shut = torch.from_numpy(closed_F).float()[:, None]
    angles = grips.open_N45[index] + shut * (grips.closed_N45 - grips.open_N45)[index]
    skin, _ = hand_at_wrist(hand, angles[first], betas[index[first]])
    posture_F = torch.from_numpy(posture.reshape(-1))
    _, one, relation = np.unique(
        np.stack([clip_F, closed_F, away_F]), axis=1, return_index=True, return_inverse=True
    )
    rot = come_rot @ grips.rot_N33.double()[index]
    wrist = grips.wrist_N3.double()[index] + come_at
    one_ = torch.from_numpy(one)
    distance = torch.cat([
        things.distance_m(
            skin[posture_F[rows]] @ rot[rows].float().mT + wrist[rows].float()[:, None], index[rows]
        )
        for rows in one_.split(512)
    ])  # fmt: skip

    wrist_world = (act_rot @ wrist[..., None])[..., 0] + act_at
    ends = np.cumsum([d.frames for d in draws])[:-1]
    cameras = [
        head_camera(scene, way, rng, FPS)
        for scene, way, rng in zip(scenes, np.split(wrist_world.numpy(), ends), rngs, strict=True)
    ]
    yaw = torch.zeros(len(index), 3, dtype=torch.float64)
    yaw[:, 2] = things.yaw_N.double()[index]
    return Motion(
        things=things,
        colour_C=[d.colour for d in draws],
        clip_F=index,
        angles_F45=angles,
        betas_C10=betas,
        rot_F33=act_rot @ rot,
        wrist_F3=wrist_world,
        posture_F=posture_F,
        skin_PV3=skin,
        object_rot_F33=act_rot @ roma.rotvec_to_rotmat(yaw),
        object_at_F3=act_at,
        distance_FV=distance[torch.from_numpy(relation.reshape(-1))],
        camera_rot_F33=torch.cat([camera[0] for camera in cameras]),
        camera_transl_F3=torch.cat([camera[1] for camera in cameras]),
    )
