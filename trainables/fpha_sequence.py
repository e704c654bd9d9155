"""A sequence of FPHA as a recording: joints in the colour camera's frame, OpenPose order, metres.

Formats follow the README and load_example.py of guiggh/hand_pose_action:

    skeleton.txt       a line a frame: its number, then x y z of 21 joints, millimetres, in the depth camera's frame
    object_pose.txt    a line a frame: its number, then a 4x4 matrix column by column, object to depth camera, millimetres
    <object>_model.ply metres (load_example.py multiplies its vertices by 1000)

The colour camera sits on the head and moves; how is not recorded, so that the camera is unknown after the first frame.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainables.fpha_labels import LABELS
from trainables.recording import (
    MIN_FRAMES,
    PALM_RANGE_M,
    SPEED_LIMIT_M_PER_S,
    Body,
    Recording,
    check_scale,
    longest_run,
)
from trainables.source_errors import DamagedFile, TooShort, WrongShape, WrongType, WrongValue
from trainables.source_fields import numbers, read_bytes
from trainables.square_picture import pictures_every

FPS = 30.0
# [Wrist, TMCP, IMCP, MMCP, RMCP, PMCP, TPIP, TDIP, TTIP, IPIP, ...] -> wrist, then each finger from its root to its tip.
TO_OPENPOSE = (0, 1, 6, 7, 8, 2, 9, 10, 11, 3, 12, 13, 14, 4, 15, 16, 17, 5, 18, 19, 20)
DEPTH_TO_COLOUR = np.array(  # the README's extrinsics; translation in millimetres
    [
        [0.999988496304, -0.00468848412856, 0.000982563360594, 25.7],
        [0.00469115935266, 0.999985218048, -0.00273845880292, 1.22],
        [-0.000969709653873, 0.00274303671904, 0.99999576807, 3.902],
    ]
)
FAR_MM = 5000.0


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where the parts of one sequence lie."""

    subject: str
    action: str  # the folder's name
    number: str
    skeleton: Path
    object_pose: Path | None
    pictures: dict[int, Path]

    @property
    def name(self) -> str:
        return f"{self.subject}/{self.action}/{self.number}"


@dataclass(frozen=True, kw_only=True)
class Posed:
    """A recording, and the frames (T,) in which its object's pose is known; elsewhere the body's is the nearest one."""

    recording: Recording
    object_known: NDArray[np.bool_]
    counts: Counter[str]


def read_sequence(place: Place, mesh: str | None) -> Posed:
    """mesh: the name of the object's model, None without one. Raises SourceError."""
    label = LABELS[place.action]
    frames, values = read_table(place.skeleton, 63)
    joints_mm = values.reshape(-1, 21, 3)
    measured = np.any(joints_mm != 0, axis=(1, 2))
    counts = Counter({"frames without joints": int((~measured).sum())})
    frames, joints_mm = frames[measured], joints_mm[measured]
    joints = in_colour_camera(joints_mm[:, list(TO_OPENPOSE)])
    _check_unit(joints_mm, joints, place.skeleton)
    begin, end = _run(frames, joints)
    if end - begin < MIN_FRAMES:
        raise TooShort(place.skeleton, f"has no {MIN_FRAMES} frames in a row; one window needs them.")
    counts["frames outside the longest run"] = len(frames) - (end - begin)
    counts["recordings cut to their longest run"] = int(end - begin < len(measured))
    frames, joints = frames[begin:end], joints[begin:end]
    bodies: tuple[Body, ...] = ()
    known = np.zeros(len(frames), dtype=bool)
    if place.object_pose is not None and mesh is not None:
        body, known = _body(place.object_pose, mesh, frames)
        bodies = (body,) if known.any() else ()
    shown, pngs = pictures_every([place.pictures.get(int(frame)) for frame in frames])
    counts["pictures"] = len(shown)
    camera = np.full((len(frames), 3, 4), np.nan)
    camera[0] = np.eye(3, 4)
    return Posed(
        recording=Recording(
            name=place.name,
            person=place.subject,
            side="right",
            fps=FPS,
            text_start=[0],
            text=[label.text],
            joints_m=joints,
            object=label.object,
            action=label.action,
            subject=place.subject,
            camera_to_first=camera,
            bodies=bodies,
            image_frame=shown,
            image_png=pngs,
        ),
        object_known=known,
        counts=counts,
    )


