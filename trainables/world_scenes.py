"""Where things happen in the procedural world: table, light, clutter, a person's hand, and a camera on their head.

World axes: x to the person's right, y forward, z up, table top at z = 0 (so the eye's height says how high the table
is); metres and radians.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trainables.world_objects import CATEGORIES

SCENES = tuple(
    f"{place} {number}"
    for place in (
        "kitchen",
        "office",
        "workshop",
        "living room",
        "nursery",
        "cafe",
        "garden",
        "laboratory",
        "shop",
    )
    for number in (1, 2, 3, 4)
)
_TABLES = (
    (0.45, 0.50, 0.56), (0.30, 0.38, 0.48), (0.42, 0.52, 0.42), (0.78, 0.80, 0.82), (0.33, 0.24, 0.20), (0.55, 0.55, 0.50),
)  # fmt: skip
_SKINS = ((0.95, 0.76, 0.65), (0.87, 0.66, 0.53), (0.76, 0.54, 0.41), (0.62, 0.42, 0.31))
PALETTE = (
    (0.15, 0.35, 0.80), (0.85, 0.12, 0.12), (0.10, 0.60, 0.30), (0.95, 0.85, 0.15), (0.50, 0.20, 0.60), (0.95, 0.95, 0.95),
    (0.10, 0.12, 0.15), (0.10, 0.65, 0.70),
)  # fmt: skip
_CLUTTER_AT = ((-0.27, 0.16), (0.30, 0.24), (-0.16, 0.42), (0.13, 0.44), (0.33, 0.06))
_SHAPE_SPREAD = 0.8


@dataclass(frozen=True, kw_only=True)
class Clutter:
    """A thing that stands about: where, how large, in which of the palette's colours."""

    category: str
    size: float
    at_m: tuple[float, float]
    yaw: float
    colour: int


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One place and the person in it."""

    name: str
    eye_m: np.ndarray  # (3,)
    gaze_m: np.ndarray  # (3,) looked at
    roll: float
    drift_m: np.ndarray  # (3,) the head's slow way in a second
    drift: np.ndarray  # (3,) and its slow turn, rotation vector
    sway_hz: float
    light: np.ndarray  # (3,) unit
    table_colour: tuple[float, float, float]
    wall_colour: tuple[float, float, float]
    skin_colour: tuple[float, float, float]
    betas: np.ndarray  # (10,)
    clutter: tuple[Clutter, ...]


def make_scene(index: int, seed: int) -> Scene:
    """The scene SCENES[index] of the world with this seed."""
    rng = np.random.default_rng([seed, 1, index])
    light = np.array([rng.uniform(-0.6, 0.6), rng.uniform(-0.6, 0.2), 1.0])
    names = tuple(CATEGORIES)
    places = rng.permutation(len(_CLUTTER_AT))[: rng.integers(1, 4)]
    clutter = tuple(
        Clutter(
            category=names[rng.integers(len(names))],
            size=rng.uniform(0.8, 1.2),
            at_m=(_CLUTTER_AT[p][0] + rng.uniform(-0.03, 0.03), _CLUTTER_AT[p][1] + rng.uniform(-0.03, 0.03)),
            yaw=rng.uniform(-3.0, 3.0),
            colour=int(rng.integers(len(PALETTE))),
        )
        for p in places
    )
    return Scene(
        name=SCENES[index],
        eye_m=np.array([rng.uniform(-0.12, 0.08), rng.uniform(-0.32, -0.22), rng.uniform(0.36, 0.50)]),
        gaze_m=np.array([rng.uniform(-0.03, 0.05), rng.uniform(0.05, 0.13), 0.04]),
        roll=rng.uniform(-0.12, 0.12),
        drift_m=rng.normal(0.0, 0.012, 3),
        drift=rng.normal(0.0, 0.02, 3),
        sway_hz=rng.uniform(0.4, 0.9),
        light=light / np.linalg.norm(light),
        table_colour=_TABLES[rng.integers(len(_TABLES))],
        wall_colour=tuple(rng.uniform(0.55, 0.9) * np.array([1.0, 0.98, 0.95])),
        skin_colour=_SKINS[rng.integers(len(_SKINS))],
        betas=rng.normal(0.0, _SHAPE_SPREAD, 10).clip(-2.0, 2.0),
        clutter=clutter,
    )


def head_camera(
    scene: Scene, hand_T3: np.ndarray, rng: np.random.Generator, fps: float
) -> tuple[Tensor, Tensor]:
    """World-to-camera rotations (T, 3, 3) and translations (T, 3) of a head that drifts, sways and half follows the hand.

    hand_T3: the hand's smooth way in world axes.
    """
    frames = len(hand_T3)
    seconds = np.arange(frames)[:, None] / fps
    sway = np.sin(2 * np.pi * scene.sway_hz * seconds + rng.uniform(0, 2 * np.pi, 3))
    eye = scene.eye_m + rng.normal(0, 0.012, 3) + scene.drift_m * seconds + 0.002 * sway
    gaze = scene.gaze_m + rng.normal(0, 0.015, 3) + 0.2 * (hand_T3 - hand_T3[:1]) + 0.002 * sway[:, ::-1]
    gaze = gaze + np.cross(scene.drift, gaze - eye) * seconds
    forward = gaze - eye
    forward = forward / np.linalg.norm(forward, axis=-1, keepdims=True)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right = right / np.linalg.norm(right, axis=-1, keepdims=True)
    down = np.cross(forward, right)
    roll = scene.roll + 0.006 * sway[:, :1]
    across = np.cos(roll) * right + np.sin(roll) * down
    rot = np.stack([across, np.cross(forward, across), forward], axis=1)
    transl = -np.einsum("tij,tj->ti", rot, eye)
    return torch.from_numpy(rot), torch.from_numpy(transl)
