"""One frame of HO-3D: a pickled dictionary, `meta/0123.pkl`.

Field meanings follow the README that comes with HO-3D v3 and the authors' own reader (shreyashampali/ho3d,
vis_HO3D.py and utils/vis_utils.py):

    handJoints3D (21, 3)    metres; MANO's 16 joints, then the tips from thumb to little finger; in evaluation/ the
                            root alone, (3,)
    handPose (48,)          axis-angles, flat mean: global, then MANO's 15 joints; handTrans (3,), handBeta (10,)
    objRot (3, 1), objTrans (3,), objName    object to camera; the YCB name
    objCorners3DRest (8, 3) the object's box before it is posed, metres
    handVertDist, handVertIntersec, handVertContact (778,)    v3: metres to the object, inside it, nearer than 4 mm

Axes are OpenGL's (y up, the scene along -z). A frame whose fields are None was not annotated.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainables.clip_format import VERTICES
from trainables.hand import OPENPOSE_ORDER
from trainables.plain_pickle import read_pickle_plainly
from trainables.source_errors import WrongShape, WrongValue
from trainables.source_fields import field, numbers, text

NEEDED = ("handJoints3D", "handPose", "handTrans", "handBeta", "objRot", "objTrans", "objName")
FAR_M = 5.0  # no hand is farther from these cameras
OFFICIAL_CONTACT_M = 0.004
_FULL_TURNS = 4 * np.pi


@dataclass(frozen=True, kw_only=True)
class Frame:
    """What an annotated frame says, still in OpenGL's axes, metres."""

    joints_m: NDArray[np.float64]  # (21, 3), OpenPose order
    pose: NDArray[np.float64]  # (48,)
    transl_m: NDArray[np.float64]  # (3,)
    betas: NDArray[np.float64]  # (10,)
    object: str
    object_turn: NDArray[np.float64]  # (3,) axis-angle
    object_transl_m: NDArray[np.float64]  # (3,)
    box_m: NDArray[np.float64] | None  # (8, 3) the object's, at rest
    vertex_distance_m: NDArray[np.float64] | None  # (778,) of MANO's vertices to the object, negative inside


def read_frame(path: Path) -> Frame | None:
    """A frame of the train part, None where it was not annotated. Raises SourceError."""
    meta = read_pickle_plainly(path)
    if any(field(meta, name, path) is None for name in NEEDED):
        return None
    joints = meta["handJoints3D"]
    if np.size(joints) == 3:
        raise WrongShape(
            path,
            "holds the root joint alone, as the evaluation part does; import the train part.",
            field="handJoints3D",
        )
    # Wide enough for other units, which are recognised by the hand's size later.
    joints = numbers(joints, "handJoints3D", path, shape=(21, 3), low=-5000, high=5000)
    corners = meta.get("objCorners3DRest")
    return Frame(
        joints_m=joints[list(OPENPOSE_ORDER)],
        pose=_vector(meta, "handPose", 48, path, _FULL_TURNS),
        transl_m=_vector(meta, "handTrans", 3, path, 5000.0),
        betas=_vector(meta, "handBeta", 10, path, 20.0),
        object=text(meta["objName"], "objName", path),
        object_turn=_vector(meta, "objRot", 3, path, _FULL_TURNS),
        object_transl_m=_vector(meta, "objTrans", 3, path, FAR_M),
        box_m=None if corners is None else numbers(corners, "objCorners3DRest", path, shape=(8, 3)),
        vertex_distance_m=_vertex_distance_m(meta, path),
    )


def _vertex_distance_m(meta: dict[str, Any], path: Path) -> NDArray[np.float64] | None:
    """Distance of MANO's vertices to the object, negative inside; None where the frame has none (version 2)."""
    if meta.get("handVertDist") is None or meta.get("handVertIntersec") is None:
        return None
    away = np.abs(_vector(meta, "handVertDist", VERTICES, path, FAR_M))
    inside = _vector(meta, "handVertIntersec", VERTICES, path, 1.0) > 0.5
    if meta.get("handVertContact") is not None:
        touching = _vector(meta, "handVertContact", VERTICES, path, 1.0) > 0.5
        if (away[touching & ~inside] > 2 * OFFICIAL_CONTACT_M).any():
            why = (
                "contradicts handVertContact (nearer than 4 mm); it must be in metres: fetch the file again."
            )
            raise WrongValue(path, why, field="handVertDist")
    return np.where(inside, -away, away)


def _vector(meta: dict[str, Any], name: str, size: int, path: Path, limit: float) -> NDArray[np.float64]:
    """A field of `size` numbers that may be stored as a row or a column."""
    value = meta[name]
    if isinstance(value, np.ndarray) and value.ndim == 2 and 1 in value.shape:
        value = value.ravel()
    return numbers(value, name, path, shape=(size,), low=-limit, high=limit)
