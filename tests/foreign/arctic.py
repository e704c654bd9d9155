"""A small tree in ARCTIC's own layout, made from real DexYCB motion, and what an import of it must give.

Field names, shapes and units: zc-alexfan/arctic, docs/data/data_doc.md, src/arctic/preprocess_dataset.py and
common/object_tensors.py. MANO's files are stood in by the stand-in hand with a random mean pose and PCA basis.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.spatial.transform import Rotation

from tests.foreign.real_motion import real_fits, real_recordings
from trainables.hand import Hand
from trainables.recording import HandParameters
from trainables.signed_distance import MIRROR_X, Mesh
from trainables.standin_hand import standin_arrays

Array = NDArray[Any]
EDGE = 10  # frames that ARCTIC's splits leave out at either end
OFFSETS = {"s01": 2, "s02": 1, "s04": 1, "s05": 2}  # misc.json's ioi_offset
SEQUENCES = {  # name -> which real recording it holds, backwards or not
    "s01/capsulemachine_use_01": (0, 1),
    "s02/box_grab_01": (1, 1),
    "s04/scissors_use_02": (2, 1),
    "s05/mixer_grab_01": (0, -1),
}
GREY_PER_FRAME = 3  # a picture's grey says which frame it shows


@dataclass(frozen=True, kw_only=True)
class Truth:
    """What the import of one hand must give: right-handed, in the egocentric camera, without the edges."""

    parameters: HandParameters
    camera_to_first: Array  # (T, 3, 4)


@dataclass(frozen=True, kw_only=True)
class Arctic:
    source: Path  # arctic_data/data
    mano: Path  # the folder with MANO_RIGHT.npz and MANO_LEFT.npz
    truth: dict[str, Truth]  # by the clip's name


def write_mano(folder: Path, *, left_defect: bool = False) -> dict[str, dict[str, Array]]:
    """MANO_RIGHT.npz and MANO_LEFT.npz; returns the arrays by side.

    left_defect: the left hand's shape directions are the right one's, as in MANO's published left file.
    """
    rng = np.random.default_rng(0)
    basis, mean = np.linalg.qr(rng.normal(size=(45, 45)))[0], 0.1 * rng.normal(size=45)
    right = standin_arrays() | {"hands_components": basis, "hands_mean": mean}
    turn = np.tile([1.0, -1.0, -1.0], 15)  # axis-angles in a mirror
    left = right | {
        "v_template": right["v_template"] @ MIRROR_X,
        "shapedirs": right["shapedirs"]
        if left_defect
        else np.einsum("ij,vjk->vik", MIRROR_X, right["shapedirs"]),
        "f": right["f"][:, ::-1].copy(),
        "hands_components": basis * turn,
        "hands_mean": mean * turn,
    }
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "MANO_RIGHT.npz", **right)
    np.savez(folder / "MANO_LEFT.npz", **left)
    return {"right": right, "left": left}


def write_arctic(
    root: Path, *, frames: int = 45, pictures: bool = False, left_defect: bool = False
) -> Arctic:
    """Four sequences of both hands below root/arctic_data/data, MANO's files in root/mano.

    Each sequence holds one real recording (its hand on its own side, its object) between `EDGE` frames that hold its
    first and last pose, and another recording's hand on the other side. "use" sequences open and close the object.
    """
    source = root / "arctic_data" / "data"
    arrays = write_mano(root / "mano", left_defect=left_defect)
    hands = {side: Hand(values, "mano") for side, values in arrays.items()}
    recordings, meshes = real_recordings(frames)
    fits = real_fits(frames)
    truth = {}
    for number, (name, (index, step)) in enumerate(SEQUENCES.items()):
        subject, sequence = name.split("/")
        thing = sequence.split("_")[0]
        own = recordings[index]
        _write_template(source / "meta" / "object_vtemplates" / thing, meshes[own.bodies[0].mesh])
        order = np.clip(np.arange(-EDGE, frames + EDGE), 0, frames - 1)[::step]
        back = np.clip(np.arange(frames + EDGE - 1, -EDGE - 1, -1), 0, frames - 1)[::step]
        turn, shift = _world_to_camera(len(order), number)
        mano: dict[str, Any] = {}
        for side in ("right", "left"):
            clip = fits[index if side == own.side else (index + 1) % len(fits)].clip
            at = order if side == own.side else back
            parameters = HandParameters(
                global_orient=clip.global_orient[at],
                hand_pose=clip.hand_pose[at],
                transl_m=clip.transl_m[at] + (side != own.side) * np.array([0.01 * number, 0.02, 0.0]),
                betas=np.asarray(clip.betas, dtype=np.float64),
            )
            first = np.concatenate([turn[EDGE], shift[EDGE, :, None]], 1)
            truth[f"{name}/{side}"] = Truth(
                parameters=parameters.cut(slice(EDGE, -EDGE)),
                camera_to_first=_to_first(first, turn[EDGE:-EDGE], shift[EDGE:-EDGE], side),
            )
            placed = parameters if side == "right" else parameters.mirrored()
            mano[side] = _world_hand(placed, hands[side], arrays[side]["hands_mean"], turn, shift)
        folder = source / "raw_seqs" / subject
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / f"{sequence}.mano.npy", np.array(mano, dtype=object))
        angle = 0.6 * np.sin(np.arange(len(order)) / 12) ** 2 * ("use" in sequence)
        body = own.bodies[0]
        rotation = turn.transpose(0, 2, 1) @ body.rotation[order]
        translation_m = _to_world(body.translation_m[order], turn, shift)
        values = [angle[:, None], Rotation.from_matrix(rotation).as_rotvec(), 1000 * translation_m]
        np.save(folder / f"{sequence}.object.npy", np.concatenate(values, 1))
        np.save(folder / f"{sequence}.egocam.dist.npy", np.array(_camera(turn, shift), dtype=object))
        np.save(folder / f"{sequence}.smplx.npy", np.array(_body(len(order)), dtype=object))
        if pictures:
            _write_pictures(source / "cropped_images" / name / "0", len(order), OFFSETS[subject])
    _write_meta(source)
    return Arctic(source=source, mano=root / "mano", truth=truth)


def _world_to_camera(frames: int, seed: int) -> tuple[Array, Array]:
    """A head that looks about slowly: (T, 3, 3), (T, 3) metres."""
    time = np.linspace(0, 1, frames)[:, None]
    rng = np.random.default_rng(seed)
    nod = Rotation.from_rotvec(0.2 * np.sin(3 * time) * rng.normal(size=3))
    turn = (nod * Rotation.random(random_state=seed)).as_matrix()
    return turn, np.array([0.4, 1.2, -0.8]) + 0.1 * np.sin(2 * time) * rng.normal(size=3)


def _to_world(points_m: Array, turn: Array, shift: Array) -> Array:
    return np.einsum("tji,tj->ti", turn, points_m - shift)


def _to_first(first_34: Array, turn: Array, shift: Array, side: str) -> Array:
    """Frame's camera -> world -> first camera, by homogeneous matrices; mirrored for a left hand."""

    def square(matrix: Array) -> Array:
        return np.concatenate([matrix, np.broadcast_to([[0.0, 0, 0, 1]], (*matrix.shape[:-2], 1, 4))], -2)

    to_camera = square(np.concatenate([turn, shift[..., None]], -1))
    found = square(first_34) @ np.linalg.inv(to_camera)
    flip = np.diag([-1.0, 1, 1, 1]) if side == "left" else np.eye(4)
    return (flip @ found @ flip)[:, :3]


