"""A data set of a second: smooth hand motion that text, image and contact point determine, for tests of training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from trainables.clip_format import encode_png
from trainables.clips import Clip, Clips, read_clips, write_clips
from trainables.hand import Hand, load_hand

DIRECTIONS = {"left": (-1, 0, 0), "right": (1, 0, 0), "up": (0, -1, 0), "down": (0, 1, 0)}


def tiny_clips(folder: Path, *, clips: int = 32, frames: int = 12, seed: int = 0) -> Clips:
    """`clips` clips of `frames` frames in eight object groups; setting `objects`."""
    rng = np.random.default_rng(seed)
    hand = load_hand()
    with write_clips(folder, name="tiny", hand=hand.name, source={"seed": seed}) as writer:
        for i in range(clips):
            writer.add(_clip(i, frames, rng, hand))
        names = [f"object{j}" for j in range(8)]
        parts = {"train": names[:5], "val": names[5:6], "gate": names[6:7], "test": names[7:]}
        writer.settings = {"objects": {"group": "object", "parts": parts}}
    return read_clips(folder)


def _clip(i: int, frames: int, rng: np.random.Generator, hand: Hand) -> Clip:
    word = list(DIRECTIONS)[i % 4]
    time = np.linspace(0, 1, frames)[:, None]
    start = rng.normal(0, 0.05, 3) + (0, 0, 0.5)
    transl = start + 0.1 * time * np.array(DIRECTIONS[word]) * (1 + 0.5 * (i % 3))
    orient = rng.normal(0, 0.1, 3) + np.zeros((frames, 3))
    pose = np.repeat(rng.normal(0, 0.1, 45)[None], frames, 0) * (1 - time)
    betas = rng.normal(0, 0.5, 10)
    rows = [
        torch.tensor(x, dtype=torch.float32)
        for x in (orient, pose, np.repeat(betas[None], frames, 0), transl)
    ]
    joints = hand.joints(*rows).numpy()
    contact = np.zeros((frames, 778), bool)
    contact[frames // 4 :, 40 * (i % 4) : 40 * (i % 4) + 60] = True
    point = np.where(contact.any(1)[:, None], joints[:, 8], np.nan)
    camera = np.tile(np.eye(3, 4), (frames, 1, 1))
    return Clip(
        clip_id=f"clip{i}",
        fps=30.0,
        object=f"object{i % 8}",
        action=word,
        text_start=[0],
        text=[f"push {word}"],
        global_orient=orient,
        hand_pose=pose,
        transl_m=transl,
        betas=betas,
        camera_to_first=camera,
        joints_m=joints,
        contact_bits=contact,
        contact_known=np.ones(frames, bool),
        contact_point_m=point,
        image_frame=[0],
        image_png=[encode_png(np.full((64, 64, 3), 60 * (i % 3) + 30))],
    )
