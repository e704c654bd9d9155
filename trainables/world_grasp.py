"""How the hand of the procedural world meets an object: analytic grips, from an open hand to fingers on the surface.

The open hand is turned for its grip, moved on until it touches (sphere tracing of the signed distance), and each finger is
then closed until it touches (bisection). Everything is batched over N grips, in axes that are the world's, moved to the
middle of the object's base. Hand axes are the hand model's: fingers -x, palm -y, thumb +z; its origin is the wrist.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trainables.hand import Hand
from trainables.world_actions import WAYS
from trainables.world_objects import CATEGORIES, signed_distance_m

SKIN_M = 0.002  # how far soft skin gives way where a finger presses
_GAP_M = 0.0005
_TIP_M = 0.015  # thickness of a finger tip
_PINCH_GRID = 11
_CLEAR_M = 0.003
_MARCH_STEPS, _CLOSE_STEPS = 28, 8
_FINGER_TIPS = {"thumb": 4, "index": 8, "middle": 12, "ring": 16}  # in OpenPose order

# (flexion of knuckle, middle and end joint of a finger; flexion and abduction of the thumb's base, flexion of its other
# two joints), open and fully closed; radians.
_FINGERS = {
    "wrap": ((0.10, 0.15, 0.10), (1.45, 1.50, 0.90)),
    "pinch": ((0.50, 0.40, 0.25), (1.25, 0.65, 0.42)),
    "flat": ((0.05, 0.10, 0.05), (0.60, 0.30, 0.20)),
    "shove": ((0.05, 0.10, 0.08), (0.05, 0.10, 0.08)),
    "poke": ((1.20, 1.45, 0.80), (1.20, 1.45, 0.80)),
}
_THUMB = {
    "wrap": ((-0.40, 0.80, 0.00, 0.00), (0.90, 0.60, 0.70, 0.70)),
    "pinch": ((0.05, 0.60, 0.00, 0.05), (0.50, 0.22, 0.48, 0.70)),
    "flat": ((0.10, 0.10, 0.10, 0.10), (0.10, 0.10, 0.10, 0.10)),
    "shove": ((0.00, 0.00, 0.00, 0.00), (0.00, 0.00, 0.00, 0.00)),
    "poke": ((0.55, 0.45, 0.50, 0.60), (0.55, 0.45, 0.50, 0.60)),
}
_POKING_INDEX = (0.30, 0.20, 0.10)


@dataclass(frozen=True, kw_only=True)
class Things:
    """The N objects that are handled: category, size factor, turn about the vertical (radians)."""

    category: list[str]
    size_N: Tensor
    yaw_N: Tensor

    def distance_m(self, points_NP3: Tensor, rows_N: Tensor | None = None) -> Tensor:
        """Signed distance (N, P); points in axes of the world at the object's base. rows_N: whose object each row is."""
        rows = torch.arange(len(self.category)) if rows_N is None else rows_N
        cos, sin = self.yaw_N[rows].cos()[:, None], self.yaw_N[rows].sin()[:, None]
        x, y, z = points_NP3.unbind(-1)
        local = torch.stack([cos * x + sin * y, cos * y - sin * x, z], dim=-1)
        names = np.array(self.category)[rows.numpy()]
        found = torch.empty(points_NP3.shape[:2])
        for name, parts_of in CATEGORIES.items():
            mine = torch.from_numpy(np.flatnonzero(names == name))
            if len(mine):
                found[mine] = signed_distance_m(parts_of(self.size_N[rows[mine]]), local[mine])
        return found


@dataclass(frozen=True, kw_only=True)
class Grips:
    """Hands touching their objects: wrist rotation and place about the object's base, and fingers open and closed."""

    rot_N33: Tensor
    wrist_N3: Tensor
    open_N45: Tensor  # angles of Hand.pose_from_angles
    closed_N45: Tensor
    onward_N3: Tensor  # unit direction in which the hand came


def _angles(grip: str) -> tuple[Tensor, Tensor]:
    """Open and closed angles (45,) of a grip."""
    both = []
    for end in (0, 1):
        angles = torch.zeros(15, 3)
        for finger in range(4):
            angles[3 * finger : 3 * finger + 3, 0] = torch.tensor(_FINGERS[grip][end])
        if grip == "poke":
            angles[:3, 0] = torch.tensor(_POKING_INDEX)
        base, away, second, third = _THUMB[grip][end]
        angles[12, 0], angles[12, 1], angles[13, 0], angles[14, 0] = base, away, second, third
        both.append(angles.reshape(45))
    return both[0], both[1]


