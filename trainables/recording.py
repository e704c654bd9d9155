"""A recording of one hand, as an importer has read it, whatever layout it came from.

Left hands become right hands here, by mirroring hand, camera, objects and pictures together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from trainables.signed_distance import MIRROR_X
from trainables.source_errors import WrongValue

# Wrist to middle knuckle, metres: adult hands measure 7 to 11 cm, a child's less.
PALM_RANGE_M = (0.04, 0.15)
DEPTH_RANGE_M = (0.05, 5.0)
SPEED_LIMIT_M_PER_S = 5.0  # a joint that is faster was measured wrongly
MIN_FRAMES = 30  # one window of a second


@dataclass(frozen=True, kw_only=True)
class HandParameters:
    """MANO's parameters of T frames as the source stores them: flat mean, axis-angle, metres."""

    global_orient: NDArray[np.float64]  # (T, 3)
    hand_pose: NDArray[np.float64]  # (T, 45)
    transl_m: NDArray[np.float64]  # (T, 3)
    betas: NDArray[np.float64]  # (10,)

    def cut(self, frames: slice) -> HandParameters:
        return replace(
            self,
            global_orient=self.global_orient[frames],
            hand_pose=self.hand_pose[frames],
            transl_m=self.transl_m[frames],
        )

    def mirrored(self) -> HandParameters:
        """Under x -> -x an axis-angle (x, y, z) becomes (x, -y, -z)."""
        turn = np.array([1.0, -1.0, -1.0])
        return replace(
            self,
            global_orient=self.global_orient * turn,
            hand_pose=self.hand_pose * np.tile(turn, 15),
            transl_m=self.transl_m @ MIRROR_X,
        )


@dataclass(frozen=True, kw_only=True)
class Body:
    """A rigid object that the hand may touch: a mesh by name, and its pose (object to camera) in T frames."""

    mesh: str
    rotation: NDArray[np.float64]  # (T, 3, 3)
    translation_m: NDArray[np.float64]  # (T, 3)

    def cut(self, frames: slice) -> Body:
        return replace(self, rotation=self.rotation[frames], translation_m=self.translation_m[frames])

    def mirrored(self) -> Body:
        """A reflection S turns the pose p = R q + t of mesh point q into S p = (S R S) (S q) + S t.

        S R S is a rotation again; the mesh itself must be mirrored too (`Mesh.mirrored`).
        """
        return replace(
            self, rotation=MIRROR_X @ self.rotation @ MIRROR_X, translation_m=self.translation_m @ MIRROR_X
        )


@dataclass(frozen=True, kw_only=True)
class Contact:
    """Contact that the source tells, in place of one computed from meshes."""

    bits: NDArray[np.bool_]  # (T, 778)
    known: NDArray[np.bool_]  # (T,)
    point_m: NDArray[np.float64]  # (T, 3) centroid in the frame's camera, NaN where nothing is known to touch

    def cut(self, frames: slice) -> Contact:
        return Contact(bits=self.bits[frames], known=self.known[frames], point_m=self.point_m[frames])

    def mirrored(self) -> Contact:
        # MANO's left hand has its vertices in the order of the right one's.
        return replace(self, point_m=self.point_m @ MIRROR_X)


@dataclass(frozen=True, kw_only=True)
class Recording:
    """One hand over T frames. Every frame in its own camera (OpenCV axes: x right, y down, z forward), metres.

    `person` says whose hand it is: recordings of one person are fitted with one shape. Where `parameters` are
    those of the loaded hand model they are kept as they are, else inverse kinematics finds them from `joints_m`.
    Contact is `contact`, else follows from the signed distance to `bodies`, else is unknown.
    """

    name: str  # of the clip; unique in the data set
    person: str
    side: str  # "right" or "left", as recorded
    fps: float
    text_start: Sequence[int]
    text: Sequence[str]
    joints_m: NDArray[np.float64]  # (T, 21, 3) OpenPose order
    object: str | None = None
    action: str | None = None
    task: str | None = None
    scene: str | None = None
    subject: str | None = None
    camera_to_first: NDArray[np.float64] | None = (
        None  # (T, 3, 4), NaN = unknown; None = the camera stands still
    )
    parameters: HandParameters | None = None
    bodies: tuple[Body, ...] = ()
    contact: Contact | None = None
    image_frame: Sequence[int] = ()
    image_png: Sequence[bytes] = ()
    hand_free_frame: Sequence[int] = ()
    hand_free_png: Sequence[bytes] = ()
    image_feature: NDArray[np.float32] | None = None  # (images, F), by the encoder that the manifest names
    hand_free_feature: NDArray[np.float32] | None = None
    text_feature: NDArray[np.float32] | None = None  # (texts, F)
    joint_distance_m: NDArray[np.float64] | None = (
        None  # (T, 21) measured distance of each joint to the object
    )

    def __len__(self) -> int:
        return len(self.joints_m)

    @property
    def is_right(self) -> bool:
        return self.side == "right"

    def cut(self, begin: int, end: int) -> Recording:
        """Frames begin..end-1."""
        frames = slice(begin, end)
        text = [i for i, start in enumerate(self.text_start) if start < end]
        text = [i for i in text if i == text[-1] or self.text_start[i + 1] > begin] or [0]
        shown = _inside(self.image_frame, begin, end)
        free = _inside(self.hand_free_frame, begin, end)
        return replace(
            self,
            joints_m=self.joints_m[frames],
            text_start=[max(self.text_start[i] - begin, 0) for i in text],
            text=[self.text[i] for i in text],
            text_feature=_rows(self.text_feature, text),
            camera_to_first=_rebased(self.camera_to_first, frames),
            parameters=self.parameters and self.parameters.cut(frames),
            bodies=tuple(body.cut(frames) for body in self.bodies),
            contact=self.contact and self.contact.cut(frames),
            image_frame=[self.image_frame[i] - begin for i in shown],
            image_png=[self.image_png[i] for i in shown] if self.image_png else (),
            image_feature=_rows(self.image_feature, shown),
            hand_free_frame=[self.hand_free_frame[i] - begin for i in free],
            hand_free_png=[self.hand_free_png[i] for i in free] if self.hand_free_png else (),
            hand_free_feature=_rows(self.hand_free_feature, free),
            joint_distance_m=None if self.joint_distance_m is None else self.joint_distance_m[frames],
        )

    def mirrored(self) -> Recording:
        """The scene under x -> -x; distances are unchanged, and `side` still says what was recorded.

        Features of pictures and texts cannot be mirrored: those of pictures are left out.
        """
        camera = self.camera_to_first
        if camera is not None:
            camera = np.concatenate(
                [MIRROR_X @ camera[..., :3] @ MIRROR_X, (camera[..., 3] @ MIRROR_X)[..., None]], -1
            )
        return replace(
            self,
            joints_m=self.joints_m @ MIRROR_X,
            camera_to_first=camera,
            parameters=self.parameters and self.parameters.mirrored(),
            bodies=tuple(body.mirrored() for body in self.bodies),
            contact=self.contact and self.contact.mirrored(),
            image_frame=self.image_frame if self.image_png else (),
            image_png=[_flipped(png) for png in self.image_png],
            image_feature=None,
            hand_free_frame=self.hand_free_frame if self.hand_free_png else (),
            hand_free_png=[_flipped(png) for png in self.hand_free_png],
            hand_free_feature=None,
        )


