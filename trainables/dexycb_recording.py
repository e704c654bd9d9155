"""A DexYCB recording (Chao et al., CVPR 2021) whatever folder layout it came from.

Left hands become right hands here, by mirroring hand, object pose and mesh together.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from trainables.signed_distance import MIRROR_X, Mesh

FPS = 30.0
CONTACT_DISTANCE_M = 0.010  # first_contact: the centre of a joint is nearer to the object than this
LIFT_DISTANCE_M = 0.02  # first_lift: the object has moved further than this


class DexYCBError(ValueError):
    """The source folder is not DexYCB, or a part of it is missing or damaged; says which and what to do."""


@dataclass(frozen=True, kw_only=True)
class Recording:
    """One DexYCB sequence, camera frame (x right, y down, z forward), T frames at 30 fps."""

    name: str  # "20200709-subject-01/20200709_141754"
    subject: str  # "subject-01"
    side: str  # "right" or "left", as recorded
    object: str  # YCB name, "006_mustard_bottle"
    start: int  # frame of the recording that index 0 of the arrays below is
    joints_m: np.ndarray  # (T, 21, 3) OpenPose order
    object_rotation: np.ndarray  # (T, 3, 3) object to camera
    object_translation_m: np.ndarray  # (T, 3)
    joint_distance_m: np.ndarray  # (T, 21) unsigned distance of each joint centre to the object's surface
    first_contact: int  # frame of the recording at which a joint comes within 10 mm of the object; -1 never
    first_lift: int  # frame of the recording at which the object has moved more than 2 cm; -1 never

    def __len__(self) -> int:
        return len(self.joints_m)

    @property
    def hand(self) -> str:
        """Whose hand it is: DexYCB calibrates the left and the right hand of a subject separately."""
        return f"{self.subject} {self.side}"

    def cut(self, begin: int, end: int) -> Recording:
        """Frames begin..end-1 of the arrays; first_contact and first_lift still count the recording's frames."""
        arrays = ("joints_m", "object_rotation", "object_translation_m", "joint_distance_m")
        return replace(
            self, start=self.start + begin, **{key: getattr(self, key)[begin:end] for key in arrays}
        )

    def mirrored(self) -> Recording:
        """The scene under x -> -x: joints and object pose here, the object's mesh by `Mesh.mirrored`.

        A reflection S turns the pose p = R q + t of mesh point q into S p = (S R S) (S q) + S t, and S R S is
        a rotation again; distances are unchanged.
        """
        return replace(
            self,
            joints_m=self.joints_m @ MIRROR_X,
            object_rotation=MIRROR_X @ self.object_rotation @ MIRROR_X,
            object_translation_m=self.object_translation_m @ MIRROR_X,
        )


@dataclass(frozen=True, kw_only=True)
class Source:
    """A DexYCB folder that has been read."""

    layout: str  # "pack" or "official"
    digest: str  # sha256 over the files the motion came from
    recordings: list[Recording]
    meshes: dict[str, Mesh]  # by YCB name


def hand_run(recording: Recording, valid: np.ndarray) -> Recording:
    """The first unbroken stretch of frames with a hand: some recordings also lose it near their end."""
    seen = np.flatnonzero(valid)
    if not len(seen):
        return recording.cut(0, 0)
    lost = np.flatnonzero(~valid[seen[0] :])
    return recording.cut(int(seen[0]), int(seen[0] + lost[0]) if len(lost) else len(valid))


def steady_run(recording: Recording, limit_m_per_s: float) -> Recording:
    """The longest stretch in which no joint moves faster than the limit between two frames."""
    speed = np.linalg.norm(np.diff(recording.joints_m, axis=0), axis=-1).max(-1) * FPS
    edges = np.concatenate([[0], np.flatnonzero(speed > limit_m_per_s) + 1, [len(recording)]])
    longest = int(np.argmax(np.diff(edges)))
    return recording.cut(int(edges[longest]), int(edges[longest + 1]))


def choose(names: list[str], wanted: list[str] | None, where: Path) -> list[str]:
    """The wanted names in the source's order, all where none are asked for; unknown ones are refused."""
    if wanted is None:
        return names
    unknown = sorted(set(wanted) - set(names))
    if unknown:
        raise DexYCBError(
            f"{where}: no sequence {unknown[0]!r}; there are {len(names)}, for example {names[0]!r}."
        )
    return [name for name in names if name in set(wanted)]
