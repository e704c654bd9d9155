"""HoloAssist's raw recordings through the engine, on a tree in its layout made from real hand motion."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from tests.foreign import holoassist as foreign
from tests.foreign.holoassist import WrittenRecording, shown_number, write_holoassist
from trainables.clips import Clips, read_clips, read_manifest
from trainables.hand import load_hand
from trainables.holoassist import import_holoassist
from trainables.holoassist_actions import action_frames, selected
from trainables.holoassist_axes import OPENPOSE_OF_26, camera_to_first, opencv_camera
from trainables.holoassist_hands import BROKEN, hololens_hands, unbroken_runs
from trainables.holoassist_labels import read_labels
from trainables.holoassist_tracks import RecordingFiles, read_tracks
from trainables.prepare import main

GOPRO, COFFEE = "R901-1July-GoPro", "z902-june-02-22-espresso"


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[WrittenRecording]]:
    root = tmp_path_factory.mktemp("holoassist")
    return root, write_holoassist(root)


@pytest.fixture(scope="module")
def imported(
    tree: tuple[Path, list[WrittenRecording]], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Clips, Path, Path]:
    """The tree as clips, by the command; its folder and the cache that it left."""
    place = tmp_path_factory.mktemp("clips")
    os.environ["LATENTACT_CACHE"], before = str(place / "cache"), os.environ.get("LATENTACT_CACHE")
    try:
        command = ["holoassist", str(tree[0]), str(place / "out"), "--workers", "1", "--image-px", "96"]
        result = CliRunner().invoke(main, command)
    finally:
        os.environ.pop("LATENTACT_CACHE")
        if before is not None:
            os.environ["LATENTACT_CACHE"] = before
    assert result.exit_code == 0, result.output
    assert "2 recordings: 3 clips kept, 0 dropped" in result.output
    return read_clips(place / "out"), place / "out", place / "cache"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LATENTACT_CACHE", str(tmp_path / "cache"))


def rows(clips: Clips, clip_id: str) -> slice:
    place = clips.clip_ids.index(clip_id)
    return slice(int(clips.offsets_C1[place]), int(clips.offsets_C1[place + 1]))


def test_the_command_gives_back_what_was_written(
    tree: tuple[Path, list[WrittenRecording]], imported: tuple[Clips, Path, Path]
) -> None:
    clips, folder, _ = imported
    hand = load_hand()
    written = [clip for recording in tree[1] for clip in recording.clips]
    assert clips.clip_ids == [f"{c.video}/{c.first:06d}-{c.last:06d}" for c in written]
    for clip, clip_id in zip(written, clips.clip_ids, strict=True):
        at, place = rows(clips, clip_id), clips.clip_ids.index(clip_id)
        assert at.stop - at.start == clip.last - clip.first + 1
        # Through world coordinates and text and back: exact to float32.
        np.testing.assert_allclose(clips.joints_FJ3[at].numpy(), clip.joints_m, atol=2e-7)
        betas = clips.betas_C10[place].expand(at.stop - at.start, -1)
        fitted = hand.joints(
            clips.global_orient_F3[at], clips.hand_pose_F45[at], betas, clips.transl_F3[at]
        ).numpy()
        assert 1000 * np.median(np.linalg.norm(fitted - clip.joints_m, axis=-1)) < 5.0
        assert clips.groups["object"][place] == clip.noun and clips.groups["action"][place] == clip.verb
        assert clips.groups["scene"][place] == clip.video and clips.groups["subject"][place] is None
        assert clips.texts[int(clips.text_F[at.start])] == f"{clip.verb} {clip.noun}".replace("_", " ")
    assert clips.groups["task"] == ["setup gopro"] * 2 + ["make coffee with espresso machine"]
    assert not clips.contact_known_F.any(), "without masks contact is unknown"
    report = read_manifest(folder)["report"]
    assert report["labels"]["fine_actions"] == 13 and sum(report["labels"]["not_selected"].values()) == 8
    assert report["actions"] == {
        "selected_in_these_recordings": 5, "clips": 3, "lost": {"shorter than 1 s": 2},
        "cut_to_the_longest_unbroken_part": 0, "labelled_as_the_left_hands": 0,
    }  # fmt: skip


def test_pictures_are_those_of_their_frames(
    tree: tuple[Path, list[WrittenRecording]], imported: tuple[Clips, Path, Path]
) -> None:
    clips, *_ = imported
    shown = [shown_number(picture.numpy()) for picture in clips.images_I]
    wanted = [i for recording in tree[1] for c in recording.clips for i in range(c.first, c.last + 1, 10)]
    assert shown == wanted
    assert clips.images_I.shape[1:] == (96, 96, 3)
    assert not clips.images_I[:, :15].any(), "black above: the picture is wider than high"
    for clip in (c for recording in tree[1] for c in recording.clips):
        at = rows(clips, f"{clip.video}/{clip.first:06d}-{clip.last:06d}")
        latest = np.array([shown[i] for i in clips.image_F[at]])
        frames = np.arange(clip.first, clip.last + 1)
        assert (latest <= frames).all() and (frames - latest < 10).all(), "never a later picture"


def test_a_point_that_is_fixed_in_the_room_stays_fixed(
    tree: tuple[Path, list[WrittenRecording]], imported: tuple[Clips, Path, Path]
) -> None:
    """camera_to_first is in the axes of the joints: it undoes the head's motion."""
    clips, *_ = imported
    fixed = np.array([1.1, -0.4, 1.2])  # forward, left, up
    moved_m = []
    for recording in tree[1]:
        for clip in recording.clips:
            at = rows(clips, f"{clip.video}/{clip.first:06d}-{clip.last:06d}")
            head = recording.head[clip.first : clip.last + 1]
            own = np.einsum("tji,tj->ti", head[:, :3, :3], fixed - head[:, :3, 3])
            seen = own @ foreign.TO_OPENCV.T  # in each frame's picture axes, by hand
            turn, shift = clips.camera_rot_F33[at].numpy(), clips.camera_transl_F3[at].numpy()
            back = np.einsum("tij,tj->ti", turn, seen) + shift
            assert np.abs(back - seen[0]).max() < 1e-5
            moved_m.append(np.linalg.norm(seen - seen[0], axis=1).max())
    assert clips.camera_known_F.all() and min(moved_m) > 0.01, "the head does move"


