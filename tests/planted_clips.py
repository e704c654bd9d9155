"""Clips of a plausible hand, and one fault planted in each of some: what the validator must find, and must not."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from made_up_clips import SETTINGS, random_clip

from trainables.clip_table import to_table
from trainables.clips import Clip, encode_png, write_clips
from trainables.hand import load_hand

HAND = load_hand()


def arguments(clip: Clip) -> tuple[torch.Tensor, ...]:
    n = clip.frames
    betas = np.tile(clip.betas, (n, 1))
    values = (clip.global_orient, clip.hand_pose, betas, clip.transl_m)
    return tuple(torch.from_numpy(np.asarray(array, dtype=np.float32)) for array in values)


def posed(clip: Clip, touching: slice) -> Clip:
    """Joints, contact map and contact point of the clip's own parameters: the index finger touches in `touching`."""
    with torch.no_grad():
        joints, skin = HAND.joints(*arguments(clip)).numpy(), HAND.vertices(*arguments(clip)).numpy()
    bits = np.zeros((clip.frames, 778), dtype=bool)
    bits[touching] = HAND.finger_V.numpy() == 1
    point = np.where(
        bits.any(1)[:, None], (skin * bits[..., None]).sum(1) / bits.sum(1).clip(1)[:, None], np.nan
    )
    known = np.ones(clip.frames, dtype=bool)
    return replace(clip, joints_m=joints, contact_bits=bits, contact_known=known, contact_point_m=point)


