"""Finding FPHA's parts: who did what where, object poses and models, pictures; and a digest of all of it.

SOURCE/Hand_pose_annotation_v1/Subject_1/put_salt/1/skeleton.txt             or ..._v1_1
SOURCE/Object_6D_pose_annotation_v1_1/Subject_1/put_salt/1/object_pose.txt   or ..._v1; four objects alone
SOURCE/Object_models/salt_model/salt_model.ply
SOURCE/Video_files/Subject_1/put_salt/1/color/color_0015.jpeg                or Video_files_480, as others shrink it
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trainables.fpha_labels import LABELS, MODELLED
from trainables.fpha_sequence import Place
from trainables.signed_distance import Mesh, read_mesh
from trainables.source_errors import MissingFile, WrongValue
from trainables.source_fields import file_stamp

HANDS = ("Hand_pose_annotation_v1_1", "Hand_pose_annotation_v1")
POSES = ("Object_6D_pose_annotation_v1_1", "Object_6D_pose_annotation_v1")
MODELS = ("Object_models", "object_models")
VIDEOS = ("Video_files", "Video_files_480")
SIZE_RANGE_M = (0.02, 1.0)  # an object's diagonal
NO_SKELETON = "no skeleton.txt: fetch the sequence again"


@dataclass(frozen=True, kw_only=True)
class Source:
    places: list[Place]
    dropped: dict[str, str]
    models: dict[str, Path]  # object -> its .ply, of those that are there


def find_fpha(folder: Path) -> Source:
    """Every sequence of the folder. Raises MissingFile where there are no hand annotations."""
    hands = _first(folder, HANDS)
    if hands is None:
        raise MissingFile(
            folder, f"holds no {HANDS[1]}/; give the folder into which FPHA's parts were unpacked."
        )
    poses, videos = _first(folder, POSES), _first(folder, VIDEOS)
    places, dropped = [], {}
    for sequence in sorted(hands.glob("*/*/*")):
        if not sequence.is_dir():
            continue
        subject, action, number = sequence.relative_to(hands).parts
        name = f"{subject}/{action}/{number}"
        if action not in LABELS:
            dropped[name] = f"{action!r} is none of FPHA's {len(LABELS)} actions; rename or remove the folder"
            continue
        if not (sequence / "skeleton.txt").is_file():
            dropped[name] = NO_SKELETON
            continue
        pose = poses / name / "object_pose.txt" if poses else None
        places.append(
            Place(
                subject=subject,
                action=action,
                number=number,
                skeleton=sequence / "skeleton.txt",
                object_pose=pose if pose is not None and pose.is_file() else None,
                pictures=_pictures(videos / name / "color") if videos else {},
            )
        )
    if not places:
        raise MissingFile(hands, "holds no Subject_1/put_salt/1/skeleton.txt and the like; fetch FPHA again.")
    return Source(places=places, dropped=dropped, models=_models(folder))


def read_models(models: dict[str, Path]) -> dict[str, Mesh]:
    """Meshes by object. Raises SourceError."""
    meshes = {}
    for name, path in models.items():
        mesh = read_mesh(path)
        diagonal_m = float(np.linalg.norm(np.ptp(mesh.vertices_m, axis=0)))
        if not SIZE_RANGE_M[0] <= diagonal_m <= SIZE_RANGE_M[1]:
            raise WrongValue(
                path, f"is {diagonal_m:.4g} m long; FPHA's models are in metres: fetch it again."
            )
        meshes[name] = mesh
    return meshes


def stamp(place: Place) -> str:
    """sha256 of a sequence: its annotations, and the names and sizes of its pictures."""
    digest = hashlib.sha256(f"{place.name} {file_stamp(place.skeleton)}".encode())
    if place.object_pose is not None:
        digest.update(file_stamp(place.object_pose).encode())
    for frame in sorted(place.pictures):
        digest.update(f"\0{frame} {place.pictures[frame].stat().st_size}".encode())
    return digest.hexdigest()


def _models(folder: Path) -> dict[str, Path]:
    root = _first(folder, MODELS)
    if root is None:
        return {}
    paths = {name: root / f"{own}_model" / f"{own}_model.ply" for name, own in MODELLED.items()}
    return {name: path for name, path in paths.items() if path.is_file()}


def _pictures(folder: Path) -> dict[int, Path]:
    if not folder.is_dir():
        return {}
    found = ((re.fullmatch(r"color_(\d+)\.jpe?g", path.name), path) for path in folder.iterdir())
    return {int(match[1]): path for match, path in found if match}


def _first(folder: Path, names: tuple[str, ...]) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_dir()), None)