def _orientation(grip: str, direction: str, turn: Tensor, slope: Tensor) -> tuple[Tensor, Tensor]:
    """Wrist rotations (N, 3, 3) to world axes and directions of approach (N, 3).

    turn, slope (N,): radians the fingers are turned to the left of forward, and lowered.
    """
    zero, one = torch.zeros_like(turn), torch.ones_like(turn)
    level = slope.cos()
    fingers = torch.stack([-turn.sin() * level, turn.cos() * level, -slope.sin()], dim=-1)
    down = torch.stack([zero, zero, -one], dim=-1)
    palm = torch.stack([-turn.cos(), -turn.sin(), zero], dim=-1) if grip in ("wrap", "shove") else down
    palm = torch.nn.functional.normalize(palm - fingers * (palm * fingers).sum(-1, keepdim=True), dim=-1)
    rot = torch.stack([-fingers, -palm, torch.linalg.cross(fingers, palm)], dim=-1)
    if grip == "wrap":
        onward = palm
    elif grip == "shove":
        onward = torch.tensor(WAYS[direction]).expand_as(palm)
    else:
        onward = down
    return rot, onward


def hand_at_wrist(
    hand: Hand, angles_N45: Tensor, betas_N10: Tensor, *, skin: bool = True
) -> tuple[Tensor, Tensor]:
    """Skin vertices (N, 778, 3; none unless asked for) and joints (N, 21, 3), wrist at the origin, hand axes."""
    pose, zero = hand.pose_from_angles(angles_N45), torch.zeros(len(angles_N45), 3)
    joints = hand.joints(zero, pose, betas_N10, zero)
    if not skin:
        return joints[:, :0], joints - joints[:, :1]
    vertices = torch.cat([hand.vertices(*part) for part in zip(
        zero.split(512), pose.split(512), betas_N10.split(512), zero.split(512), strict=True
    )])  # fmt: skip
    return vertices - joints[:, :1], joints - joints[:, :1]


def _anchor(grip: str, direction: str, joints_N213: Tensor) -> Tensor:
    """The point of the hand (N, 3) that is led to the object, hand axes."""
    tip = {name: joints_N213[:, j] for name, j in _FINGER_TIPS.items()}
    if grip == "poke":
        return tip["index"]
    if grip == "flat":
        return (tip["index"] + tip["middle"] + tip["ring"]) / 3
    if direction == "forward":  # is shoved by the finger tips
        return tip["middle"]
    return joints_N213[:, 9] * (1.08 if grip == "wrap" else 1.45)  # of the way from wrist to middle knuckle