def steady_run(recording: Recording, limit_m_per_s: float) -> Recording:
    """The longest stretch in which no joint moves faster than the limit between two frames, in the room.

    The camera's own motion is taken out where it is known.
    """
    joints = recording.joints_m
    if recording.camera_to_first is not None:
        camera = np.where(np.isnan(recording.camera_to_first), np.eye(3, 4), recording.camera_to_first)
        joints = np.einsum("tij,tkj->tki", camera[..., :3], joints) + camera[:, None, :, 3]
    speed = np.linalg.norm(np.diff(joints, axis=0), axis=-1).max(-1, initial=0) * recording.fps
    begin, end = longest_run(speed <= limit_m_per_s)
    return recording.cut(begin, end)


def longest_run(joined: NDArray[np.bool_]) -> tuple[int, int]:
    """(begin, end) of the longest stretch of frames; joined[i] says that frames i and i+1 belong together."""
    edges = np.concatenate([[0], np.flatnonzero(~joined) + 1, [len(joined) + 1]])
    longest = int(np.argmax(np.diff(edges)))
    return int(edges[longest]), int(edges[longest + 1])


def check_scale(joints_m: NDArray[np.float64], *, file: str, field: str) -> None:
    """Raises WrongValue unless joints (T, 21, 3) are a hand's size in metres; names the unit that they look like."""
    if not len(joints_m):
        return
    palm = float(np.median(np.linalg.norm(joints_m[:, 9] - joints_m[:, 0], axis=-1)))
    low, high = PALM_RANGE_M
    if low <= palm <= high:
        return
    units = {"millimetres": 1000, "centimetres": 100, "decimetres": 10}
    looks = next((unit for unit, factor in units.items() if low <= palm / factor <= high), "")
    hint = f"this looks like {looks}" if looks else "this is no hand"
    raise WrongValue(
        file,
        f"wrist to middle knuckle is {palm:.4g} m; {hint}: give metres, or fetch the file again.",
        field=field,
    )


def check_in_front(joints_m: NDArray[np.float64], *, file: str, field: str) -> None:
    """Raises WrongValue unless the hand (T, 21, 3) is in front of the camera and within an arm's reach or a room's width.

    A translation in another unit, or in another camera's frame, puts it elsewhere.
    """
    if not len(joints_m):
        return
    depth = float(np.median(joints_m[:, :, 2]))
    low, high = DEPTH_RANGE_M
    if not low <= depth <= high:
        raise WrongValue(
            file,
            f"puts the hand {depth:.3g} m in front of the camera, not {low:g} to {high:g}: another unit or another "
            "camera's frame; fetch the file again.",
            field=field,
        )


def _inside(frames: Sequence[int], begin: int, end: int) -> list[int]:
    return [i for i, frame in enumerate(frames) if begin <= frame < end]


def _rows(values: NDArray[np.float32] | None, rows: list[int]) -> NDArray[np.float32] | None:
    return None if values is None else values[rows]


def _rebased(camera: NDArray[np.float64] | None, frames: slice) -> NDArray[np.float64] | None:
    """Transforms to the camera of the first frame that is left: inv(M_s) M_t."""
    if camera is None:
        return None
    left = camera[frames]
    if not len(left) or np.array_equal(left[0], np.eye(3, 4)):
        return left
    back = left[0, :, :3].T
    moved = (left[..., 3] - left[0, :, 3]) @ back.T
    return np.concatenate([back @ left[..., :3], moved[..., None]], -1)


def _flipped(png: bytes) -> bytes:
    with Image.open(BytesIO(png)) as picture:
        buffer = BytesIO()
        ImageOps.mirror(picture.convert("RGB")).save(buffer, format="PNG")
        return buffer.getvalue()
