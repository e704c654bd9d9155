"""HO-3D's own layout, versions 2 and 3, written from real motion.

As the README of HO-3D v3 and shreyashampali/ho3d (vis_HO3D.py, utils/vis_utils.py) have it: train/<sequence>/meta,
rgb, and one pickled dictionary a frame, in protocol 2 as Python 2 wrote them.
"""

from __future__ import annotations

import functools
import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import igl
import numpy as np
import torch
from PIL import Image
from scipy.spatial.transform import Rotation

from tests.foreign.real_motion import real_fits, real_recordings
from trainables.hand import OPENPOSE_ORDER, load_hand
from trainables.recorded_clips import Fitted, hand_vertices
from trainables.recording import HandParameters
from trainables.signed_distance import Mesh

FLIP = np.diag([1.0, -1.0, -1.0])  # OpenCV's axes to OpenGL's
SECOND_CAMERA = Rotation.from_euler("yx", [0.5, -0.2]).as_matrix()
SECOND_SHIFT_M = np.array([-0.25, 0.05, 0.1])
LEAD = 3  # frames before the hand is annotated
GAP = 7  # frames that are missing before a second, short run of two
CAMERA = np.array([[614.6, 0.0, 320.3], [0.0, 614.1, 241.0], [0.0, 0.0, 1.0]])
YCB = ("006_mustard_bottle", "010_potted_meat_can", "004_sugar_box")  # what the sequences' names say
EMPTY = (
    "objTrans", "objRot", "handPose", "handTrans", "handBeta", "handJoints3D", "objCorners3D", "objCorners3DRest",
    "objName", "objLabel", "handVertContact", "handVertDist", "handVertIntersec", "handVertObjSurfProj",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Written:
    """What a sequence means, in OpenCV's axes and OpenPose's order, from its first annotated frame."""

    name: str
    scene: str
    subject: str
    object: str
    joints_m: np.ndarray
    parameters: HandParameters
    contact_bits: np.ndarray
    first: int  # number of its first annotated frame


def write_ho3d(
    root: Path,
    *,
    version: int = 3,
    models: bool = True,
    pictures: bool = True,
    measured: bool = False,
    frames: int = 45,
) -> list[Written]:
    """Four sequences: two of one camera (SM2, SiS1), two views of one scene (GPMF10, GPMF11); an evaluation one.

    measured: the joints are the measured ones, which no parameters give exactly, and the parameters are those of
    another hand model, so that they must be found again.
    """
    meshes = _meshes(real_fits(frames))
    plan = [("SM2", 0, False), ("GPMF10", 1, False), ("GPMF11", 1, True), ("SiS1", 2, False)]
    written = []
    for name, index, second in plan:
        fitted = real_fits(frames)[index]
        (body,) = fitted.recording.bodies
        mesh = meshes[index]
        turn, shift = (SECOND_CAMERA, SECOND_SHIFT_M) if second else (np.eye(3), np.zeros(3))
        joints = fitted.recording.joints_m if measured else fitted.joints_m
        meant = Written(
            name=name,
            scene="GPMF1" if name.startswith("GPMF") else name,
            subject="Si" if name == "SiS1" else name[0],
            object=YCB[index],
            joints_m=joints @ turn.T + shift,
            parameters=moved(_own(fitted), turn, shift),
            contact_bits=fitted.clip.contact_bits,
            first=LEAD,
        )
        pose = turn @ body.rotation, body.translation_m @ turn.T + shift
        distances = _distances(index, frames) if version == 3 else None
        _write_sequence(root / "train" / name, meant, pose, mesh, distances, pictures, other_hand=measured)
        written.append(meant)
    _write_evaluation(root / "evaluation" / "AP10", written[0])
    lists = {"train": [w.name for w in written], "evaluation": ["AP10"]}
    for part, names in lists.items():
        lines = [f"{name}/{number:04d}" for name in names for number in range(LEAD, LEAD + frames)]
        (root / f"{part}.txt").write_text("\n".join(lines) + "\n")
    if models:
        for index, mesh in enumerate(meshes):
            write_obj(root / "models" / YCB[index] / "textured_simple.obj", mesh)
    return written


def moved(parameters: HandParameters, turn: np.ndarray, shift: np.ndarray) -> HandParameters:
    """The same hand seen from elsewhere: x -> turn x + shift. MANO turns about its wrist at rest."""
    wrist = load_hand().rest_wrist(torch.from_numpy(parameters.betas).float()).double().numpy()
    return HandParameters(
        global_orient=(
            Rotation.from_matrix(turn) * Rotation.from_rotvec(parameters.global_orient)
        ).as_rotvec(),
        hand_pose=parameters.hand_pose,
        transl_m=(wrist + parameters.transl_m) @ turn.T + shift - wrist,
        betas=parameters.betas,
    )


def write_obj(path: Path, mesh: Mesh) -> None:
    """As YCB-Video's textured_simple.obj: vertices, texture coordinates, faces that name both."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [
        "mtllib textured_simple.obj.mtl",
        *("v {:.9g} {:.9g} {:.9g}".format(*v) for v in mesh.vertices_m),
    ]
    lines += ["vt 0.5 0.5"] + ["f {}/1 {}/1 {}/1".format(*face) for face in mesh.faces + 1]
    path.write_text("\n".join(lines) + "\n")


def _own(fitted: Fitted) -> HandParameters:
    clip = fitted.clip
    return HandParameters(
        global_orient=np.asarray(clip.global_orient, dtype=np.float64),
        hand_pose=np.asarray(clip.hand_pose, dtype=np.float64),
        transl_m=np.asarray(clip.transl_m, dtype=np.float64),
        betas=np.asarray(clip.betas, dtype=np.float64),
    )


def _meshes(fits: Sequence[Fitted]) -> list[Mesh]:
    """Of the left hand's recording, which was mirrored, the mirrored one."""
    _, meshes = real_recordings()
    own = [meshes[fitted.recording.bodies[0].mesh] for fitted in fits]
    return [m if f.recording.is_right else m.mirrored for f, m in zip(fits, own, strict=True)]


def _write_sequence(
    folder: Path,
    meant: Written,
    pose: tuple[np.ndarray, np.ndarray],
    mesh: Mesh,
    distances: tuple[np.ndarray, np.ndarray, np.ndarray] | None,  # of version 3
    pictures: bool,
    *,
    other_hand: bool,
) -> None:
    (folder / "meta").mkdir(parents=True)
    opengl = moved(meant.parameters, FLIP, np.zeros(3))
    turns, places = FLIP @ pose[0], pose[1] @ FLIP
    corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)])
    low, high = mesh.vertices_m.min(0), mesh.vertices_m.max(0)
    rest = low + corners * (high - low)
    order = np.argsort(OPENPOSE_ORDER)
    frames = len(meant.joints_m)
    numbers = [*range(LEAD + frames), *range(LEAD + frames + GAP, LEAD + frames + GAP + 2)]
    for number in numbers:
        common: dict[str, Any] = {"camMat": CAMERA, "camIDList": ["0"]}
        frame = number - LEAD if number < LEAD + frames else number - LEAD - frames - GAP
        meta = common | dict.fromkeys(EMPTY[: None if distances else 10])
        if frame >= 0:
            meta |= {
                "objTrans": places[frame],
                "objRot": Rotation.from_matrix(turns[frame]).as_rotvec()[:, None],
                "handPose": np.concatenate([opengl.global_orient[frame], opengl.hand_pose[frame]]),
                "handTrans": opengl.transl_m[frame],
                "handBeta": opengl.betas + (3.0 if other_hand else 0.0),
                "handJoints3D": (meant.joints_m[frame] @ FLIP)[order],
                "objCorners3D": rest @ turns[frame].T + places[frame],
                "objCorners3DRest": rest,
                "objName": meant.object,
                "objLabel": 5,
            }
            if distances is not None:
                away, inside, near = (values[frame] for values in distances)
                meta |= {
                    "handVertContact": away < 0.004,
                    "handVertDist": away,
                    "handVertIntersec": inside,
                    "handVertObjSurfProj": near @ turns[frame].T + places[frame],
                }
        with open(folder / "meta" / f"{number:04d}.pkl", "wb") as file:
            pickle.dump(meta, file, protocol=2)
    if pictures:
        (folder / "rgb").mkdir()
        for number in numbers:
            _picture(number).save(folder / "rgb" / f"{number:04d}.{'jpg' if distances else 'png'}")