def _world_hand(
    hand: HandParameters, model: Hand, mean: Array, turn: Array, shift: Array
) -> dict[str, Array]:
    wrist = model.rest_wrist(torch.from_numpy(hand.betas).float()).double().numpy()
    orient = turn.transpose(0, 2, 1) @ Rotation.from_rotvec(hand.global_orient).as_matrix()
    return {
        "rot": Rotation.from_matrix(orient).as_rotvec().astype(np.float32),
        "pose": (hand.hand_pose - mean).astype(np.float32),
        "trans": (_to_world(hand.transl_m + wrist, turn, shift) - wrist).astype(np.float32),
        "shape": hand.betas.astype(np.float32),
        "fitting_err": np.full(len(orient), 0.01, dtype=np.float32),
    }


def _camera(turn: Array, shift: Array) -> dict[str, Any]:
    return {
        "R_k_cam_np": turn,
        "T_k_cam_np": shift[..., None],
        "intrinsics": np.array([[1650.0, 0, 1400], [0, 1650, 1000], [0, 0, 1]]),
        "ego_markers.ref": np.zeros((5, 3)),
        "ego_markers.label": [f"ego_{i}" for i in range(5)],
        "R0": np.eye(3),
        "T0": np.zeros((3, 1)),
        "dist8": np.array([-0.1, 0.05, 0.001, 0.001, 0.0, 0.0, 0.0, 0.0]),
    }


