"""A right hand in MANO's file layout, for people without MANO's licensed file.

Built by rule: a cage of 194 quads (palm 4 x 1 x 7, five square tubes of 29 segments in all) and one
Catmull-Clark subdivision give 778 vertices and 1552 triangles, closed. Conventions are MANO's: metres, right
hand, rest pose flat with fingers along -x, back of the hand +y, thumb towards +z, wrist at the +x end.

Lengths follow Buryanov & Kotiuk, "Proportions of hand segments", Int. J. Morphol. 28(3), 2010: wrist-to-tip
totals and middle phalanges as published, while knuckle and thumb joints lie up to 1 cm further out than the
bones' joint lines, because that is where surface models such as MANO have theirs.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from scipy import optimize

from trainables.subdivision import catmull_clark

Array = np.ndarray

NAME = "standin-1"
FINGER_TIP_VERTICES = (744, 320, 443, 554, 671)  # thumb, index, middle, ring, pinky: smplx's table for MANO
PARENTS = (-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14)  # wrist, index, middle, pinky, ring, thumb

# One unit of a shape coefficient is about one standard deviation among adults.
SHAPE_DIRECTIONS = (
    "overall size", "palm length", "palm width", "thumb length", "index length", "middle length",
    "ring length", "pinky length", "thickness", "proximal share",
)  # fmt: skip
_SIZE, _PALM_LENGTH, _PALM_WIDTH, _FINGER, _THICKNESS, _SHARE = (
    0.05,
    0.045,
    0.045,
    0.05,
    0.07,
    (1.5, -0.5, -1.0),
)

# Millimetres from here on; fingers in the cage's order: index, middle, ring, pinky, thumb.
_WRIST = np.array([96.0, 0.0, 0.0])
_FIRST_JOINT_OF_FINGER = (1, 4, 10, 7, 13)
_LENGTH_BETA_OF_FINGER = (4, 5, 6, 7, 3)
_TIP_OF_FINGER = (1, 2, 3, 4, 0)  # into FINGER_TIP_VERTICES
_BASE = np.array(
    [[6.0, -2.0, 24.5], [0.0, 0.0, 1.5], [11.0, -2.0, -21.0], [24.0, -7.0, -40.0], [72.5, -13.0, 26.0]]
)
_SEGMENTS = np.array(
    [[34.0, 22.5, 22.5], [33.5, 25.5, 24.5], [31.0, 25.0, 23.5], [23.0, 19.0, 20.5], [33.0, 29.0, 32.0]]
)
_SPREAD_DEG = (4.0, 0.0, -4.0, -9.0)  # towards the thumb
_THUMB_BONES = np.array([[-0.70, -0.22, 0.68], [-0.80, -0.12, 0.58], [-0.86, -0.06, 0.50]])
_RADII = (  # of the six (thumb: five) rings
    (10.2, 10.0, 9.2, 8.9, 8.4, 5.6),
    (10.4, 10.2, 9.4, 9.1, 8.6, 5.7),
    (9.8, 9.5, 8.8, 8.5, 8.0, 5.3),
    (8.7, 8.4, 7.8, 7.5, 7.1, 4.8),
    (13.2, 11.6, 11.4, 11.0, 7.2),
)
# Where a finger's back looks in rest: fingers lean to the hand's middle, so that they close towards it when
# they bend; the thumb's pad looks to the palm and the fingers.
FINGER_BACKS = ((0.0, 1.0, 0.06), (0.0, 1.0, 0.0), (0.0, 1.0, -0.06), (0.0, 1.0, -0.14), (0.25, 0.75, 0.6))
_WEB_MM = (11.0, 11.5, 10.0, 8.0)  # skin fold between the fingers, from the knuckle
_SHRINK = 1 / 0.75  # a square tube's corners keep 3/4 of their distance to the axis under Catmull-Clark
_DEPTH = 0.93  # fingers are a little wider than deep


def _finger_frames() -> Array:
    """Rest axes (5 fingers, 3 bones, 3 axes, 3): along the bone, to the back, sideways.

    Cage order index, middle, ring, pinky, thumb. Sideways = back x along, the thumb's side of a finger.
    """
    frames = np.zeros((5, 3, 3, 3))
    for finger in range(5):
        for bone in range(3):
            if finger < 4:
                angle = np.radians(_SPREAD_DEG[finger])
                along = np.array([-np.cos(angle), 0.0, np.sin(angle)])
            else:
                along = _THUMB_BONES[bone] / np.linalg.norm(_THUMB_BONES[bone])
            back = np.array(FINGER_BACKS[finger])
            back = back - along * (back @ along)
            back /= np.linalg.norm(back)
            frames[finger, bone] = along, back, np.cross(back, along)
    return frames


def _polyline(base: Array, segments: Array, along: Array, s: float) -> tuple[Array, int]:
    """Point at arc length s on a finger's rest axis (straight on past its ends), and its bone."""
    point, bone = base, 0
    while bone < 2 and s > segments[bone]:
        point, s, bone = point + along[bone] * segments[bone], s - segments[bone], bone + 1
    return point + along[bone] * s, bone


