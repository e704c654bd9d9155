"""The official DexYCB folders: subject folders with `meta.yml` and `pose.npz`, `calibration/`, `models/`.

    20200709-subject-01/20200709_141754/meta.yml   ycb_ids, ycb_grasp_ind, mano_sides, mano_calib, extrinsics
                                        pose.npz   pose_m (T, 1, 51): MANO's rotation (3), PCA coefficients (45)
                                                   and translation (3), zeros where there is no hand;
                                                   pose_y (T, objects, 7): quaternion xyzw and translation
    calibration/mano_<mano_calib>/mano.yml         betas (10)
    calibration/extrinsics_<name>/extrinsics.yml   master (serial); extrinsics: camera to world, 3x4, by serial
    models/006_mustard_bottle/textured_simple.obj

Poses are in the world frame and are moved into the master camera's. Joints are not stored: MANO makes them from
the coefficients, so its licensed files are needed, MANO_LEFT for left hands too. Field meanings follow NVlabs'
dex-ycb-toolkit.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from scipy.spatial.transform import Rotation

from trainables.dexycb_recording import (
    CONTACT_DISTANCE_M,
    FPS,
    LIFT_DISTANCE_M,
    Source,
    choose,
    hand_run,
    phase_texts,
)
from trainables.mano_sides import ManoSides, NeedsMano
from trainables.recording import Body, Recording, check_in_front, check_scale
from trainables.signed_distance import Mesh, read_mesh, unsigned_distance_m
from trainables.source_errors import DamagedFile, MissingField, SourceError, WrongShape, WrongType, WrongValue
from trainables.source_fields import field, inside, npz_arrays, numbers, read_bytes, same_length, text

YCB_CLASSES = (  # meta.yml's ycb_ids count from 1
    "002_master_chef_can", "003_cracker_box", "004_sugar_box", "005_tomato_soup_can", "006_mustard_bottle",
    "007_tuna_fish_can", "008_pudding_box", "009_gelatin_box", "010_potted_meat_can", "011_banana",
    "019_pitcher_base", "021_bleach_cleanser", "024_bowl", "025_mug", "035_power_drill", "036_wood_block",
    "037_scissors", "040_large_marker", "051_large_clamp", "052_extra_large_clamp", "061_foam_brick",
)  # fmt: skip


def is_official(folder: Path) -> bool:
    """Whether the folder looks like DexYCB's own: calibration/ beside some <subject>/<sequence>/meta.yml."""
    return (folder / "calibration").is_dir() and next(folder.glob("*/*/meta.yml"), None) is not None


def read_official(
    folder: Path, sequences: list[str] | None, mano_path: str | os.PathLike[str] | None
) -> Source:
    """Read the official layout, `sequences` by name or all of it. Raises SourceError.

    A recording that is damaged by itself is dropped with the reason; MANO's files are needed by all.
    """
    places = {file.parent for name in ("meta.yml", "pose.npz") for file in folder.glob(f"*/*/{name}")}
    names = sorted(str(place.relative_to(folder)) for place in places)
    reader = _Reader(folder, mano_path)
    recordings, dropped = [], {}
    for name in choose(names, sequences, folder):
        try:
            recordings.append(reader.recording(name))
        except NeedsMano:
            raise
        except SourceError as error:
            dropped[name] = str(error)
    return Source(
        layout="official",
        digest=reader.digest.hexdigest(),
        recordings=recordings,
        meshes=reader.meshes,
        dropped=dropped,
    )