def _pinch(hand: Hand, width_N: Tensor, betas_N10: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """For things of some width: the point between the tips that will hold it (N, 3), the slope that levels them (N,), and
    the lowest the hand reaches below its wrist (N,) at that slope."""
    open_45, closed_45 = _angles("pinch")
    grid_G = torch.linspace(0, 1, _PINCH_GRID)
    angles = open_45 + grid_G[:, None] * (closed_45 - open_45)
    count = len(width_N)
    _, joints = hand_at_wrist(
        hand, angles.repeat(count, 1), betas_N10.repeat_interleave(_PINCH_GRID, 0), skin=False
    )
    joints = joints.view(count, _PINCH_GRID, 21, 3)
    thumb, fingers = joints[:, :, 4], (joints[:, :, 8] + joints[:, :, 12]) / 2
    gap = (thumb - fingers).norm(dim=-1) - _TIP_M
    best = (gap - width_N[:, None]).abs().argmin(1)
    row = torch.arange(count)
    thumb, fingers = thumb[row, best], fingers[row, best]
    across = thumb - fingers
    slope = torch.atan2(-across[:, 1], across[:, 0]).clamp(0.0, 0.7)
    down = (
        -joints[row, best][..., 0] * slope.sin()[:, None] - joints[row, best][..., 1] * slope.cos()[:, None]
    )
    return (thumb + fingers) / 2, slope, down.amax(-1) + 0.5 * _TIP_M


def _solid(things: Things, rows: Tensor, points_NP3: Tensor) -> Tensor:
    """Signed distance (N, P) to the object and the table it stands on."""
    return things.distance_m(points_NP3, rows).minimum(points_NP3[..., 2])


def _grip_group(
    hand: Hand, things: Things, rows: Tensor, grip: str, direction: str, height_m: Tensor, width_m: Tensor, aim_N2: Tensor,
    turn: Tensor, slope: Tensor, betas_N10: Tensor,
) -> Grips:  # fmt: skip
    open_45, closed_45 = _angles(grip)
    open_N45, closed_N45 = open_45.expand(len(rows), 45), closed_45.expand(len(rows), 45)
    vertices, joints = hand_at_wrist(hand, open_N45, betas_N10)
    anchor = _anchor(grip, direction, joints)
    if grip == "pinch":
        anchor, level, lowest = _pinch(hand, width_m, betas_N10)
        slope = slope + level
    rot, onward = _orientation(grip, direction, turn, slope)
    turned = vertices @ rot.mT
    anchor = (anchor[:, None] @ rot.mT)[:, 0]
    thumb = hand.lbs_weights[:, 13:].sum(-1) > 0.3
    target = torch.cat([aim_N2, height_m[:, None]], dim=-1)
    wrist = target - anchor - 0.25 * onward
    if grip in ("wrap", "shove"):
        # It comes sideways, so it must clear the table beforehand.
        wrist[:, 2] += (_CLEAR_M - turned[..., 2].amin(-1) - wrist[:, 2]).clamp(min=0)
    # A pinch goes down to its height, everything else until it touches; a wrap's thumb comes round later.
    moving = turned[:, ~thumb] if grip == "wrap" else turned
    left = torch.full((len(rows),), 0.40)
    if grip == "pinch":
        # Down to its height, or to where the closing tips would scrape the table.
        left = (wrist[:, 2] - (target[:, 2] - anchor[:, 2]).maximum(lowest + _CLEAR_M)).clamp(min=0)
    for _ in range(_MARCH_STEPS):
        # Sideways the table is slid along, not approached.
        distance = things.distance_m(moving + wrist[:, None], rows)
        if grip in ("pinch", "flat", "poke"):
            distance = distance.minimum(moving[..., 2] + wrist[:, None, 2])
        step = (distance.amin(-1) - _GAP_M).minimum(left)
        left = left - step
        wrist = wrist + step[:, None] * onward
    closed = _close(hand, things, rows, open_N45, closed_N45, rot, wrist, betas_N10)
    return Grips(rot_N33=rot, wrist_N3=wrist, open_N45=open_N45, closed_N45=closed, onward_N3=onward)


def _close(
    hand: Hand, things: Things, rows: Tensor, open_N45: Tensor, closed_N45: Tensor, rot: Tensor, wrist: Tensor, betas_N10: Tensor
) -> Tensor:  # fmt: skip
    """Angles (N, 45) at which each finger, on its way from open to closed, first presses SKIN_M into something."""
    if torch.equal(open_N45, closed_N45):
        return closed_N45
    chains = [hand.lbs_weights[:, 1 + 3 * c : 4 + 3 * c].sum(-1) > 0.6 for c in range(5)]
    low, high = torch.zeros(len(rows), 5), torch.ones(len(rows), 5)
    for _ in range(_CLOSE_STEPS):
        middle = (low + high) / 2
        share = middle.repeat_interleave(9, dim=1)
        vertices, _ = hand_at_wrist(hand, open_N45 + share * (closed_N45 - open_N45), betas_N10)
        distance = _solid(things, rows, vertices @ rot.mT + wrist[:, None])
        presses = torch.stack([distance[:, chain].amin(-1) < -SKIN_M for chain in chains], dim=1)
        low, high = torch.where(presses, low, middle), torch.where(presses, middle, high)
    return open_N45 + low.repeat_interleave(9, dim=1) * (closed_N45 - open_N45)


def grip_objects(
    hand: Hand, things: Things, grip: list[str], direction: list[str], height_N: Tensor, width_N: Tensor, aim_N2: Tensor,
    turn_N: Tensor, slope_N: Tensor, betas_N10: Tensor,
) -> Grips:  # fmt: skip
    """Grips of N hands: kind "wrap", "pinch", "flat", "poke" or "shove", each pushed in `direction`.

    height_N: metres above the table, width_N: metres between the tips of a pinch, aim_N2: metres off the object's middle, at which the hand's anchor aims;
    turn_N, slope_N: radians the fingers are turned left of forward and lowered (of a pinch: beyond what levels its tips).
    """
    kinds = [(g, d if g == "shove" else "") for g, d in zip(grip, direction, strict=True)]
    count = len(kinds)
    found = Grips(
        rot_N33=torch.zeros(count, 3, 3), wrist_N3=torch.zeros(count, 3), open_N45=torch.zeros(count, 45),
        closed_N45=torch.zeros(count, 45), onward_N3=torch.zeros(count, 3),
    )  # fmt: skip
    for kind in sorted(set(kinds)):
        rows = torch.tensor([i for i, k in enumerate(kinds) if k == kind])
        part = _grip_group(
            hand,
            things,
            rows,
            *kind,
            height_N[rows],
            width_N[rows],
            aim_N2[rows],
            turn_N[rows],
            slope_N[rows],
            betas_N10[rows],
        )
        for name, value in vars(part).items():
            getattr(found, name)[rows] = value
    return found
