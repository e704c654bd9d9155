"""Small valid clips of random numbers, for the tests of everything that reads clips."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import roma
import torch

from trainables.clips import Clip, Clips, encode_png, write_clips

OBJECTS = ("ball", "bowl", "box", "can", "cup", "mug", "pan", "pot")


def random_clip(name: str, frames: int = 40, *, seed: int = 0, fps: float = 30.0, **changes: object) -> Clip:
    """A valid clip of random numbers: camera unknown in frame 7, some contact, two texts and images."""
    rng = np.random.default_rng([seed, *name.encode()])
    camera = np.zeros((frames, 3, 4), dtype=np.float32)
    camera[:, :, :3] = roma.rotvec_to_rotmat(torch.tensor(rng.normal(0, 0.1, (frames, 3)))).numpy()
    camera[:, :, 3] = rng.normal(0, 0.1, (frames, 3))
    camera[0] = np.eye(3, 4)
    camera[7 % frames or 1 :][:1] = np.nan
    contact = rng.random((frames, 778)) < 0.05
    contact[::5] = False
    known = rng.random(frames) < 0.8
    point = np.where((known & contact.any(1))[:, None], rng.normal(0, 0.1, (frames, 3)), np.nan)
    half = frames // 2
    clip = Clip(
        clip_id=name,
        fps=fps,
        object=OBJECTS[seed % len(OBJECTS)],
        action="lift",
        subject=f"person-{seed % 5}",
        text_start=(0, half),
        text=("reach cup", "lift cup"),
        global_orient=rng.normal(0, 1, (frames, 3)),
        hand_pose=rng.normal(0, 0.3, (frames, 45)),
        transl_m=rng.normal(0, 0.2, (frames, 3)),
        betas=rng.normal(0, 1, 10),
        camera_to_first=camera,
        joints_m=rng.normal(0, 0.2, (frames, 21, 3)),
        contact_bits=contact,
        contact_known=known,
        contact_point_m=point,
        image_frame=(3, half),
        image_png=[encode_png(rng.integers(0, 255, (8, 8, 3))) for _ in range(2)],
    )
    return replace(clip, **changes)  # type: ignore[arg-type]


def some_clips(count: int = 16, **changes: object) -> list[Clip]:
    return [random_clip(f"clip-{i:04d}", 40 + i, seed=i, **changes) for i in range(count)]


SETTINGS = {
    "objects": {
        "group": "object",
        "parts": {
            "train": ["ball", "bowl", "box", "can", "cup"],
            "val": ["mug"],
            "gate": ["pan"],
            "test": ["pot"],
        },
    },
    "subjects": {
        "group": "subject",
        "parts": {"train": ["person-0", "person-1"], "val": ["person-2", "person-3"], "test": ["person-4"]},
    },
}


def write(dest: Path | str, clips: list[Clip], source: dict | None = None) -> Path | str:
    with write_clips(dest, name="made_up", hand="standin-1", source=source or {"seed": 0}) as writer:
        for clip in clips:
            writer.add(clip)
        writer.settings = json.loads(json.dumps(SETTINGS))
    return dest


def with_other_frames(clips: Clips, rows: slice) -> Clips:
    """A copy in which these frames have another motion, camera, contact and text; images are the caller's to change."""
    changed = replace(clips, **{k: v.clone() for k, v in vars(clips).items() if isinstance(v, torch.Tensor)})
    generator = torch.Generator().manual_seed(1)
    for name in (
        "global_orient_F3",
        "hand_pose_F45",
        "transl_F3",
        "joints_FJ3",
        "point_F3",
        "camera_transl_F3",
    ):
        tensor = getattr(changed, name)
        tensor[rows] = torch.randn(tensor[rows].shape, generator=generator)
    changed.camera_rot_F33[rows] = clips.camera_rot_F33[rows].mT
    for name in ("camera_known_F", "contact_known_F", "point_known_F"):
        getattr(changed, name)[rows] ^= True
    changed.contact_FX[rows] = 255 - changed.contact_FX[rows]
    changed.text_F[rows] = 1 - changed.text_F[rows]
    return changed