class _Reader:
    """Reads sequences; keeps the hands and meshes that they share, and the digest of all that was read."""

    def __init__(self, folder: Path, mano_path: str | os.PathLike[str] | None) -> None:
        self.folder, self._mano = folder, ManoSides(folder, mano_path)
        self.digest = hashlib.sha256()
        self.meshes: dict[str, Mesh] = {}

    def recording(self, name: str) -> Recording:
        """One sequence in its master camera's frame, from its first frame with a hand."""
        meta_path = self.folder / name / "meta.yml"
        meta = self._yaml(meta_path)
        side = _first_text(meta, "mano_sides", meta_path)
        if side not in ("right", "left"):
            raise WrongValue(
                meta_path, f"is {side!r}, neither right nor left; fetch the file again.", field="mano_sides"
            )
        calibration = _first_text(meta, "mano_calib", meta_path)
        rotation, shift = self._world_to_camera(
            text(field(meta, "extrinsics", meta_path), "extrinsics", meta_path), meta_path
        )
        pose_path = self.folder / name / "pose.npz"
        pose_m, pose_y = self._poses(pose_path)
        ids = numbers(
            field(meta, "ycb_ids", meta_path),
            "ycb_ids",
            meta_path,
            shape=(None,),
            low=1,
            high=len(YCB_CLASSES),
        )
        if len(ids) != pose_y.shape[1]:
            why = f"knows {pose_y.shape[1]} objects, {meta_path.name} names {len(ids)} in ycb_ids; fetch both files again."
            raise WrongShape(pose_path, why, field="pose_y")
        grasp = numbers(
            field(meta, "ycb_grasp_ind", meta_path),
            "ycb_grasp_ind",
            meta_path,
            shape=(),
            low=0,
            high=len(ids) - 1,
        )
        grasped = int(grasp)
        ycb_name = YCB_CLASSES[int(ids[grasped]) - 1]
        valid = np.any(pose_m != 0, axis=1)
        joints = self._joints(side, pose_m, self._betas(calibration, meta_path)) @ rotation.T + shift
        check_scale(joints[valid], file=str(pose_path), field="pose_m")
        check_in_front(joints[valid], file=str(pose_path), field="pose_m")
        object_rotation = rotation @ _unit(pose_y[:, grasped, :4], pose_path)
        object_translation = pose_y[:, grasped, 4:] @ rotation.T + shift
        mesh = self._mesh(ycb_name)
        local = np.einsum("tij,tki->tkj", object_rotation, joints - object_translation[:, None])
        distance = unsigned_distance_m(local.reshape(-1, 3), mesh).reshape(-1, 21)
        moved = np.linalg.norm(object_translation - object_translation[0], axis=1)
        start, phases = phase_texts(
            len(joints),
            ycb_name,
            first_contact=_first(valid & (distance.min(1) < CONTACT_DISTANCE_M)),
            first_lift=_first(moved > LIFT_DISTANCE_M),
        )
        subject = name.split("/")[0].split("-", 1)[-1]
        whole = Recording(
            name=name,
            person=subject,
            side=side,
            fps=FPS,
            object=ycb_name,
            subject=subject,
            text_start=start,
            text=phases,
            joints_m=joints,
            bodies=(Body(mesh=ycb_name, rotation=object_rotation, translation_m=object_translation),),
            joint_distance_m=distance,
        )
        return hand_run(whole, valid)

    def _joints(self, side: str, pose_m: np.ndarray, betas: np.ndarray) -> np.ndarray:
        mano = self._mano[side]
        pose = torch.from_numpy(pose_m[:, 3:48] @ mano.components + mano.mean).float()
        orient, transl = (torch.from_numpy(part).float() for part in (pose_m[:, :3], pose_m[:, 48:]))
        with torch.no_grad():
            shape = torch.from_numpy(betas).float().expand(len(pose), -1)
            return mano.hand.joints(orient, pose, shape, transl).double().numpy()

    def _betas(self, calibration: str, meta: Path) -> np.ndarray:
        inside(self.folder, calibration, file=meta, field="mano_calib")
        path = self.folder / "calibration" / f"mano_{calibration}" / "mano.yml"
        return numbers(field(self._yaml(path), "betas", path), "betas", path, shape=(10,), low=-20, high=20)

    def _world_to_camera(self, calibration: str, meta: Path) -> tuple[np.ndarray, np.ndarray]:
        inside(self.folder, calibration, file=meta, field="extrinsics")
        path = self.folder / "calibration" / f"extrinsics_{calibration}" / "extrinsics.yml"
        content = self._yaml(path)
        matrices, master = (
            field(content, "extrinsics", path),
            text(field(content, "master", path), "master", path),
        )
        if not isinstance(matrices, dict) or master not in matrices:
            raise MissingField(
                path, f"lacks {master!r}, which the field master names; fetch it again.", field="extrinsics"
            )
        values = numbers(matrices[master], f"extrinsics.{master}", path, shape=(12,))
        to_world = values.reshape(3, 4)
        return to_world[:, :3].T, -to_world[:, :3].T @ to_world[:, 3]

    def _poses(self, path: Path) -> tuple[np.ndarray, np.ndarray]:
        arrays = npz_arrays(path, ("pose_m", "pose_y"))
        self.digest.update(read_bytes(path))
        # pose_m is metres and radians, PCA coefficients among them; nothing in it is ever large.
        pose_m = numbers(arrays["pose_m"], "pose_m", path, shape=(None, 1, 51), low=-50, high=50)
        pose_y = numbers(
            field(arrays, "pose_y", path), "pose_y", path, shape=(None, None, 7), low=-50, high=50
        )
        same_length({"pose_m": pose_m, "pose_y": pose_y}, path)
        return pose_m[:, 0], pose_y

    def _mesh(self, name: str) -> Mesh:
        if name not in self.meshes:
            self.meshes[name] = read_mesh(self.folder / "models" / name / "textured_simple.obj")
        return self.meshes[name]

    def _yaml(self, path: Path) -> dict[str, Any]:
        data = read_bytes(path)
        self.digest.update(data)
        try:
            content = yaml.safe_load(data.decode())
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise DamagedFile(path, f"not YAML ({error}); fetch it again.") from error
        if not isinstance(content, dict):
            raise WrongType(path, "holds no fields; fetch it again.")
        return content


def _first_text(meta: dict[str, Any], name: str, path: Path) -> str:
    values = field(meta, name, path)
    if not isinstance(values, list) or not values:
        raise WrongType(path, "is not a list; fetch the file again.", field=name)
    return text(str(values[0]), name, path)


def _unit(quaternions: np.ndarray, path: Path) -> np.ndarray:
    length = np.linalg.norm(quaternions, axis=1)
    if (abs(length - 1) > 0.05).any():
        raise WrongValue(
            path, f"holds a quaternion of length {length.min():.3g}; fetch the file again.", field="pose_y"
        )
    return Rotation.from_quat(quaternions).as_matrix()


def _first(mask: np.ndarray) -> int:
    return int(np.argmax(mask)) if mask.any() else -1
