"""The camera of LatentAct's published clips: its axes repaired, and what speaks for either reading of them.

`rel_c2c` holds M_t, which maps points of the clip's first camera to the camera of frame t: M_t = inv(C_t) C_0 with C the
pose (camera to world) that the HoloLens gives. Those poses have the axes x forward, y left, z up, while all points of
the release have OpenCV's (x right, y down, z forward), and M was stored without changing them. With A the change of
axes (a HoloLens point is A times an OpenCV point) the transform of OpenCV points is inv(A) M A, and so is its inverse,
which is what a clip holds here: frame t's camera to the first.

`joints_ref`, the joints in the first camera, tells whether M is whole, but not which reading is right: it was made with
M as it is stored. What tells them apart is motion: a wrong turn of the head adds motion to the hand. So the wrist's
path in the first camera is measured under both readings over all clips.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

HOLOLENS_FROM_OPENCV = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
# joints_ref and the joints that M brings into the first camera: further apart in the median, M is another clip's.
SAME_JOINTS_M = 0.005
_RIGID = 1e-3
# The part's expected reading is given up where the other one makes paths this much shorter, in this share of clips.
CLEARLY_SHORTER = 0.9
CLEARLY_MORE_CLIPS = 2 / 3
READINGS = ("repaired", "stored")
EXPECTED = {"holoassist": "repaired", "arctic": "stored"}  # ARCTIC's cameras are OpenCV's from the start


@dataclass(frozen=True, kw_only=True)
class AxisEvidence:
    """What the clips say about the two readings. Adds up over clips."""

    path_stored_m: float = 0.0  # the wrist's path in the first camera
    path_repaired_m: float = 0.0
    shorter_stored: int = 0  # clips whose path is shorter under that reading
    shorter_repaired: int = 0

    def __add__(self, other: AxisEvidence) -> AxisEvidence:
        mine, others = asdict(self), asdict(other)
        return AxisEvidence(**{name: mine[name] + others[name] for name in mine})


def stored_to_first(rel_c2c: NDArray[np.float64]) -> NDArray[np.float64]:
    """Frame's camera to the reference camera (n, 3, 4), in the axes that M (n, 4, 4) is stored in.

    NaN where M is not finite or no rigid transform.
    """
    turn, shift = rel_c2c[:, :3, :3], rel_c2c[:, :3, 3]
    back = np.swapaxes(turn, 1, 2)
    to_first = np.concatenate([back, -(back @ shift[..., None])], axis=2)
    with np.errstate(invalid="ignore"):
        off = np.abs(turn @ back - np.eye(3)).max((1, 2))
        rigid = (off < _RIGID) & (np.linalg.det(np.nan_to_num(turn)) > 0)
        rigid &= np.abs(rel_c2c[:, 3] - [0.0, 0.0, 0.0, 1.0]).max(1) < _RIGID
    rigid &= np.isfinite(rel_c2c).all((1, 2))
    to_first[~rigid] = np.nan
    return to_first


def repaired(to_first: NDArray[np.float64]) -> NDArray[np.float64]:
    """Transforms (n, 3, 4) of HoloLens points as transforms of OpenCV points: inv(A) T A."""
    back = HOLOLENS_FROM_OPENCV.T
    turn = back @ to_first[..., :3] @ HOLOLENS_FROM_OPENCV
    return np.concatenate([turn, (back @ to_first[..., 3:])], axis=2)


def read_as(reading: str, to_first: NDArray[np.float64]) -> NDArray[np.float64]:
    """stored_to_first's transforms under one of READINGS, (n, 3, 4), of OpenCV points."""
    return repaired(to_first) if reading == "repaired" else to_first


def moved(to_first: NDArray[np.float64], points_m: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points (n, k, 3) of each frame's camera in the reference camera."""
    return np.einsum("tij,tkj->tki", to_first[..., :3], points_m) + to_first[:, None, :, 3]


def residual_m(
    to_first: NDArray[np.float64], joints_m: NDArray[np.float64], joints_ref_m: NDArray[np.float64]
) -> float:
    """Median distance of moved joints to joints_ref, metres; NaN where no frame has both."""
    off = np.linalg.norm(moved(to_first, joints_m) - joints_ref_m, axis=-1)
    off = off[np.isfinite(off)]
    return float(np.median(off)) if len(off) else float("nan")


def axis_evidence(to_first: NDArray[np.float64], joints_m: NDArray[np.float64]) -> AxisEvidence:
    """The evidence of one clip: transforms as stored (n, 3, 4) and joints (n, 21, 3) in each frame's camera."""
    stored, better = (_path_m(read_as(name, to_first), joints_m[:, :1]) for name in ("stored", "repaired"))
    return AxisEvidence(
        path_stored_m=stored,
        path_repaired_m=better,
        shorter_stored=int(stored < better - 1e-6),
        shorter_repaired=int(better < stored - 1e-6),
    )


def choose_reading(part: str, evidence: AxisEvidence) -> str:
    """Which of READINGS holds for all clips of a part: the expected one, unless motion clearly says otherwise."""
    expected = EXPECTED[part]
    other = next(name for name in READINGS if name != expected)
    path = {"stored": evidence.path_stored_m, "repaired": evidence.path_repaired_m}
    clips = {"stored": evidence.shorter_stored, "repaired": evidence.shorter_repaired}
    shorter = path[other] < CLEARLY_SHORTER * path[expected]
    return other if shorter and clips[other] > CLEARLY_MORE_CLIPS * sum(clips.values()) else expected


def rebased(to_first: NDArray[np.float64]) -> NDArray[np.float64]:
    """Transforms to the camera of the first frame that is there; as they are where that one is unknown.

    The release counts from the first frame of the action, in which the hand may not have been found.
    """
    first = to_first[0]
    if np.isnan(first).any() or np.array_equal(first, np.eye(3, 4)):
        return to_first
    back = first[:, :3].T
    shift = (to_first[..., 3] - first[:, 3]) @ back.T
    based = np.concatenate([back @ to_first[..., :3], shift[..., None]], axis=2)
    based[0] = np.eye(3, 4)
    return based


def total(evidence: Iterable[AxisEvidence]) -> AxisEvidence:
    return sum(evidence, AxisEvidence())


def _path_m(to_first: NDArray[np.float64], points_m: NDArray[np.float64]) -> float:
    steps = np.linalg.norm(np.diff(moved(to_first, points_m), axis=0), axis=-1)
    return float(np.nansum(steps))