def in_colour_camera(points_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points (..., 3) of the depth camera's frame, millimetres, in the colour camera's, metres."""
    return (points_mm @ DEPTH_TO_COLOUR[:, :3].T + DEPTH_TO_COLOUR[:, 3]) / 1000


def read_table(path: Path, columns: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Frame numbers (T,), rising, and their values (T, columns). Raises SourceError, naming file and line."""
    try:
        lines = read_bytes(path).decode("ascii").splitlines()
    except UnicodeDecodeError as error:
        raise DamagedFile(path, f"is no text ({error}); fetch the file again.") from error
    rows = []
    for at, line in enumerate(lines, 1):
        words = line.split()
        if not words:
            continue
        if len(words) != columns + 1:
            why = f"has {len(words)} numbers, not {columns + 1}; fetch the file again."
            raise WrongShape(path, why, field=f"line {at}")
        try:
            rows.append([float(word) for word in words])
        except ValueError as error:
            raise WrongType(
                path, f"is not all numbers ({error}); fetch the file again.", field=f"line {at}"
            ) from error
    if not rows:
        raise DamagedFile(path, "holds no frame; fetch the file again.")
    table: Sequence[Sequence[float]] = rows
    values = numbers(np.array(table), "frames", path, shape=(None, columns + 1), low=-1e6, high=1e6)
    frames = values[:, 0].astype(np.int64)
    if (frames != values[:, 0]).any() or (frames < 0).any() or (np.diff(frames) <= 0).any():
        raise WrongValue(path, "does not rise in whole numbers; fetch the file again.", field="frame number")
    return frames, values[:, 1:]


def _body(path: Path, mesh: str, frames: NDArray[np.int64]) -> tuple[Body, NDArray[np.bool_]]:
    """The object's pose in the colour camera for the frames asked for, and those of them that the file has."""
    posed, values = read_table(path, 16)
    matrices = values.reshape(-1, 4, 4).transpose(0, 2, 1)
    turns, shifts_mm = matrices[:, :3, :3], matrices[:, :3, 3]
    off = np.abs(turns @ turns.transpose(0, 2, 1) - np.eye(3)).max(initial=0)
    if off > 0.01 or (np.linalg.det(turns) < 0).any():
        raise WrongValue(
            path, "is no rotation (16 numbers column by column); fetch it again.", field="M11..M33"
        )
    if np.abs(shifts_mm).max(initial=0) > FAR_MM:
        raise WrongValue(
            path, f"is {np.abs(shifts_mm).max():g} mm away; it must be in millimetres.", field="M14..M34"
        )
    if np.median(np.abs(shifts_mm[:, 2])) < 10:
        raise WrongValue(
            path, "lies in the camera: this looks like metres, give millimetres.", field="M14..M34"
        )
    nearest = np.abs(posed[None] - frames[:, None]).argmin(1)
    body = Body(
        mesh=mesh,
        rotation=DEPTH_TO_COLOUR[:, :3] @ turns[nearest],
        translation_m=in_colour_camera(shifts_mm[nearest]),
    )
    return body, posed[nearest] == frames


def _check_unit(joints_mm: NDArray[np.float64], joints_m: NDArray[np.float64], path: Path) -> None:
    if not len(joints_m):
        raise WrongValue(path, "holds zeros alone; fetch the file again.", field="joints")
    palm = float(np.median(np.linalg.norm(joints_mm[:, 3] - joints_mm[:, 0], axis=-1)))
    if PALM_RANGE_M[0] <= palm <= PALM_RANGE_M[1]:
        why = (
            f"wrist to middle knuckle is {palm:.4g}: this looks like metres, skeleton.txt is in millimetres."
        )
        raise WrongValue(path, why, field="joints")
    check_scale(joints_m, file=str(path), field="joints")
    if np.median(joints_m[..., 2]) < 0 or np.abs(joints_mm).max() > FAR_MM:
        raise WrongValue(path, "lies behind the camera or metres away; fetch the file again.", field="joints")


def _run(frames: NDArray[np.int64], joints_m: NDArray[np.float64]) -> tuple[int, int]:
    """The longest stretch of consecutive frames without a jump."""
    speed = np.linalg.norm(np.diff(joints_m, axis=0), axis=-1).max(-1, initial=0) * FPS
    return longest_run((np.diff(frames) == 1) & (speed <= SPEED_LIMIT_M_PER_S))
