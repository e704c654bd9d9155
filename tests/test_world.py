"""The procedural world: the same from the same seed, true to its own distances, smooth, and in view."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from trainables.clips import Clips, read_clips
from trainables.hand import Hand, load_hand
from trainables.splits import PARTS, part_clips
from trainables.windows import Windows
from trainables.world import make_world
from trainables.world_actions import ACTIONS, TASKS, course, ease
from trainables.world_motion import CONTACT_RADIUS_M, move
from trainables.world_objects import CATEGORIES, OBJECTS, signed_distance_m, surface
from trainables.world_pictures import clutter_samples, draw_pictures
from trainables.world_plan import plan_clips, world_settings
from trainables.world_scenes import SCENES, make_scene

CLIPS = 24
SEED = 3


@pytest.fixture(scope="module")
def hand() -> Hand:
    return load_hand()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, hand: Hand) -> Path:
    path = tmp_path_factory.mktemp("world") / "a"
    make_world(path, clips=CLIPS, seed=SEED, hand=hand)
    return path


@pytest.fixture(scope="module")
def clips(folder: Path) -> Clips:
    return read_clips(str(folder))


def test_the_same_seed_gives_the_same_bytes(folder: Path, tmp_path: Path, hand: Hand) -> None:
    make_world(tmp_path / "b", clips=CLIPS, seed=SEED, hand=hand)
    for file in sorted(path.name for path in folder.iterdir()):
        assert (folder / file).read_bytes() == (tmp_path / "b" / file).read_bytes(), file
    make_world(tmp_path / "c", clips=2, seed=SEED + 1, hand=hand)
    one, other = (json.loads((path / "manifest.json").read_text()) for path in (folder, tmp_path / "c"))
    assert one["shards"][0]["sha256"] != other["shards"][0]["sha256"]


def test_a_world_already_there_is_left_alone(folder: Path, hand: Hand) -> None:
    before = (folder / "manifest.json").stat().st_mtime_ns
    make_world(folder, clips=CLIPS, seed=SEED, hand=hand)
    assert (folder / "manifest.json").stat().st_mtime_ns == before


def test_no_clips_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one"):
        make_world(tmp_path / "none", clips=0)


def test_clips_are_whole_and_at_30_frames_a_second(clips: Clips) -> None:
    assert len(clips.clip_ids) == CLIPS
    assert clips.manifest["fps"] == 30
    frames = clips.offsets_C1.diff()
    assert frames.min() >= 36 and frames.max() <= 48
    assert clips.camera_known_F.all() and clips.contact_known_F.all()
    assert (clips.image_F >= 0).all()  # every frame has a picture at or before it
    first = clips.offsets_C1[:-1]
    assert torch.allclose(clips.camera_rot_F33[first], torch.eye(3).expand(CLIPS, 3, 3), atol=1e-6)


def test_joints_are_the_hand_models(clips: Clips, hand: Hand) -> None:
    betas = clips.betas_C10.repeat_interleave(clips.offsets_C1.diff(), dim=0)
    joints = hand.joints(clips.global_orient_F3, clips.hand_pose_F45, betas, clips.transl_F3)
    assert (joints - clips.joints_FJ3).abs().max() < 1e-5


def test_contact_is_distance_below_the_radius(hand: Hand, clips: Clips) -> None:
    """From the clips' own parameters, back to the object's surface: the written map and centroid hold."""
    plans = plan_clips(CLIPS, SEED)
    scenes = [make_scene(plan.scene, SEED) for plan in plans]
    with torch.no_grad():
        motion = move(hand, plans, scenes, [np.random.default_rng([SEED, 3, i]) for i in range(CLIPS)])
    betas = clips.betas_C10[motion.clip_F]
    skin = hand.vertices(clips.global_orient_F3, clips.hand_pose_F45, betas, clips.transl_F3).double()
    world = (skin - motion.camera_transl_F3[:, None]) @ motion.camera_rot_F33
    local = (world - motion.object_at_F3[:, None]) @ motion.object_rot_F33
    checked = 0
    for i, plan in enumerate(plans):
        rows = torch.nonzero(motion.clip_F == i)[:, 0]
        parts = CATEGORIES[plan.category](motion.things.size_N[i : i + 1].double())
        distance = signed_distance_m(parts, local[rows].reshape(1, -1, 3)).view(len(rows), -1)
        clear = (distance - CONTACT_RADIUS_M).abs() > 2e-5  # float32 leaves the edge open
        assert torch.equal((distance < CONTACT_RADIUS_M)[clear], clips.contact_FV[rows].bool()[clear])
        assert distance.min() > -0.008, f"{plan.action.name} {plan.object}: the hand is inside the object"
        checked += int(clips.contact_FV[rows].sum())
    assert checked > 1000
    touched = clips.contact_FV.sum(1) > 0
    assert torch.equal(touched, clips.point_known_F)
    mean = (skin * clips.contact_FV[..., None]).sum(1)[touched] / clips.contact_FV[touched].sum(
        1, keepdim=True
    )
    assert (mean - clips.point_F3[touched]).abs().max() < 1e-4


def test_hands_touch_and_half_the_windows_begin_in_contact(clips: Clips) -> None:
    touches = torch.stack([
        clips.contact_FV[a:b].any() for a, b in zip(clips.offsets_C1[:-1], clips.offsets_C1[1:], strict=True)
    ])  # fmt: skip
    assert touches.float().mean() > 0.9
    windows = Windows(clips, torch.arange(CLIPS))
    known = windows.gather(torch.arange(len(windows))).point_known_B.float().mean()
    assert 0.35 < known < 0.75


def test_motion_is_smooth_and_within_the_joints_limits(clips: Clips, hand: Hand) -> None:
    in_first = clips.joints_FJ3 @ clips.camera_rot_F33.mT + clips.camera_transl_F3[:, None]
    same = clips.offsets_C1.new_ones(len(in_first), dtype=torch.bool)
    same[clips.offsets_C1[:-1]] = False
    speed = (in_first[1:] - in_first[:-1]).norm(dim=-1)[same[1:]] * 30
    assert speed.max() < 5.0
    # No jumps: the speed itself changes by little from frame to frame.
    inner = same[1:-1] & same[2:]
    change = (in_first[2:] - 2 * in_first[1:-1] + in_first[:-2]).norm(dim=-1)[inner]
    assert change.max() < 0.03
    angles = hand.angles_from_pose(clips.hand_pose_F45)
    low, high = hand.joint_limits.unbind(-1)
    assert ((angles > low - 1e-4) & (angles < high + 1e-4)).all()


def test_nothing_sinks_into_the_table(hand: Hand) -> None:
    plans = plan_clips(CLIPS, SEED)
    scenes = [make_scene(plan.scene, SEED) for plan in plans]
    with torch.no_grad():
        motion = move(hand, plans, scenes, [np.random.default_rng([SEED, 3, i]) for i in range(CLIPS)])
        lowest = motion.world_skin(torch.arange(0, len(motion.clip_F), 3))[..., 2].min()
    assert lowest > -0.02
    assert motion.object_at_F3[:, 2].min() > -1e-9


def test_hand_and_object_are_in_the_picture(hand: Hand) -> None:
    """Take either away and the first picture changes in many pixels."""
    plans = plan_clips(CLIPS, SEED)
    scenes = [make_scene(plan.scene, SEED) for plan in plans]
    with torch.no_grad():
        motion = move(hand, plans, scenes, [np.random.default_rng([SEED, 3, i]) for i in range(CLIPS)])
        frames = torch.stack([torch.nonzero(motion.clip_F == i)[0, 0] for i in range(CLIPS)])
        clutter = [clutter_samples(scene) for scene in scenes]
        whole = draw_pictures(hand, motion, scenes, clutter, frames)
        no_hand = draw_pictures(hand, _moved(motion, "wrist_F3"), scenes, clutter, frames)
        no_object = draw_pictures(hand, _moved(motion, "object_at_F3"), scenes, clutter, frames)
    hand_pixels = (whole != no_hand).any(-1).flatten(1).sum(1)
    object_pixels = (whole != no_object).any(-1).flatten(1).sum(1)
    assert (hand_pixels > 60).float().mean() > 0.9 and hand_pixels.min() > 10
    assert (object_pixels > 15).float().mean() > 0.9


def _moved(motion: object, field: str) -> object:
    """The motion with something far behind the camera."""
    from dataclasses import replace

    return replace(motion, **{field: getattr(motion, field) + torch.tensor([0.0, -100.0, 0.0])})  # type: ignore[type-var]


def test_settings_hold_out_whole_groups() -> None:
    plans = plan_clips(600, 0)
    settings = world_settings(plans, 0)
    shown = {
        "objects": [p.object for p in plans], "actions": [p.action.name for p in plans],
        "tasks": [p.task.name for p in plans], "scenes": [SCENES[p.scene] for p in plans],
    }  # fmt: skip
    for name, values in shown.items():
        parts = settings[name]["parts"]
        assert set(parts) == set(PARTS)
        groups = [group for part in parts.values() for group in part]
        assert len(groups) == len(set(groups)) and set(groups) == set(values)
        assert min(len(parts[part]) for part in ("val", "gate", "test")) >= 4
        share = np.isin(values, parts["train"]).mean()
        assert 0.5 < share < 0.75, (name, share)
    # What is held out is new, its words are not.
    train = settings["actions"]["parts"]["train"]
    for part in ("val", "gate", "test"):
        for held in settings["actions"]["parts"][part]:
            verb, direction = held.split(" ", 1)
            assert any(t.startswith(verb + " ") for t in train) and any(
                t.endswith(" " + direction) for t in train
            ), held
    nouns = {name.split()[1] for name in settings["objects"]["parts"]["train"]}
    assert nouns == set(CATEGORIES)


def test_parts_of_a_written_world_share_no_clip(clips: Clips) -> None:
    assert clips.manifest["settings"]
    for setting in clips.manifest["settings"]:
        index = [set(part_clips(clips, setting, part).tolist()) for part in PARTS]
        assert len(set().union(*index)) == sum(map(len, index))


def test_the_world_is_as_rich_as_promised() -> None:
    assert len({action.verb for action in ACTIONS.values()}) >= 8
    assert len(CATEGORIES) >= 8 and len(OBJECTS) >= 16
    assert len(ACTIONS) >= 16 and len(TASKS) >= 10 and len(SCENES) >= 24


def test_surfaces_lie_on_their_objects() -> None:
    for name, parts_of in CATEGORIES.items():
        parts = parts_of(torch.tensor([0.8, 1.2]))
        points, normals, _ = surface(parts, 600)
        distance = signed_distance_m(parts, points)
        assert distance.max() < 1e-5, name
        # A step outwards along the normal is as far from the surface (samples inside another part aside).
        outer = distance > -1e-5
        step = signed_distance_m(parts, points + 0.001 * normals)
        assert (step[outer] - 0.001).abs().median() < 1e-5, name


def test_a_course_comes_before_it_acts() -> None:
    assert ease(np.array([-1.0, 0.0, 0.5, 1.0, 2.0])).tolist() == [0.0, 0.0, 0.5, 1.0, 1.0]
    for action in ACTIONS.values():
        time = course(action, TASKS["study"], 48, np.random.default_rng(0))
        moving = np.abs(np.diff(time.done_T)) > 1e-3
        assert (time.away_T[1:][moving] < 0.2).all(), action.name
        assert (time.closed_T >= 0).all() and (time.closed_T <= 1).all()