def _grid(betas: Array, frames: Array, base: Array) -> Array:
    """Palm cage (8 stations, 5 columns, 2 sides back/palm, 3) in mm; column 0 is the thumb's side."""
    thick = 1 + _THICKNESS * betas[8]
    z_thumb_side = np.array([27.0, 28.0, 29.0, 31.0, 34.0, 36.0, 35.5])
    z_little_side = np.array([-26.0, -27.0, -34.0, -41.5, -46.5, -49.0, -49.0])
    across = np.array([0.0, 0.26, 0.52, 0.77, 1.0])
    x_knuckle = np.array([9.0, 2.0, 4.0, 17.0, 29.0])
    y_knuckle = np.array([-3.5, -0.5, -0.5, -4.0, -9.0])
    station = np.array([-0.24, -0.02, 0.19, 0.40, 0.60, 0.80, 1.0])  # 0 wrist, 1 knuckles
    half = np.array([17.0, 17.0, 16.0, 15.0, 14.0, 13.5, 13.0])
    palmar_bulge = np.zeros((7, 5))  # pads of thumb and little finger, a hollow between them
    palmar_bulge[1:] = (
        [1, 1, 0, 0, 0],
        [8, 6, 1, 4, 3],
        [8, 7, 0, 5, 4],
        [3, 2, -2, 3, 2],
        [0, 0, -1, 1, 1],
        [0, 1, 1, 1, 0],
    )
    grid = np.zeros((8, 5, 2, 3))
    for i, t in enumerate(station):
        share = np.clip(t, 0, 1)
        x = _WRIST[0] + (x_knuckle - _WRIST[0]) * t
        z = z_thumb_side[i] + (z_little_side[i] - z_thumb_side[i]) * across
        arch = y_knuckle * share
        edge = np.array([0.80, 1.0, 1.0, 1.0, 0.80])
        for c in range(5):
            grid[i, c, 0] = x[c], arch[c] + half[i] * edge[c] * thick, z[c]
            grid[i, c, 1] = x[c], arch[c] - (half[i] * edge[c] + palmar_bulge[i, c]) * thick, z[c]
    palm_scale = np.array([1 + _PALM_LENGTH * betas[1], 1.0, 1 + _PALM_WIDTH * betas[2]])
    grid[:7] = _WRIST + (grid[:7] - _WRIST) * palm_scale
    # The web row: halfway between neighbouring fingers, following them.
    middles = [base[f] + frames[f, 0, 0] * _WEB_MM[f] for f in range(4)]
    sides = [frames[f, 0, 2] * 10.0 * (1 + _PALM_WIDTH * betas[2]) for f in range(4)]
    web = [
        middles[0] + sides[0],
        *((middles[f] + middles[f + 1]) / 2 for f in range(3)),
        middles[3] - 0.85 * sides[3],
    ]
    for c in range(5):
        rise = 8.0 if c in (0, 4) else 7.0
        grid[7, c, 0] = web[c] + np.array([0.0, rise * thick, 0.0])
        grid[7, c, 1] = web[c] - np.array([0.0, (rise + 2.0) * thick, 0.0])
    # The thumb leaves from the thumb-side quad between stations 2 and 3.
    along, back, side = frames[4, 0]
    for i, sign in ((2, 1.0), (3, -1.0)):
        middle = base[4] + along * (10.0 if i == 2 else 15.0) + side * sign * 17.0
        grid[i, 0, 0] = middle + back * 11.5 * thick
        grid[i, 0, 1] = middle - back * 14.0 * thick
    return grid