@functools.cache
def _distances(index: int, frames: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of the 778 vertices: metres to the object, inside it or not, and the nearest point of it in its own frame."""
    fitted = real_fits(frames)[index]
    (body,), mesh = fitted.recording.bodies, _meshes(real_fits(frames))[index]
    local = hand_vertices(load_hand(), _own(fitted)) - body.translation_m[:, None]
    local = np.einsum("tij,tvi->tvj", body.rotation, local)
    points = np.ascontiguousarray(local.reshape(-1, 3))
    squared, _, closest = igl.point_mesh_squared_distance(points, mesh.vertices_m, mesh.faces)
    inside = np.asarray(igl.fast_winding_number(mesh.vertices_m, mesh.faces, points)) > 0.5
    shape = local.shape[:2]
    return np.sqrt(squared).reshape(shape), inside.reshape(shape), closest.reshape(local.shape)


def _write_evaluation(folder: Path, like: Written) -> None:
    """Withheld: the root joint, (3,), and the hand's box."""
    (folder / "meta").mkdir(parents=True)
    for frame, joints in enumerate(like.joints_m):
        meta = {
            "camMat": CAMERA,
            "objName": like.object,
            "objTrans": np.zeros(3),
            "objRot": np.zeros((3, 1)),
            "handJoints3D": joints[0] @ FLIP,
            "handBoundingBox": [100, 100, 300, 300],
        }
        with open(folder / "meta" / f"{frame:04d}.pkl", "wb") as file:
            pickle.dump(meta, file, protocol=2)


def _picture(number: int) -> Image.Image:
    """640 x 480, as bright as its number says."""
    return Image.new("RGB", (640, 480), (3 * number,) * 3)
