"""A small HoloAssist tree in the layout of its distribution, made from real hand motion (see real_motion.py).

    root/data-annotation-trainval-v1_1.json
    root/R901-1July-GoPro/Export_py/Video_pitchshift.mp4, Video/{Pose_sync,Intrinsics,VideoMp4Timing}.txt,
                                    Hands/{Left,Right}_sync.txt
    root/z902-june-02-22-espresso/Export_py/...

The head moves; every frame of the video shows its own number as bars. The first recording holds two actions, the second
one; before, between and after them no hand is seen.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from tests.foreign.real_motion import real_fits

LABELS = "data-annotation-trainval-v1_1.json"
START_TICKS = 637_935_000_000_000_000  # in July 2022
LEAD, GAP, TAIL = 7, 9, 5  # frames without a hand
RECORDINGS = {"R901-1July-GoPro": (0, 1), "z902-june-02-22-espresso": (2,)}  # -> which real clips
ACTIONS = (  # verb, noun of each real clip
    ("grab", "gopro"),
    ("rotate", "battery_door"),
    ("mix/stir", "capsule_container"),
)
TASKS = ("setup gopro", "make coffee with espresso machine")
# From forward, left, up to a picture's right, down, forward, written by hand: point (f, l, u) is (-l, -u, f).
TO_OPENCV = np.array([[0.0, -1.0, 0.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0]])
Rows = tuple[NDArray[np.int64], NDArray[np.float64]]  # ticks (N,), a table (N, columns)


@dataclass(frozen=True, kw_only=True)
class WrittenClip:
    """One action as it was written: the truth that an import must give back."""

    video: str
    verb: str
    noun: str
    first: int  # frames of the video, both included
    last: int
    joints_m: NDArray[np.float64]  # (T, 21, 3) in each frame's OpenCV camera
    real: int  # index into real_fits()


@dataclass(frozen=True, kw_only=True)
class WrittenRecording:
    folder: Path
    fps: float
    frames: int
    head: NDArray[np.float64]  # (frames, 4, 4) camera to world, as Pose_sync.txt has it
    clips: list[WrittenClip]


def write_holoassist(
    root: Path,
    *,
    fps: float = 30.0,
    size_px: tuple[int, int] = (256, 144),
    condensed: bool = False,
    change_hand: Callable[[str, NDArray[np.float64]], NDArray[np.float64]] | None = None,
    row_hz: float | None = None,
    showing_s: Callable[[int], NDArray[np.float64]] | None = None,
) -> list[WrittenRecording]:
    """Write two recordings with three actions and their labels.

    fps: of the video, which the labels round to two decimals. change_hand: video, world joints (frames, 26, 3) ->
    the same with something gone (NaN) or moved. row_hz: rate of the text files' rows, those of the video's frames by
    default. showing_s: frames -> the moment of each, for a rate that varies.
    """
    fits = real_fits()
    made = []
    for number, (video, members) in enumerate(RECORDINGS.items()):
        motions = [in_view(np.asarray(fits[i].recording.joints_m)) for i in members]
        count = LEAD + sum(map(len, motions)) + GAP * (len(motions) - 1) + TAIL
        seconds = showing_s(count) if showing_s else np.arange(count) / fps
        head = head_motion(seconds, seed=number)
        world = np.full((count, 26, 3), np.nan)
        clips, begin = [], LEAD
        for member, motion in zip(members, motions, strict=True):
            at = slice(begin, begin + len(motion))
            world[at] = _world(head[at], as_hololens(motion))
            verb, noun = ACTIONS[member]
            clips.append(
                WrittenClip(
                    video=video,
                    verb=verb,
                    noun=noun,
                    first=begin,
                    last=at.stop - 1,
                    joints_m=motion,
                    real=member,
                )
            )
            begin = at.stop + GAP
        if change_hand:
            world = change_hand(video, world)
        export = root / video / "Export_py"
        ticks = START_TICKS + np.rint(seconds * 1e7).astype(np.int64)
        rows = ticks
        if row_hz:  # rows on a clock of their own: the hand's places between frames are straight
            rows = np.arange(ticks[0] - 40_000, ticks[-1] + 10**6, round(1e7 / row_hz))
            head_rows = head_motion((rows - ticks[0]) / 1e7, seed=number)
            nearest = np.abs(rows[:, None] - ticks).argmin(1)
            gone = np.isnan(world[nearest]).any((1, 2))
            flat = world.reshape(count, -1)
            between = np.stack([np.interp(rows, ticks, np.nan_to_num(c)) for c in flat.T], 1)
            world_rows = np.where(gone[:, None, None], np.nan, between.reshape(-1, 26, 3))
        else:
            head_rows, world_rows = head, world
        write_pose(export / "Video" / "Pose_sync.txt", rows, head_rows)
        write_hand(export / "Hands" / "Right_sync.txt", rows, world_rows)
        write_hand(export / "Hands" / "Left_sync.txt", rows, np.full_like(world_rows, np.nan))
        write_intrinsics(export / "Video" / "Intrinsics.txt", size_px)
        end = int(ticks[-1]) + round(1e7 / fps)
        (export / "Video" / "VideoMp4Timing.txt").write_text(f"{ticks[0]}\n{end}\n")
        write_video(export / "Video_pitchshift.mp4", seconds, fps, size_px)
        made.append(WrittenRecording(folder=root / video, fps=fps, frames=count, head=head, clips=clips))
    entries = [label_entry(r, task, condensed=condensed) for r, task in zip(made, TASKS, strict=True)]
    (root / LABELS).write_text(json.dumps(entries))
    return made


def in_view(joints_m: NDArray[np.float64]) -> NDArray[np.float64]:
    """The motion (T, 21, 3) moved sideways so that it is in the middle of the picture."""
    places = joints_m.mean(1)
    return joints_m - (places.min(0) + places.max(0)) / 2 * [1, 1, 0]


def head_motion(seconds: NDArray[np.float64], *, seed: int) -> NDArray[np.float64]:
    """A head (N, 4, 4) that looks around and leans forward, camera to world, axes forward, left, up."""
    rng = np.random.default_rng(seed)
    swing = rng.uniform(0.05, 0.2, (3, 1)) * np.sin(np.outer(rng.uniform(0.5, 2.0, 3), seconds) + seed)
    pose = np.tile(np.eye(4), (len(seconds), 1, 1))
    pose[:, :3, :3] = (Rotation.from_euler("z", 1.0 + seed) * Rotation.from_euler("zyx", swing.T)).as_matrix()
    pose[:, :3, 3] = [0.3, -0.2, 1.6] + np.outer(seconds, rng.uniform(-0.1, 0.1, 3))
    return pose


def as_hololens(joints_m: NDArray[np.float64]) -> NDArray[np.float64]:
    """26 joints (T, 26, 3) in the headset's order from 21 (T, 21, 3): palm and four metacarpals are added."""
    wrist, knuckles = joints_m[:, :1], joints_m[:, [5, 9, 13, 17]]
    bases = wrist + 0.25 * (knuckles - wrist)
    palm = (wrist + joints_m[:, 9:10]) / 2
    fingers = [part for i in range(4) for part in (bases[:, i : i + 1], joints_m[:, 5 + 4 * i : 9 + 4 * i])]
    return np.concatenate([palm, wrist, joints_m[:, 1:5], *fingers], 1)