def _cage(betas: Array) -> tuple[Array, Array, Array]:
    """Cage vertices (196, 3), joints (16, 3) and tips (5, 3; cage order) for 10 coefficients, in mm."""
    frames = _finger_frames()
    palm_scale = np.array([1 + _PALM_LENGTH * betas[1], 1.0, 1 + _PALM_WIDTH * betas[2]])
    base = _WRIST + (_BASE - _WRIST) * palm_scale
    thick = 1 + _THICKNESS * betas[8]
    vertices = [_grid(betas, frames, base).reshape(80, 3)]
    joints, tips = np.zeros((16, 3)), np.zeros((5, 3))
    joints[0] = _WRIST
    for finger in range(5):
        segments = _SEGMENTS[finger] * (1 + _FINGER * betas[_LENGTH_BETA_OF_FINGER[finger]])
        segments = segments + np.array(_SHARE) * betas[9]
        along = frames[finger, :, 0]
        ends = np.cumsum(segments)
        for bone in range(3):
            joint = _FIRST_JOINT_OF_FINGER[finger] + bone
            joints[joint], _ = _polyline(base[finger], segments, along, ends[bone] - segments[bone])
        tips[finger], _ = _polyline(base[finger], segments, along, ends[2])
        for s, radius in zip(_ring_positions(finger, segments), _RADII[finger], strict=True):
            centre, bone = _polyline(base[finger], segments, along, s)
            _, back, side = frames[finger, bone]
            r = radius * thick * _SHRINK / np.sqrt(2)
            for across, up in ((1, 1), (-1, 1), (-1, -1), (1, -1)):
                vertices.append((centre + r * across * side + r * _DEPTH * up * back)[None])
    size = 1 + _SIZE * betas[0]
    cage, joints, tips = (
        _WRIST + (part - _WRIST) * size for part in (np.concatenate(vertices), joints, tips)
    )
    return cage, joints, tips


def _ring_positions(finger: int, segments: Array) -> list[float]:
    """Arc lengths of a finger's rings from its first joint: joints, bones' middles, tip."""
    first, second, third = np.cumsum(segments)
    if finger == 4:
        return [first, (first + second) / 2, second, (second + third) / 2, third]
    return [first - 0.36 * segments[0], first, (first + second) / 2, second, (second + third) / 2, third]


def _cage_quads() -> Array:
    """The 194 quads, outward, over 80 palm vertices and then 4 a ring (index, middle, ring, pinky, thumb)."""
    back = np.arange(80).reshape(8, 5, 2)[..., 0]
    palm = back + 1
    quads: list[tuple[int, ...]] = []
    for i in range(7):
        for c in range(4):
            quads.append((back[i, c], back[i, c + 1], back[i + 1, c + 1], back[i + 1, c]))
            quads.append((palm[i, c], palm[i + 1, c], palm[i + 1, c + 1], palm[i, c + 1]))
        quads.append((back[i + 1, 4], back[i, 4], palm[i, 4], palm[i + 1, 4]))
        if i != 2:  # the thumb's place
            quads.append((back[i, 0], back[i + 1, 0], palm[i + 1, 0], palm[i, 0]))
    for c in range(4):
        quads.append((back[0, c + 1], back[0, c], palm[0, c], palm[0, c + 1]))
    roots = [(back[7, c], back[7, c + 1], palm[7, c + 1], palm[7, c]) for c in range(4)]
    roots.append((back[2, 0], back[3, 0], palm[3, 0], palm[2, 0]))
    new = 80
    for root, radii in zip(roots, _RADII, strict=True):
        for _ in radii:
            ring = (new, new + 1, new + 2, new + 3)
            for k in range(4):
                quads.append((root[k], root[(k + 1) % 4], ring[(k + 1) % 4], ring[k]))
            root, new = ring, new + 4
        quads.append(root)
    return np.array(quads)


def _smooth_step(x: Array) -> Array:
    x = np.clip(x, 0.0, 1.0)
    return x * x * (3 - 2 * x)


