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
    LIFT_DISTANCE_M,
    DexYCBError,
    Recording,
    Source,
    choose,
    hand_run,
)
from trainables.hand import Hand
from trainables.mano_file import HandFileError, read_mano
from trainables.signed_distance import Mesh, MeshError, read_mesh, unsigned_distance_m

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
    """Read the official layout, `sequences` by name or all of it. Raises DexYCBError."""
    names = sorted(str(meta.parent.relative_to(folder)) for meta in folder.glob("*/*/meta.yml"))
    reader = _Reader(folder, mano_path)
    recordings = [reader.recording(name) for name in choose(names, sequences, folder)]
    return Source(
        layout="official", digest=reader.digest.hexdigest(), recordings=recordings, meshes=reader.meshes
    )


class _Reader:
    """Reads sequences; keeps the hands and meshes that they share, and the digest of all that was read."""

    def __init__(self, folder: Path, mano_path: str | os.PathLike[str] | None) -> None:
        path = mano_path or os.environ.get("MANO_PATH")
        if not path:
            raise DexYCBError(
                f"{folder}: the official layout stores MANO coefficients, not joints, and needs MANO's own files; "
                "set MANO_PATH to the folder with MANO_RIGHT.pkl and MANO_LEFT.pkl (mano.is.tue.mpg.de)."
            )
        self.folder, self.mano_path = folder, Path(path)
        self.digest = hashlib.sha256()
        self.meshes: dict[str, Mesh] = {}
        self._hands: dict[str, tuple[Hand, np.ndarray, np.ndarray]] = {}

    def recording(self, name: str) -> Recording:
        """One sequence in its master camera's frame, from its first frame with a hand."""
        meta_path = self.folder / name / "meta.yml"
        meta = self._yaml(meta_path)
        side, calibration = (
            str(_field(meta, "mano_sides", meta_path)[0]),
            _field(meta, "mano_calib", meta_path)[0],
        )
        rotation, shift = self._world_to_camera(str(_field(meta, "extrinsics", meta_path)))
        grasped = int(_field(meta, "ycb_grasp_ind", meta_path))
        identity = int(_field(meta, "ycb_ids", meta_path)[grasped])
        if not 1 <= identity <= len(YCB_CLASSES):
            raise DexYCBError(f"{meta_path}: ycb_ids holds {identity}; DexYCB knows 1 to {len(YCB_CLASSES)}.")
        pose_m, pose_y = self._poses(self.folder / name / "pose.npz")
        valid = np.any(pose_m != 0, axis=1)
        joints = self._joints(side, pose_m, self._betas(str(calibration))) @ rotation.T + shift
        object_rotation = rotation @ Rotation.from_quat(pose_y[:, grasped, :4]).as_matrix()
        object_translation = pose_y[:, grasped, 4:] @ rotation.T + shift
        mesh = self._mesh(YCB_CLASSES[identity - 1])
        local = np.einsum("tij,tki->tkj", object_rotation, joints - object_translation[:, None])
        distance = unsigned_distance_m(local.reshape(-1, 3), mesh).reshape(-1, 21)
        moved = np.linalg.norm(object_translation - object_translation[0], axis=1)
        whole = Recording(
            name=name,
            subject=name.split("/")[0].split("-", 1)[-1],
            side=side,
            object=YCB_CLASSES[identity - 1],
            start=0,
            joints_m=joints,
            object_rotation=object_rotation,
            object_translation_m=object_translation,
            joint_distance_m=distance,
            first_contact=_first(valid & (distance.min(1) < CONTACT_DISTANCE_M)),
            first_lift=_first(moved > LIFT_DISTANCE_M),
        )
        return hand_run(whole, valid)

    def _joints(self, side: str, pose_m: np.ndarray, betas: np.ndarray) -> np.ndarray:
        hand, components, mean = self._hand(side)
        pose = torch.from_numpy(pose_m[:, 3:48] @ components + mean).float()
        orient, transl = (torch.from_numpy(part).float() for part in (pose_m[:, :3], pose_m[:, 48:]))
        with torch.no_grad():
            shape = torch.from_numpy(betas).float().expand(len(pose), -1)
            return hand.joints(orient, pose, shape, transl).double().numpy()

    def _hand(self, side: str) -> tuple[Hand, np.ndarray, np.ndarray]:
        if side not in self._hands:
            try:
                arrays = read_mano(self._mano_file(side))
            except HandFileError as error:
                raise DexYCBError(f"{self.folder}: its {side} hands need MANO: {error}") from error
            hand = Hand(arrays, "mano")
            self._hands[side] = hand, np.asarray(arrays["hands_components"]), np.asarray(arrays["hands_mean"])
        return self._hands[side]

    def _mano_file(self, side: str) -> Path:
        if self.mano_path.is_file():  # MANO_PATH may name MANO_RIGHT.pkl itself; the left hand lies beside it
            return (
                self.mano_path
                if side == "right"
                else self.mano_path.with_name(f"MANO_LEFT{self.mano_path.suffix}")
            )
        stem = f"MANO_{side.upper()}"
        places = [
            self.mano_path / f"{inner}{stem}{ending}"
            for inner in ("", "mano/")
            for ending in (".pkl", ".npz")
        ]
        return next((place for place in places if place.is_file()), places[0])

    def _betas(self, calibration: str) -> np.ndarray:
        path = self.folder / "calibration" / f"mano_{calibration}" / "mano.yml"
        return np.asarray(_field(self._yaml(path), "betas", path), dtype=np.float64)

    def _world_to_camera(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        path = self.folder / "calibration" / f"extrinsics_{name}" / "extrinsics.yml"
        content = self._yaml(path)
        matrices, master = _field(content, "extrinsics", path), _field(content, "master", path)
        to_world = np.asarray(_field(matrices, master, path), dtype=np.float64).reshape(3, 4)
        return to_world[:, :3].T, -to_world[:, :3].T @ to_world[:, 3]

    def _poses(self, path: Path) -> tuple[np.ndarray, np.ndarray]:
        self._hash(path)
        try:
            with np.load(path) as file:
                pose_m, pose_y = file["pose_m"].astype(np.float64), file["pose_y"].astype(np.float64)
        except Exception as error:  # numpy and zipfile raise a dozen unrelated types on damaged archives
            raise DexYCBError(
                f"{path}: damaged, or without pose_m and pose_y ({error}); fetch it again."
            ) from error
        if (
            pose_m.ndim != 3
            or pose_m.shape[1:] != (1, 51)
            or pose_y.shape[:1] + pose_y.shape[2:] != (len(pose_m), 7)
        ):
            raise DexYCBError(
                f"{path}: pose_m {pose_m.shape}, pose_y {pose_y.shape}; not (T, 1, 51) and (T, n, 7)."
            )
        return pose_m[:, 0], pose_y

    def _mesh(self, name: str) -> Mesh:
        if name not in self.meshes:
            try:
                self.meshes[name] = read_mesh(self.folder / "models" / name / "textured_simple.obj")
            except MeshError as error:
                raise DexYCBError(f"object {name!r}: {error}") from error
        return self.meshes[name]

    def _yaml(self, path: Path) -> dict[str, Any]:
        self._hash(path)
        try:
            content = yaml.safe_load(path.read_text())
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise DexYCBError(f"{path}: not YAML ({error}); fetch it again.") from error
        if not isinstance(content, dict):
            raise DexYCBError(f"{path}: holds no fields; fetch it again.")
        return content

    def _hash(self, path: Path) -> None:
        if not path.is_file():
            raise DexYCBError(f"{path}: missing; unpack DexYCB's archives completely.")
        self.digest.update(path.read_bytes())


def _field(content: dict[str, Any], name: str, path: Path) -> Any:
    if name not in content:
        raise DexYCBError(f"{path}: field {name!r} is missing; fetch the file again.")
    return content[name]


def _first(mask: np.ndarray) -> int:
    return int(np.argmax(mask)) if mask.any() else -1