def test_the_axes_of_a_head_that_steps_forward_and_turns_left() -> None:
    """x forward, y left, z up in the room; x right, y down, z forward in the picture."""
    head = np.tile(np.eye(4), (3, 1, 1))
    head[1, :3, 3] = [0.1, 0.2, 0.3]
    head[2, :2, :2] = [[0, -1], [1, 0]]  # a quarter turn to the left, about up
    motion = camera_to_first(opencv_camera(head))
    np.testing.assert_allclose(motion[1], np.c_[np.eye(3), [-0.2, -0.3, 0.1]], atol=1e-12)
    np.testing.assert_allclose(motion[2] @ [0, 0, 1, 0], [-1, 0, 0], atol=1e-12)  # ahead is now to the left


def test_hololens_joints_are_openposes() -> None:
    names = ["palm", "wrist", *(f"thumb {p}" for p in ("metacarpal", "proximal", "distal", "tip"))]
    bones = ("metacarpal", "proximal", "intermediate", "distal", "tip")
    names += [f"{finger} {bone}" for finger in ("index", "middle", "ring", "little") for bone in bones]
    taken = [names[i] for i in OPENPOSE_OF_26]
    assert taken[:6] == [
        "wrist", "thumb metacarpal", "thumb proximal", "thumb distal", "thumb tip", "index proximal",
    ]  # fmt: skip
    assert len(taken) == 21 and set(names) - set(taken) == {
        "palm", "index metacarpal", "middle metacarpal", "ring metacarpal", "little metacarpal",
    }  # fmt: skip