def _body(frames: int) -> dict[str, Array]:
    widths = {"transl": 3, "global_orient": 3, "body_pose": 63, "jaw_pose": 3, "leye_pose": 3, "reye_pose": 3}
    widths |= {"left_hand_pose": 45, "right_hand_pose": 45}
    return {name: np.zeros((frames, width), dtype=np.float32) for name, width in widths.items()}


def _write_template(folder: Path, mesh: Mesh) -> None:
    """The object in millimetres; what lies above its origin (along its own z) is the top."""
    folder.mkdir(parents=True)
    vertices = 1000 * mesh.vertices_m
    top = vertices[:, 2] > np.median(vertices[:, 2])
    lines = [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in vertices]
    lines += [f"f {a} {b} {c}" for a, b, c in mesh.faces + 1]
    (folder / "mesh.obj").write_text("\n".join(lines) + "\n")
    (folder / "parts.json").write_text(json.dumps(top.astype(int).tolist()))
    parameters = {}
    for part, points in (("top", vertices[top]), ("bottom", vertices[~top])):
        few = {"keypoints": points[np.arange(300) % len(points)].tolist()}
        (folder / f"{part}_keypoints_300.json").write_text(json.dumps(few))
        low, high = points.min(0), points.max(0)
        corners = np.array(np.meshgrid(*zip(low, high, strict=True))).reshape(3, 8).T
        parameters |= {f"bbox_{part}": corners.tolist(), f"keypoints_{part}": points[:16].tolist()}
        parameters[f"mocap_{part}"] = points[:4].tolist()
    (folder / "object_params.json").write_text(json.dumps(parameters))


def _write_pictures(folder: Path, frames: int, offset: int) -> None:
    folder.mkdir(parents=True)
    for frame in range(0, frames, 5):
        picture = Image.new("L", (168, 120), GREY_PER_FRAME * frame).convert("RGB")
        picture.save(folder / f"{frame + offset:05d}.jpg", quality=95)


def _write_meta(source: Path) -> None:
    misc = {
        subject: {
            "gender": "female",
            "ioi_offset": offset,
            "image_size": [[2800, 2000]] * 9,
            "intris_mat": [np.eye(3).tolist()] * 8,
            "world2cam": [np.eye(4).tolist()] * 8,
        }
        for subject, offset in OFFSETS.items()
    }
    (source / "meta" / "misc.json").write_text(json.dumps(misc))
    things = {name.split("/")[1].split("_")[0]: {"diameter": 0.2} for name in SEQUENCES}
    (source / "meta" / "object_meta.json").write_text(json.dumps(things))
    names = list(SEQUENCES)
    (source / "splits_json").mkdir()
    split = {"train": names[:3], "val": names[3:], "test": []}
    (source / "splits_json" / "protocol_p1.json").write_text(json.dumps(split))
