"""The procedural world's pictures: hand, object, clutter and table of chosen frames."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from trainables.hand import Hand
from trainables.render import View, mesh_samples, render
from trainables.world_motion import Motion
from trainables.world_objects import CATEGORIES, surface
from trainables.world_scenes import PALETTE, Scene

_HAND_SAMPLES = 3  # a triangle
_OBJECT_SAMPLES, _CLUTTER_SAMPLES = 2200, 600
_CLUTTER_MOST = 3
_ACCENT = (0.25, 0.28, 0.30)  # added to half the object's colour
_PICTURES_AT_ONCE = 48
_OUT_OF_VIEW = (0.0, -100.0, 0.0)  # behind every camera


def _coloured(colour: Tensor, tone_P: Tensor) -> Tensor:
    """Colours (..., P, 3) of samples: the object's own, and of its accents a greyer half of it."""
    accent = 0.5 * colour + torch.tensor(_ACCENT)
    return torch.where(tone_P[:, None] > 0, accent[..., None, :], colour[..., None, :])


Samples = tuple[Tensor, Tensor, Tensor]


def clutter_samples(scene: Scene) -> Samples:
    """Points, normals and colours (P, 3) of what stands about, world axes; always as many."""
    full = _CLUTTER_MOST * _CLUTTER_SAMPLES
    points, normals, colours = (
        torch.tensor(_OUT_OF_VIEW).repeat(full, 1),
        torch.zeros(full, 3),
        torch.zeros(full, 3),
    )
    filled = 0
    for thing in scene.clutter:
        p, n, tone = surface(CATEGORIES[thing.category](torch.tensor([thing.size])), _CLUTTER_SAMPLES)
        cos, sin = float(np.cos(thing.yaw)), float(np.sin(thing.yaw))
        turn = torch.tensor([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
        rows = slice(filled, filled + p.shape[1])
        points[rows] = p[0] @ turn.T + torch.tensor([*thing.at_m, 0.0])
        normals[rows] = n[0] @ turn.T
        colours[rows] = _coloured(torch.tensor(PALETTE[thing.colour]), tone)
        filled += p.shape[1]
    return points, normals, colours


def _objects(motion: Motion) -> Samples:
    """Points, normals and colours (C, P, 3) of every clip's object in its own axes."""
    count = len(motion.colour_C)
    points = torch.tensor(_OUT_OF_VIEW).repeat(count, _OBJECT_SAMPLES, 1)
    normals, colours = torch.zeros_like(points), torch.zeros_like(points)
    names, colour = np.array(motion.things.category), torch.tensor(PALETTE)[motion.colour_C]
    for name, parts_of in CATEGORIES.items():
        rows = torch.from_numpy(np.flatnonzero(names == name))
        if len(rows):
            p, n, tone = surface(parts_of(motion.things.size_N[rows]), _OBJECT_SAMPLES)
            points[rows, : p.shape[1]], normals[rows, : p.shape[1]] = p, n
            colours[rows, : p.shape[1]] = _coloured(colour[rows], tone)
    return points, normals, colours


def draw_pictures(
    hand: Hand,
    motion: Motion,
    scenes: list[Scene],
    clutter: list[Samples],
    shown_I: Tensor,
    *,
    hand_free: bool = False,
) -> Tensor:
    """RGB (I, 64, 64, 3) uint8 of some frames of the batch; one scene and its clutter's samples for each clip.

    hand_free: the same scene without the hand and its shadow.
    """
    thing = _objects(motion)
    still = [torch.stack(part) for part in zip(*clutter, strict=True)]
    skin_colour = torch.tensor([scene.skin_colour for scene in scenes], dtype=torch.float32)
    pictures = []
    for rows in shown_I.split(_PICTURES_AT_ONCE):
        clip = motion.clip_F[rows]
        turn = motion.object_rot_F33[rows].float().mT
        at = motion.object_at_F3[rows].float()[:, None]
        own = [scenes[i] for i in clip.tolist()]
        view = View(
            rot_I33=motion.camera_rot_F33[rows].float(),
            transl_I3=motion.camera_transl_F3[rows].float(),
            light_I3=torch.tensor(np.array([s.light for s in own]), dtype=torch.float32),
            table_colour_I3=torch.tensor([s.table_colour for s in own], dtype=torch.float32),
            wall_colour_I3=torch.tensor([s.wall_colour for s in own], dtype=torch.float32),
        )
        shown: list[Samples] = [(thing[0][clip] @ turn + at, thing[1][clip] @ turn, thing[2][clip])]
        shown.append((still[0][clip], still[1][clip], still[2][clip]))
        if not hand_free:
            skin, skin_normals = mesh_samples(motion.world_skin(rows), hand.faces, _HAND_SAMPLES)
            shown.insert(0, (skin, skin_normals, skin_colour[clip][:, None].expand_as(skin)))
        points, normals, colours = (torch.cat(part, dim=1) for part in zip(*shown, strict=True))
        pictures.append(render(points, normals, colours, view))
    return torch.cat(pictures)
