"""One sequence of ARCTIC's raw_seqs: both hands and the articulated object, moved into the egocentric camera.

    raw_seqs/<subject>/<object>_<verb>_<nn>.mano.npy         pickled dict "right", "left" -> dict of rot (T, 3), pose
                                                             (T, 45), trans (T, 3), shape (10,), fitting_err (T,)
                                           .object.npy       (T, 7): articulation, axis-angle (3), shift (3, mm)
                                           .egocam.dist.npy  pickled dict: R_k_cam_np (T, 3, 3), T_k_cam_np (T, 3, 1),
                                                             world to camera, metres; intrinsics, dist8, R0, T0, ...
                                           .smplx.npy        the body; not read

Fields as docs/data/data_doc.md of zc-alexfan/arctic lists them and src/arctic/preprocess_dataset.py reads them. Hands
are in the world, metres, radians; `pose` is relative to MANO's mean pose (common/body_models.py builds MANO with
flat_hand_mean=False), which is added here. Frames are numbered alike in the three files.

The first and last ten frames are left out, as in every split of ARCTIC's own (src/arctic/split.py: the pictures there
may be black); what it asks for, more than 50 frames, leaves at least a second.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from trainables.arctic_object import MM_PER_M, part_bodies
from trainables.arctic_pictures import Pictures
from trainables.mano_sides import ManoSide
from trainables.plain_pickle import read_npy_plainly
from trainables.recorded_clips import hand_joints
from trainables.recording import Body, HandParameters, Recording, check_scale
from trainables.source_errors import WrongShape, WrongValue
from trainables.source_fields import field, numbers, same_length

FPS = 30.0
TRIMMED = 10  # frames at either end
SPLIT_WORDS = {
    "capsulemachine": "capsule machine", "espressomachine": "espresso machine", "waffleiron": "waffle iron",
}  # fmt: skip
_FAR_M = 20.0  # nothing in the capture volume is further from its origin
_ARM_M = 3.0  # nor is a hand further from the camera on the head
_REACH_M = 1.0  # a sequence in which no hand comes as near to the object has the object's unit wrong
_TINY_MM = 20.0  # nor does the object stay as near to the volume's origin


@dataclass(frozen=True, kw_only=True)
class Names:
    """What a sequence's place and file name say."""

    subject: str
    sequence: str
    object: str
    verb: str

    @property
    def words(self) -> str:
        """Such as "use the capsule machine"."""
        return f"{self.verb} the {SPLIT_WORDS.get(self.object, self.object)}"

    def of(self, side: str) -> str:
        return f"{self.subject}/{self.sequence}/{side}"


@dataclass(frozen=True, kw_only=True)
class Camera:
    """World to the egocentric camera in T frames."""

    rotation: NDArray[np.float64]  # (T, 3, 3)
    translation_m: NDArray[np.float64]  # (T, 3)

    def __call__(self, points_m: NDArray[np.float64]) -> NDArray[np.float64]:
        """(T, 3) from the world into each frame's camera."""
        return np.einsum("tij,tj->ti", self.rotation, points_m) + self.translation_m

    def to_first(self) -> NDArray[np.float64]:
        """(T, 3, 4) from each frame's camera into the first frame's."""
        turn = self.rotation[0] @ self.rotation.transpose(0, 2, 1)
        shift = self.translation_m[0] - np.einsum("tij,tj->ti", turn, self.translation_m)
        return np.concatenate([turn, shift[..., None]], axis=-1)


def read_camera(path: Path) -> Camera:
    """The egocentric camera's way. Raises SourceError."""
    content = read_npy_plainly(path)
    rotation = numbers(
        field(content, "R_k_cam_np", path), "R_k_cam_np", path, shape=(None, 3, 3), low=-1.01, high=1.01
    )
    stored = field(content, "T_k_cam_np", path)
    shape = (None, 3) if _dimensions(stored) == 2 else (None, 3, 1)
    shift = numbers(stored, "T_k_cam_np", path, shape=shape, low=-_FAR_M, high=_FAR_M)
    same_length({"R_k_cam_np": rotation, "T_k_cam_np": shift}, path)
    off = np.abs(rotation @ rotation.transpose(0, 2, 1) - np.eye(3)).max(initial=0)
    if off > 1e-2 or (np.linalg.det(rotation) < 0).any():
        raise WrongValue(
            path, "holds a matrix that is no rotation; fetch the file again.", field="R_k_cam_np"
        )
    return Camera(rotation=rotation, translation_m=shift.reshape(-1, 3))


def read_object(path: Path, name: str, camera: Camera) -> tuple[Body, Body]:
    """The object's two parts in each frame's camera. Raises SourceError."""
    values = numbers(
        read_npy_plainly(path), "", path, shape=(None, 7), low=-MM_PER_M * _FAR_M, high=MM_PER_M * _FAR_M
    )
    same_length({"frames of the camera": camera.rotation, "frames": values}, path)
    angle = values[:, 0]
    if (np.abs(angle) > 2 * np.pi).any():
        worst = float(angle[np.argmax(np.abs(angle))])
        why = f"is {worst:.4g} rad, more than a full turn; give radians, or fetch the file again."
        raise WrongValue(path, why, field="articulation")
    numbers(values[:, 1:4], "rotation", path, shape=(None, 3), low=-50, high=50)
    if np.median(np.linalg.norm(values[:, 4:], axis=1)) < _TINY_MM:
        why = "is within 2 cm of the volume's origin; this looks like metres: give millimetres."
        raise WrongValue(path, why, field="translation")
    rotation = camera.rotation @ Rotation.from_rotvec(values[:, 1:4]).as_matrix()
    return part_bodies(name, angle, rotation, camera(values[:, 4:] / MM_PER_M))