def hand_clip(name: str, seed: int = 0, frames: int = 45, **changes: object) -> Clip:
    """A slow, plausible reach of the loaded hand that ends in contact, seen by a camera that drifts."""
    rng = np.random.default_rng([seed, 7])
    time = np.linspace(0, 1, frames)[:, None]
    bend = time * rng.uniform(0.1, 0.5, 45) * HAND.joint_limits[:, 1].numpy()
    camera = np.tile(np.eye(3, 4), (frames, 1, 1))
    camera[:, :, 3] = time * rng.uniform(-0.05, 0.05, 3)
    clip = random_clip(
        name,
        frames,
        seed=seed,
        hand_pose=HAND.pose_from_angles(torch.from_numpy(bend).float()).numpy(),
        global_orient=rng.normal(0, 0.3, 3) + 0.2 * time,
        transl_m=np.array([0.05, 0.0, 0.6]) + time * rng.uniform(0.05, 0.2, 3),
        betas=rng.normal(0, 0.5, 10),
        camera_to_first=camera,
        image_frame=(0, 20),
        image_png=[encode_png(rng.integers(0, 255, (8, 8, 3))) for _ in range(2)],
    )
    return replace(posed(clip, slice(frames // 2, None)), **changes)  # type: ignore[arg-type]


def clean_clips(count: int = 24) -> list[Clip]:
    return [hand_clip(f"clean-{i:02d}", i) for i in range(count)]


def shifted(clip: Clip, by_m: tuple[float, float, float]) -> Clip:
    """The whole hand, and what it touches, moved."""
    return replace(
        clip,
        transl_m=clip.transl_m + by_m,
        joints_m=clip.joints_m + by_m,
        contact_point_m=clip.contact_point_m + by_m,
    )


def with_joint(clip: Clip, frame: int, by_m: float) -> Clip:
    joints = np.array(clip.joints_m)
    joints[frame, 8] += by_m
    return replace(clip, joints_m=joints)


def with_camera(clip: Clip, frames: slice, factor: float, shift: float = 0.0) -> Clip:
    camera = np.array(clip.camera_to_first)
    camera[frames, :, :3] *= factor
    camera[frames, :, 3] += shift
    return replace(clip, camera_to_first=camera)


def scaled(clip: Clip, factor: float) -> Clip:
    wrist = clip.joints_m[:, :1]
    return replace(clip, joints_m=wrist + factor * (clip.joints_m - wrist))


def unknown(clip: Clip, field: str) -> Clip:
    if field == "camera":
        return replace(clip, camera_to_first=np.full_like(clip.camera_to_first, np.nan))
    nothing = np.full_like(clip.contact_point_m, np.nan)
    return replace(clip, contact_known=np.zeros(clip.frames, dtype=bool), contact_point_m=nothing)


def held(clip: Clip, begin: int, end: int) -> Clip:
    """Frames begin..end-1 repeat the first of them."""
    frames = np.arange(clip.frames)
    frames[begin:end] = begin
    names = ("global_orient", "hand_pose", "transl_m", "joints_m", "contact_bits", "contact_point_m")
    return replace(clip, **{name: getattr(clip, name)[frames] for name in names})


def touched_early(clip: Clip) -> Clip:
    point = np.array(clip.contact_point_m)
    point[:3] = clip.joints_m[:3, 8]
    return replace(clip, contact_point_m=point)


def not_finite(clip: Clip) -> Clip:
    joints = np.array(clip.joints_m)
    joints[5, 4, 1] = np.nan
    return replace(clip, joints_m=joints)


# check -> (severity, what is done to a good clip)
FAULTS: dict[str, tuple[str, Callable[[Clip], Clip]]] = {
    "fast joint": ("error", lambda c: with_joint(c, 20, 0.3)),
    "palm length": ("error", lambda c: scaled(c, 2.5)),
    "behind the camera": ("error", lambda c: shifted(c, (0, 0, -1.5))),
    "far away": ("warning", lambda c: shifted(c, (0, 0, 4))),
    "contact point far away": ("error", lambda c: replace(c, contact_point_m=c.contact_point_m + 0.3)),
    "contact without a point": ("error", lambda c: replace(c, contact_point_m=np.full_like(c.contact_point_m, np.nan))),
    "point without contact": ("error", touched_early),
    "hand model": ("error", lambda c: replace(c, hand_pose=c.hand_pose + 0.8)),
    "contact point off its vertices": ("error", lambda c: replace(c, contact_point_m=c.contact_point_m + 0.03)),
    "camera is no rotation": ("error", lambda c: with_camera(c, slice(1, None), 1.1)),
    "camera does not start at itself": ("error", lambda c: with_camera(c, slice(None), 1.0, 0.2)),
    "large rotation": ("warning", lambda c: replace(c, hand_pose=np.degrees(c.hand_pose))),
    "shape": ("warning", lambda c: posed(replace(c, betas=np.array([0, 0, 0, 0, 0, 0, 0, 0, 6.0, 0])), slice(20, None))),
    "constant motion": ("warning", lambda c: held(c, 0, c.frames)),
    "frozen": ("warning", lambda c: held(c, 10, 30)),
    "frame rate": ("warning", lambda c: replace(c, fps=1000 / 3)),
    "other frame rate": ("note", lambda c: replace(c, fps=25.0)),
    "short clip": ("warning", lambda c: hand_clip(c.clip_id, 3, 29)),
    "duplicate motion": ("error", lambda c: replace(hand_clip("clean-02", 2), clip_id=c.clip_id)),
    "empty text": ("warning", lambda c: replace(c, text=("reach cup", " "))),
    "rare text": ("note", lambda c: replace(c, text=("reach cup", "lfit cup"))),
    "camera unknown": ("note", lambda c: unknown(c, "camera")),
    "contact unknown": ("note", lambda c: unknown(c, "contact")),
    "single clip": ("note", lambda c: replace(c, object="spoon")),
    "in no part": ("note", lambda c: replace(c, object=None)),
    "not finite": ("error", not_finite),
    "outlying palm length": ("note", lambda c: posed(replace(c, betas=np.eye(10)[1] * 8), slice(20, None))),
}  # fmt: skip
# What the finding names in place of the clip.
NAMED = {"other frame rate": "25 fps", "rare text": "lfit cup", "single clip": "spoon"}


def put(dest: Path, clips: list[Clip], report: dict | None = None) -> Path:
    """As an importer does, without the check of every clip: other writers may not make it."""
    with write_clips(dest, name="made_up", hand=HAND.name, source={"seed": 0}) as writer:
        writer.add_rows(to_table(clips))
        writer.settings = json.loads(json.dumps(SETTINGS))
        writer.report = report or {}
    return dest
