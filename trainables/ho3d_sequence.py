"""A sequence of HO-3D as a recording: its longest unbroken run, in OpenCV's axes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from trainables.hand import Hand
from trainables.ho3d_frame import Frame, read_frame
from trainables.recording import (
    MIN_FRAMES,
    SPEED_LIMIT_M_PER_S,
    Body,
    HandParameters,
    Recording,
    check_scale,
    longest_run,
)
from trainables.source_errors import TooShort, WrongValue
from trainables.square_picture import pictures_every

FPS = 30.0
TO_OPENCV = np.diag([1.0, -1.0, -1.0])  # OpenGL's y up and z backward become y down and z forward
SAME_SHAPE = 1e-3  # shape coefficients of one recording differ by less than this


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a sequence lies: train/ABF10, its numbered annotations and pictures."""

    name: str
    metas: Sequence[Path]
    pictures: dict[int, Path]

    @property
    def scene(self) -> str:
        return scene_of(self.name)


@dataclass(frozen=True, kw_only=True)
class Sequenced:
    """A recording without bodies where its object has no model, and what the source itself says of contact."""

    recording: Recording
    body: Body
    box_m: NDArray[np.float64] | None  # (8, 3) of the object
    vertex_distance_m: NDArray[np.float64] | None  # (T, 778)
    counts: Counter[str]


def scene_of(name: str) -> str:
    """The recording that a sequence is a view of: "ABF1" of "ABF10" to "ABF14", "MC1" of itself.

    Two digits are the number of the recording and of the camera (vis_pcl_all_cameras.py lists ABF1, BB1, GPMF1, SMu4
    and others as multi-camera recordings); one digit is a recording of a single camera.
    """
    return name[:-1] if re.fullmatch(r"\D+\d\d", name) else name


def subject_of(name: str) -> str:
    """The person: "A" of "ABF10", "Sh" of "ShSu12".

    The authors do not document it; every published name is a person's initial (with small letters where two begin
    alike), the object's, and digits: ABF and SB show the bleach cleanser, BB and SiBF the banana, SM the mustard.
    """
    match = re.match(r"[A-Za-z][a-z]*", name)
    return match.group() if match else name


def read_sequence(place: Place, hand: Hand) -> Sequenced:
    """Raises SourceError where the sequence cannot be used."""
    numbers, frames = [], []
    for path in place.metas:
        frame = read_frame(path)
        if frame is not None:
            numbers.append(int(path.stem))
            frames.append(frame)
    counts = Counter({"frames without annotation": len(place.metas) - len(frames)})
    if len(frames) < MIN_FRAMES:
        raise TooShort(_folder(place), f"{_short()} (it has {len(frames)} annotated frames).")
    joints = np.stack([frame.joints_m for frame in frames])
    check_scale(joints, file=_folder(place), field="handJoints3D")
    if np.median(joints[..., 2]) > 0:
        why = "lies behind an OpenGL camera: HO-3D's y points up and its z backward; fetch the files again."
        raise WrongValue(_folder(place), why, field="handJoints3D")
    begin, end = _run(np.array(numbers), joints)
    if end - begin < MIN_FRAMES:
        raise TooShort(_folder(place), f"{_short()} (its longest run has {end - begin}).")
    counts["frames outside the longest run"] = len(frames) - (end - begin)
    counts["recordings cut to their longest run"] = int(end - begin < len(place.metas))
    return _sequenced(place, numbers[begin:end], frames[begin:end], hand, counts)


def _sequenced(
    place: Place, numbers: list[int], frames: list[Frame], hand: Hand, counts: Counter[str]
) -> Sequenced:
    objects = {frame.object for frame in frames}
    if len(objects) != 1:
        raise WrongValue(
            _folder(place),
            f"names {' and '.join(sorted(objects))} in one sequence; fetch it again.",
            field="objName",
        )
    name = objects.pop()
    words = name.split("_", 1)[-1].replace("_", " ")  # "021_bleach_cleanser" -> "bleach cleanser"
    shown, pngs = pictures_every([place.pictures.get(number) for number in numbers])
    counts["pictures"] = len(shown)
    parameters = _parameters(frames, hand)
    counts["recordings whose shape changes"] = int(parameters is None)
    turns = Rotation.from_rotvec(np.stack([frame.object_turn for frame in frames])).as_matrix()
    distances = [frame.vertex_distance_m for frame in frames if frame.vertex_distance_m is not None]
    return Sequenced(
        recording=Recording(
            name=place.name,
            person=place.scene,
            side="right",
            fps=FPS,
            text_start=[0],
            text=[f"manipulate the {words}"],
            joints_m=np.stack([frame.joints_m for frame in frames]) @ TO_OPENCV,
            object=name,
            scene=place.scene,
            subject=subject_of(place.name),
            parameters=parameters,
            image_frame=shown,
            image_png=pngs,
        ),
        body=Body(
            mesh=name,
            rotation=TO_OPENCV @ turns,
            translation_m=np.stack([frame.object_transl_m for frame in frames]) @ TO_OPENCV,
        ),
        box_m=frames[0].box_m,
        vertex_distance_m=np.stack(distances) if len(distances) == len(frames) else None,
        counts=counts,
    )


def _parameters(frames: list[Frame], hand: Hand) -> HandParameters | None:
    """MANO's parameters in OpenCV's axes; None where the shape changes, for a clip has one.

    MANO turns about its wrist at rest w: x = R (v - w) + w + t. In turned axes F x the translation becomes
    F (w + t) - w, which needs the hand model; for any but MANO's own w these parameters are not used anyway.
    """
    betas = np.stack([frame.betas for frame in frames])
    if np.ptp(betas, axis=0).max() > SAME_SHAPE:
        return None
    shape = betas[0]
    wrist = hand.rest_wrist(torch.from_numpy(shape).float()).double().numpy()
    pose = np.stack([frame.pose for frame in frames])
    orient = Rotation.from_rotvec(pose[:, :3]).as_matrix()
    transl = np.stack([frame.transl_m for frame in frames])
    return HandParameters(
        global_orient=Rotation.from_matrix(TO_OPENCV @ orient).as_rotvec(),
        hand_pose=pose[:, 3:],
        transl_m=(wrist + transl) @ TO_OPENCV - wrist,
        betas=shape,
    )


def _run(numbers: NDArray[np.int64], joints_m: NDArray[np.float64]) -> tuple[int, int]:
    """The longest stretch of consecutive frames without a jump; the cameras stand still."""
    speed = np.linalg.norm(np.diff(joints_m, axis=0), axis=-1).max(-1, initial=0) * FPS
    return longest_run((np.diff(numbers) == 1) & (speed <= SPEED_LIMIT_M_PER_S))


def _short() -> str:
    return f"has no {MIN_FRAMES} annotated frames in a row without a jump, which one window needs"


def _folder(place: Place) -> str:
    return str(place.metas[0].parent) if place.metas else place.name