def read_hand(path: Path, side: str, mano: ManoSide, camera: Camera) -> HandParameters:
    """One hand in each frame's camera, flat mean. Raises SourceError."""
    return _in_camera(_stored(path, side), mano, camera, path, side)


def _dimensions(value: Any) -> int:
    """0 for what is no array, which `numbers` then says."""
    try:
        return np.ndim(value)
    except ValueError:
        return 0


@dataclass(frozen=True, kw_only=True)
class _Stored:
    rot: NDArray[np.float64]
    pose: NDArray[np.float64]
    trans: NDArray[np.float64]
    shape: NDArray[np.float64]


def _stored(path: Path, side: str) -> _Stored:
    content = field(read_npy_plainly(path), side, path)

    def take(name: str, width: int, limit: float) -> NDArray[np.float64]:
        value = field(content, name, path)
        return numbers(value, f"{side}.{name}", path, shape=(None, width), low=-limit, high=limit)

    rot, pose, trans = take("rot", 3, 50), take("pose", 45, 50), take("trans", 3, _FAR_M)
    same_length({f"{side}.rot": rot, f"{side}.pose": pose, f"{side}.trans": trans}, path)
    return _Stored(rot=rot, pose=pose, trans=trans, shape=_shape(content, side, path))


def _shape(content: Mapping[str, Any], side: str, path: Path) -> NDArray[np.float64]:
    """One shape a sequence: the loader repeats (10,); a file that repeats it already is as good."""
    value, name = field(content, "shape", path), f"{side}.shape"
    if _dimensions(value) != 2:
        return numbers(value, name, path, shape=(10,), low=-20, high=20)
    rows = numbers(value, name, path, shape=(None, 10), low=-20, high=20)
    if not len(rows) or np.ptp(rows, axis=0).max() > 1e-3:
        raise WrongValue(path, "changes from frame to frame; fetch the file again.", field=name)
    return rows[0]


def _in_camera(stored: _Stored, mano: ManoSide, camera: Camera, path: Path, side: str) -> HandParameters:
    if len(stored.rot) != len(camera.rotation):
        why = f"has {len(stored.rot)} frames, the camera {len(camera.rotation)}; fetch the sequence's files again."
        raise WrongShape(path, why, field=f"{side}.rot")
    # MANO turns about its wrist at rest, so a new frame moves `trans` as it moves the wrist.
    with torch.no_grad():
        wrist = mano.hand.rest_wrist(torch.from_numpy(stored.shape).float()).double().numpy()
    turned = camera.rotation @ Rotation.from_rotvec(stored.rot).as_matrix()
    return HandParameters(
        global_orient=Rotation.from_matrix(turned).as_rotvec(),
        hand_pose=stored.pose + mano.mean,
        transl_m=camera(stored.trans + wrist) - wrist,
        betas=stored.shape,
    )


def hand_recording(
    names: Names,
    side: str,
    files: Mapping[str, Path],
    mano: ManoSide,
    camera: Camera,
    bodies: tuple[Body, Body],
    pictures: Pictures,
) -> Recording:
    """One hand of a sequence (of more than twenty frames) without the first and last ten. Raises SourceError.

    files: the sequence's .npy files by what they hold: "mano", "object", "egocam".
    """
    path = files["mano"]
    parameters = read_hand(path, side, mano, camera)
    joints = hand_joints(mano.hand, parameters)
    check_scale(joints, file=str(path), field=f"{side}.shape")
    _check_distances(joints, bodies, files)
    whole = Recording(
        name=names.of(side),
        person=names.subject,
        side=side,
        fps=FPS,
        object=names.object,
        action=names.verb,
        subject=names.subject,
        text_start=[0],
        text=[names.words],
        joints_m=joints,
        camera_to_first=camera.to_first(),
        parameters=parameters,
        bodies=bodies,
        image_frame=pictures.frame,
        image_png=pictures.png,
    )
    return whole.cut(TRIMMED, len(whole) - TRIMMED)


def _check_distances(
    joints: NDArray[np.float64], bodies: tuple[Body, Body], files: Mapping[str, Path]
) -> None:
    away_m = float(np.median(np.linalg.norm(joints[:, 0], axis=1)))
    if away_m > _ARM_M:
        why = (
            f"puts the hand {away_m:.3g} m from the camera on the head; give metres, or fetch the file again."
        )
        raise WrongValue(files["egocam"], why, field="T_k_cam_np")
    apart_m = float(np.linalg.norm(joints[:, 0] - bodies[0].translation_m, axis=1).min())
    if apart_m > _REACH_M:
        why = f"stays {apart_m:.3g} m away from the hand; give millimetres, or fetch the file again."
        raise WrongValue(files["object"], why, field="translation")
