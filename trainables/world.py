"""The procedural world: the embedded data set. A parametric hand handles objects, within tasks and scenes.

    make_world("data/world", clips=600, seed=0)

Bit for bit the same from the same seed. Objects are solid: a mug or bowl is full to its brim. Hand and object move alike
while the hand holds, so nothing slips.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import roma
import torch
from torch import Tensor

from trainables.clips import Clip, encode_png, write_clips
from trainables.hand import Hand, load_hand
from trainables.render import FOCAL_PX, IMAGE_SIZE
from trainables.world_actions import FPS, text_of
from trainables.world_motion import CONTACT_RADIUS_M, Motion, move
from trainables.world_pictures import Samples, clutter_samples, draw_pictures
from trainables.world_plan import Plan, plan_clips, world_settings
from trainables.world_scenes import SCENES, Scene, make_scene

VERSION = 1  # of the world; part of the data's name, raised with every change of what it shows
BATCH = 64
_AT_ONCE = 2  # batches
IMAGE_EVERY = 4  # frames


def make_world(
    dest: str | os.PathLike[str],
    *,
    clips: int = 600,
    seed: int = 0,
    hand: Hand | None = None,
    hand_free: bool = False,
) -> dict[str, Any]:
    """Write the world to a folder or s3:// and return its manifest; a world already there is left alone.

    hand: the model whose hand is shown; MANO from $MANO_PATH or the stand-in by default.
    hand_free: render every picture a second time without the hand.
    Raises ClipsError where `dest` holds something else, ValueError for less than one clip.
    """
    if clips < 1:
        raise ValueError(f"clips is {clips}; a world needs at least one, and 600 for every group to be met")
    hand = hand or load_hand()
    source = {
        "importer": "world", "version": VERSION, "clips": clips, "seed": seed, "image_px": IMAGE_SIZE, "focal_px": FOCAL_PX,
    }  # fmt: skip
    if hand_free:  # only then, so that a world without is the same data set as before
        source["hand_free"] = True
    with write_clips(
        dest, name="world", hand=hand.name, source=source, contact_radius_m=CONTACT_RADIUS_M
    ) as writer:
        if writer.finished:
            return writer.manifest
        plans = plan_clips(clips, seed)
        scenes = [make_scene(i, seed) for i in range(len(SCENES))]
        clutter = [clutter_samples(scene) for scene in scenes]

        def batch(start: int) -> list[Clip]:
            with torch.no_grad():  # holds for the thread that says so
                here = plans[start : start + BATCH]
                return _batch_of_clips(hand, here, scenes, clutter, start, seed, hand_free=hand_free)

        # Batches side by side, each in one thread, are faster than threads within each small operation, and sums come
        # out the same on machines with more cores.
        threads = torch.get_num_threads()
        try:
            with ThreadPoolExecutor(_AT_ONCE, initializer=torch.set_num_threads, initargs=(1,)) as pool:
                for made in pool.map(batch, range(0, clips, BATCH)):
                    for clip in made:
                        writer.add(clip)
        finally:
            torch.set_num_threads(threads)
        writer.settings = world_settings(plans, seed)
    return writer.manifest


def _batch_of_clips(
    hand: Hand,
    plans: list[Plan],
    scenes: list[Scene],
    clutter: list[Samples],
    start: int,
    seed: int,
    *,
    hand_free: bool,
) -> list[Clip]:
    rngs = [np.random.default_rng([seed, 3, start + i]) for i in range(len(plans))]
    here = [scenes[plan.scene] for plan in plans]
    motion = move(hand, plans, here, rngs)
    count = torch.bincount(motion.clip_F, minlength=len(plans))
    first = count.cumsum(0) - count
    within = torch.arange(len(motion.clip_F)) - first[motion.clip_F]
    shown = torch.nonzero(within % IMAGE_EVERY == 0)[:, 0]
    about = [clutter[plan.scene] for plan in plans]
    pictures = draw_pictures(hand, motion, here, about, shown).numpy()
    without = draw_pictures(hand, motion, here, about, shown, hand_free=True).numpy() if hand_free else None
    columns = _camera_columns(hand, motion, first)
    made: list[Clip] = []
    for i, plan in enumerate(plans):
        rows = slice(int(first[i]), int(first[i] + count[i]))
        mine = torch.nonzero(motion.clip_F[shown] == i)[:, 0]
        arrays: dict[str, Any] = {name: values[rows].numpy() for name, values in columns.items()}
        made.append(
            Clip(
                clip_id=f"world-{seed}-{start + i:05d}",
                fps=FPS,
                object=plan.object,
                action=plan.action.name,
                task=plan.task.name,
                scene=SCENES[plan.scene],
                text_start=[0],
                text=[text_of(plan.action, plan.category, plan.task)],
                betas=motion.betas_C10[i].numpy(),
                **arrays,
                contact_known=np.ones(int(count[i]), dtype=bool),
                image_frame=within[shown[mine]].tolist(),
                image_png=[encode_png(pictures[row]) for row in mine.tolist()],
                hand_free_frame=[] if without is None else within[shown[mine]].tolist(),
                hand_free_png=[] if without is None else [encode_png(without[row]) for row in mine.tolist()],
            )
        )
    return made


def _camera_columns(hand: Hand, motion: Motion, first_C: Tensor) -> dict[str, Tensor]:
    """The clip format's columns (F, ...), in each frame's own camera, from the motion in world axes."""
    world_to_camera = motion.camera_rot_F33
    orient = roma.rotmat_to_rotvec(world_to_camera @ motion.rot_F33).float()
    wrist = (world_to_camera @ motion.wrist_F3[..., None])[..., 0] + motion.camera_transl_F3
    betas, pose = motion.betas_C10[motion.clip_F], hand.pose_from_angles(motion.angles_F45)
    nowhere = torch.zeros_like(orient)
    # The model turns the hand about the wrist's rest position and then moves it.
    transl = (
        wrist - hand.joints(nowhere, nowhere.new_zeros(len(orient), 45), betas, nowhere)[:, 0].double()
    ).float()
    joints = hand.joints(orient, pose, betas, transl)
    base = first_C[motion.clip_F]
    to_first = world_to_camera[base] @ world_to_camera.mT
    shift = motion.camera_transl_F3[base] - (to_first @ motion.camera_transl_F3[..., None])[..., 0]

    contact = motion.distance_FV < CONTACT_RADIUS_M
    touching = contact.sum(-1, keepdim=True)
    everything = torch.arange(len(orient))
    mean = torch.cat([
        (motion.world_skin(rows) * contact[rows][..., None]).sum(1) for rows in everything.split(512)
    ]).double() / touching  # fmt: skip
    point = (world_to_camera @ mean[..., None])[..., 0] + motion.camera_transl_F3
    point = torch.where(touching > 0, point, torch.nan)
    return {
        "global_orient": orient,
        "hand_pose": pose,
        "transl_m": transl,
        "camera_to_first": torch.cat([to_first, shift[..., None]], dim=-1).float(),
        "joints_m": joints,
        "contact_bits": contact,
        "contact_point_m": point.float(),
    }