def pyholoassist_hand(export: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    """Frames of (26, 3) joints in the camera, and their pixels, as PyHoloAssist's hand_eye_project.py reads a recording:
    rows by number, columns 3:-52 as 4x4 matrices, world to camera by the inverse pose and the inverse axes."""
    axes = np.linalg.inv([[0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
    lines = [line for line in (export / "Hands" / "Right_sync.txt").read_text().split("\n") if line]
    hands = np.array([[float(v) for v in line.split("\t")[3:-52]] for line in lines]).reshape(-1, 26, 4, 4)
    lines = [line for line in (export / "Video" / "Pose_sync.txt").read_text().split("\n") if line]
    poses = np.array([[float(v) for v in line.split("\t")] for line in lines])[:, 2:].reshape(-1, 4, 4)
    values = [float(v) for v in (export / "Video" / "Intrinsics.txt").read_text().split("\t")]
    world = hands[..., 3]  # homogeneous
    camera = np.einsum("ij,tjk,tnk->tni", axes, np.linalg.inv(poses), world)[..., :3]
    pixels = camera @ np.array(values[:9]).reshape(3, 3).T
    assert values[-2:] == [256, 144]
    return camera, pixels[..., :2] / pixels[..., 2:]


def test_the_projects_own_way_of_reading_agrees(tree: tuple[Path, list[WrittenRecording]]) -> None:
    for recording in tree[1]:
        export = recording.folder / "Export_py"
        start, end = map(int, (export / "Video" / "VideoMp4Timing.txt").read_text().split("\n")[:2])
        assert (end - start) / 1e7 == pytest.approx(recording.frames / recording.fps)
        camera, pixels = pyholoassist_hand(export)
        for clip in recording.clips:
            frames = slice(clip.first, clip.last + 1)
            np.testing.assert_allclose(camera[frames][:, OPENPOSE_OF_26], clip.joints_m, atol=1e-9)
            assert (pixels[frames].mean(1) > 0).all() and (pixels[frames].mean(1) < [256, 144]).all()


@pytest.mark.parametrize("fps", [17.43, 24.46])
def test_rates_of_their_own_for_video_and_text_files(tmp_path: Path, fps: float) -> None:
    """Rows every 1/30 s, frames at the video's rate: the nearest row, and the truth to within half a row's motion."""
    for recording in write_holoassist(tmp_path, fps=fps, row_hz=30.0):
        tracks = read_tracks(RecordingFiles(recording.folder), hand=True)
        assert tracks.fps == pytest.approx(fps, abs=1e-3) and len(tracks.seconds) == recording.frames
        video = next(
            v for v in read_labels(tmp_path / foreign.LABELS).videos if v.video == recording.folder.name
        )
        actions, _ = action_frames(selected(video), tracks.fps)
        assert [a[:2] for a in actions] == [(c.first, c.last) for c in recording.clips]
        hands = hololens_hands(tracks, "here")
        for clip in recording.clips:
            inner = slice(clip.first + 1, clip.last)
            assert hands.seen[inner].all()
            off = np.linalg.norm(hands.joints_m[inner] - clip.joints_m[1:-1], axis=-1)
            step = np.linalg.norm(np.diff(clip.joints_m, axis=0), axis=-1).max() * fps / 60
            assert off.max() < step + 0.03 and np.median(off) < 0.01
        runs, lost = unbroken_runs(tracks, hands, actions)
        assert len(runs) == len(actions) and not lost
        assert all(run.fps == pytest.approx(fps, abs=1e-3) for run in runs)


def test_a_video_whose_rate_varies_is_read_by_its_time_stamps(tmp_path: Path) -> None:
    def showing(count: int) -> NDArray[np.float64]:
        return np.concatenate([[0], np.cumsum(np.where(np.arange(count - 1) % 3 == 0, 0.04, 0.03))])

    for recording in write_holoassist(tmp_path, showing_s=showing):
        tracks = read_tracks(RecordingFiles(recording.folder), hand=True)
        np.testing.assert_allclose(tracks.seconds, showing(recording.frames), atol=2e-4)
        hands = hololens_hands(tracks, "here")
        for clip in recording.clips:
            np.testing.assert_allclose(hands.joints_m[clip.first : clip.last + 1], clip.joints_m, atol=1e-9)


@pytest.mark.parametrize(("gone", "whole"), [(1, True), (2, True), (3, False)])
def test_short_gaps_are_bridged_and_longer_ones_break_a_clip(tmp_path: Path, gone: int, whole: bool) -> None:
    def lose(video: str, world: NDArray[np.float64]) -> NDArray[np.float64]:
        begin = foreign.LEAD + 35
        world[begin : begin + gone] = np.nan
        return world

    recording = write_holoassist(tmp_path, change_hand=lose)[0]
    tracks = read_tracks(RecordingFiles(recording.folder), hand=True)
    hands = hololens_hands(tracks, "here")
    clip = recording.clips[0]
    video = read_labels(tmp_path / foreign.LABELS).videos[0]
    actions, _ = action_frames(selected(video), tracks.fps)
    (run, _), lost = unbroken_runs(tracks, hands, actions)
    assert not lost and run.begin == clip.first
    assert run.end - run.begin == (len(clip.joints_m) if whole else 35)
    assert hands.filled.sum() == (gone if whole else 0)
    if whole:
        made_up = np.flatnonzero(hands.filled)
        off = hands.joints_m[made_up] - clip.joints_m[made_up - clip.first]
        assert np.linalg.norm(off, axis=-1).max() < 0.02
        assert made_up[0] == foreign.LEAD + 35


def test_a_jump_or_a_hand_out_of_the_picture_breaks_a_clip(tmp_path: Path) -> None:
    def spoil(video: str, world: NDArray[np.float64]) -> NDArray[np.float64]:
        world[foreign.LEAD + 20 :] += 0.5 if video == GOPRO else 30.0
        return world

    for recording in write_holoassist(tmp_path, change_hand=spoil):
        tracks = read_tracks(RecordingFiles(recording.folder), hand=True)
        hands = hololens_hands(tracks, "here")
        video = next(
            v for v in read_labels(tmp_path / foreign.LABELS).videos if v.video == recording.folder.name
        )
        actions, _ = action_frames(selected(video), tracks.fps)
        runs, lost = unbroken_runs(tracks, hands, actions)
        assert all(actions[run.action].first != recording.clips[0].first for run in runs)
        assert lost[BROKEN] >= 1


def stage_files(cache: Path) -> dict[str, set[tuple[str, int]]]:
    """Stage -> its kept files, with the time of writing."""
    return {
        stage.name: {(p.name, p.stat().st_mtime_ns) for p in stage.iterdir()}
        for stage in (cache / "stages").iterdir()
    }


def test_an_import_is_idempotent_and_a_new_one_takes_up_every_stage(
    tree: tuple[Path, list[WrittenRecording]],
    imported: tuple[Clips, Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clips, folder, kept = imported
    monkeypatch.setenv("LATENTACT_CACHE", str(kept))
    before = stage_files(kept)
    assert {stage: len(files) for stage, files in before.items()} == {"tracks": 2, "hands": 2, "pictures": 2}
    stamp = (folder / "manifest.json").stat().st_mtime_ns
    import_holoassist(tree[0], folder, image_px=96, workers=1, show_progress=False)
    assert (folder / "manifest.json").stat().st_mtime_ns == stamp, "an equal data set is left alone"

    import_holoassist(tree[0], tmp_path / "again", image_px=96, workers=1, show_progress=False)
    assert stage_files(kept) == before, "nothing was computed again"
    assert read_clips(tmp_path / "again").digest == clips.digest

    import_holoassist(tree[0], tmp_path / "smaller", image_px=32, workers=1, show_progress=False)
    after = stage_files(kept)
    assert after["tracks"] == before["tracks"] and after["hands"] == before["hands"]
    assert len(after["pictures"]) == 4 and after["pictures"] > before["pictures"]

    for name, _ in before["pictures"]:  # a damaged stage is made again
        (kept / "stages" / "pictures" / name).write_bytes(b"PK damaged")
    import_holoassist(tree[0], tmp_path / "third", image_px=96, workers=1, show_progress=False)
    assert read_clips(tmp_path / "third").digest == clips.digest


def test_labels_that_lie_elsewhere_and_a_name_as_in_a_url(tmp_path: Path) -> None:
    source = tmp_path / "tree"
    source.mkdir()
    write_holoassist(source)
    (source / COFFEE).rename(source / "R101- 2Aug-Coffee")
    labels = json.loads((source / foreign.LABELS).read_text())
    labels[1]["video_name"] = "R101-%202Aug-Coffee"
    (source / foreign.LABELS).unlink()
    path = tmp_path / "labels.json"
    path.write_text(json.dumps(labels[1:]))
    report = import_holoassist(
        source, tmp_path / "out", labels=path, image_px=32, workers=1, show_progress=False
    )
    assert report["clips"] == 1 and report["labels"]["recording_folders"] == 2
    assert read_clips(tmp_path / "out").groups["scene"] == ["R101- 2Aug-Coffee"]