def _skinning(subdivide: Array, cage: Array) -> Array:
    """Weights (778, 16), rows summing to 1: each joint hands over smoothly within 14 to 20 mm of finger."""
    member, arc = np.zeros((196, 5)), np.full((196, 5), -60.0)
    grid = np.arange(80).reshape(8, 5, 2)
    for finger in range(4):
        for c in (finger, finger + 1):
            member[grid[:, c], finger] = 1.0 if (finger, c) in ((0, 0), (3, 4)) else 0.5
        for i, s in ((5, -17.0), (6, 0.0), (7, _WEB_MM[finger])):
            arc[grid[i], finger] = s
    row = 80
    for finger in range(5):
        for s in _ring_positions(finger, _SEGMENTS[finger]):
            member[row : row + 4, finger], arc[row : row + 4, finger] = 1.0, s
            row += 4
    # The thumb's first bone carries the ball of the thumb: a soft falloff around the bone.
    along = _finger_frames()[4, 0, 0]
    offset = cage[:80] - _BASE[4]
    s = np.clip(offset @ along, 4.0, _SEGMENTS[4, 0])
    distance = np.linalg.norm(offset - s[:, None] * along, axis=1)
    arc[:80, 4] = 12.0
    member[:80, 4] = 0.9 * _smooth_step((46.0 - distance) / 34.0)
    member[:80, :4] *= 1 - member[:80, 4:]
    member, arc = subdivide @ member, subdivide @ arc
    weights = np.zeros((778, 16))
    for finger in range(5):
        first, second, _ = np.cumsum(_SEGMENTS[finger])
        width = (20.0, 16.0, 14.0) if finger < 4 else (14.0, 18.0, 15.0)
        at = zip((0.0, first, second), width, strict=True)
        on = [_smooth_step((arc[:, finger] - joint) / blend + 0.5) for joint, blend in at]
        chain = [1 - on[0], on[0] * (1 - on[1]), on[0] * on[1] * (1 - on[2]), on[0] * on[1] * on[2]]
        joints = (0, *(_FIRST_JOINT_OF_FINGER[finger] + bone for bone in range(3)))
        for joint, share in zip(joints, chain, strict=True):
            weights[:, joint] += member[:, finger] * share
    return weights / weights.sum(1, keepdims=True)


def _regressor(template: Array, directions: Array, joints: Array, joint_directions: Array) -> Array:
    """Rows (16, 778) >= 0, sum 1, that give the joints in the template and for every shape direction."""
    regressor = np.zeros((16, len(template)))
    for j in range(16):
        near = np.argsort(np.linalg.norm(template - joints[j], axis=1), kind="stable")[:72]
        offsets = template[near].T - joints[j][:, None]
        rows = np.concatenate([offsets, directions[near].reshape(len(near), -1).T])
        wanted = np.concatenate([np.zeros(3), joint_directions[j].reshape(-1)])
        spread = 1e-3 * np.eye(len(near))  # prefers many small weights to a few large ones
        a = np.concatenate([rows, 1e3 * np.ones((1, len(near))), spread])
        b = np.concatenate([wanted, [1e3], np.zeros(len(near))])
        weights, _ = optimize.nnls(a, b)
        regressor[j, near] = weights / weights.sum()
    return regressor


def standin_arrays() -> dict[str, Array]:
    """The stand-in as the arrays of a MANO file: float64, metres, axes as in the module's text."""
    quads = _cage_quads()
    subdivide, fine = catmull_clark(quads)
    zero = np.zeros(10)
    cage, joints, _ = _cage(zero)
    unit = [_cage(row) for row in np.eye(10)]
    template = subdivide @ cage
    directions = np.stack([subdivide @ (u[0] - cage) for u in unit], axis=-1)
    joint_directions = np.stack([u[1] - joints for u in unit], axis=-1)
    weights = _skinning(subdivide, cage)
    regressor = _regressor(template, directions, joints, joint_directions)
    # smplx's tip numbers must name the middles of the end caps.
    order = np.arange(778)
    row = 80
    for finger in range(5):
        row += 4 * len(_RADII[finger])
        cap = 196 + int(np.flatnonzero((quads == row - 4).any(1) & (quads == row - 2).any(1))[0])
        here, there = int(np.flatnonzero(order == cap)[0]), FINGER_TIP_VERTICES[_TIP_OF_FINGER[finger]]
        order[[here, there]] = order[[there, here]]
    position = np.argsort(order)
    triangles = position[np.concatenate([fine[:, [0, 1, 2]], fine[:, [0, 2, 3]]])]
    parents = np.array(PARENTS, dtype=np.int64)
    return {
        "v_template": template[order] / 1000,
        "f": triangles.astype(np.int64),
        "shapedirs": directions[order] / 1000,
        "posedirs": np.zeros((778, 3, 135)),
        "J_regressor": regressor[:, order],
        "weights": weights[order],
        "kintree_table": np.stack([np.where(parents < 0, 2**32 - 1, parents), np.arange(16)]),
        "hands_components": np.eye(45),
        "hands_mean": np.zeros(45),
    }


def write_standin(folder: str | os.PathLike[str]) -> Path:
    """Write MANO_RIGHT.npz into the folder, as `smplx.create(..., model_type="mano", ext="npz")` reads it."""
    path = Path(folder) / "MANO_RIGHT.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **standin_arrays())  # type: ignore[arg-type]
    return path