def _world(head: NDArray[np.float64], camera_m: NDArray[np.float64]) -> NDArray[np.float64]:
    own = camera_m @ TO_OPENCV  # the inverse of a rotation, on row vectors
    return np.einsum("tij,tkj->tki", head[:, :3, :3], own) + head[:, None, :3, 3]


def write_pose(path: Path, ticks: NDArray[np.int64], head: NDArray[np.float64]) -> None:
    write_rows(path, ticks, head.reshape(len(head), 16))


def write_hand(path: Path, ticks: NDArray[np.int64], world_m: NDArray[np.float64]) -> None:
    """471 columns; a hand that is not seen is inactive, with NaN and flags 0."""
    active = np.isfinite(world_m).all((1, 2))
    matrices = np.tile(np.eye(4), (*world_m.shape[:2], 1, 1))
    matrices[..., :3, 3] = world_m
    matrices[~active] = np.nan
    flags = np.repeat(active[:, None], 52, 1).astype(float)
    write_rows(path, ticks, np.concatenate([active[:, None], matrices.reshape(len(ticks), -1), flags], 1))


def write_rows(path: Path, ticks: NDArray[np.int64], table: NDArray[np.float64]) -> None:
    """Seconds, ticks, numbers, with tabs between; whole numbers as the exporter writes them."""
    path.parent.mkdir(parents=True, exist_ok=True)

    def word(value: float) -> str:
        return "NaN" if np.isnan(value) else repr(int(value)) if value == int(value) else repr(float(value))

    lines = (
        "\t".join([repr((tick - ticks[0].item()) / 1e7), str(tick), *map(word, row)])
        for tick, row in zip(ticks.tolist(), table.tolist(), strict=True)
    )
    path.write_text("\n".join(lines) + "\n")


def write_intrinsics(path: Path, size_px: tuple[int, int]) -> None:
    """25 numbers: matrix, distortion, focal lengths, principal point, a flag, width, height."""
    wide, high = size_px
    focal = 685.88 * wide / 896
    matrix = [focal, 0, wide / 2, 0, focal, high / 2, 0, 0, 1]
    rest = [*[0] * 8, focal, focal, focal, wide / 2, high / 2, 0]
    path.write_text("\t".join(str(value) for value in [*matrix, *rest, wide, high]))


def write_video(path: Path, seconds: NDArray[np.float64], fps: float, size_px: tuple[int, int]) -> None:
    """H.264 with B-frames, a keyframe every 12 frames; frame i shows i (see `shown_number`)."""
    rate = Fraction(fps).limit_denominator(1000)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = *size_px, "yuv420p"
        stream.options = {"g": "12", "bf": "2", "preset": "veryfast", "crf": "20"}
        stream.codec_context.time_base = Fraction(1, rate.numerator * 100)
        for i, moment in enumerate(seconds):
            frame = av.VideoFrame.from_ndarray(numbered_picture(i, size_px), format="rgb24")
            frame.pts = round(moment * rate.numerator * 100)
            frame.time_base = stream.codec_context.time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def numbered_picture(number: int, size_px: tuple[int, int]) -> NDArray[np.uint8]:
    """(H, W, 3): twelve bars, bit by bit of the number, over a slope that makes it a picture."""
    wide, high = size_px
    bits = (number >> np.minimum(np.arange(wide) * 12 // wide, 11)) & 1
    row = 40 + 160 * bits
    picture = np.repeat(row[None], high, 0) + np.linspace(0, 40, high)[:, None]
    return np.repeat(picture[..., None], 3, -1).astype(np.uint8)


def shown_number(picture: NDArray[np.uint8]) -> int:
    """The number that a square picture of a `numbered_picture` shows."""
    side = picture.shape[1]
    centres = ((np.arange(12) + 0.5) * side / 12).astype(int)
    return sum(1 << i for i, c in enumerate(centres) if picture[side // 2, c].mean() > 140)


def label_entry(recording: WrittenRecording, task: str, *, condensed: bool = False) -> dict[str, Any]:
    """The recording's labels in either form: its actions, one too short, one wrong, and a verb that is not selected."""
    fps = recording.fps
    rows: list[Sequence[Any]] = [
        ((c.first + 0.5) / fps, (c.last + 0.5) / fps, c.verb, c.noun, "right hand", "Correct Action")
        for c in recording.clips
    ]
    first = recording.clips[0]
    rows += [
        (first.first / fps, first.first / fps + 0.5, "touch", "gopro", "none", "Correct Action"),
        (0.1, 1.9, "grab", "gopro", "none", "Wrong Action, corrected by instructor verbally"),
        (0.1, 1.9, "approach", "gopro", "none", "Correct Action"),
        (0.1, 1.9, "grab", "screw", "none", "Correct Action"),
        (0.1, 1.9, "grab", "gopro", None, "Correct Action"),
    ]
    name, rounded = recording.folder.name, round(fps, 2)
    if condensed:
        fine = [[s, e, verb, "none", noun, adverbial, right] for s, e, verb, noun, adverbial, right in rows]
        return {"video": name, "task": task, "fps": rounded, "duration": recording.frames / fps, "fine": fine}
    events: list[dict[str, Any]] = [
        {"id": 0, "label": "Narration", "start": 0, "end": 9, "type": "range", "attributes": {}},
        {"id": 1, "label": "Coarse grained action", "start": 0.1, "end": 2.0, "type": "range",
         "attributes": {"Action sentence": "The student opens it.", "Verb": "open", "Noun": "gopro"}},
    ]  # fmt: skip
    for number, (start, end, verb, noun, adverbial, right) in enumerate(rows, 2):
        attributes = {
            "Action Correctness": right, "Incorrect Action Explanation": "none",
            "Incorrect Action Corrected by": "none", "Verb": verb, "Adjective": "none", "Noun": noun,
        }  # fmt: skip
        if adverbial is not None:
            attributes["adverbial"] = adverbial
        events.append(
            {"id": number, "label": "Fine grained action", "start": start, "end": end, "type": "range",
             "attributes": attributes}
        )  # fmt: skip
    video = {"container": "mov", "codec": "h264", "resolution": {"w": 896, "h": 504}, "fps": rounded}
    duration = {"raw": "00:00:03.00", "seconds": int(recording.frames / fps)}
    return {
        "video_name": name,
        "taskType": task,
        "videoMetadata": {"video": video, "duration": duration},
        "events": events,
    }
