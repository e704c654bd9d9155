"""The re-packed DexYCB: all sequences end to end in one archive, an index, and the object meshes.

    dexycb_hand_object.npz   hand_valid (N,), joints (N, 21, 3), obj_rotvec, obj_trans (N, 3), joint_obj_dist (N, 21)
    sequences.json           seq, subject, side, object, start, length, first_contact, first_lift of each
    ycb_meshes/<object>.ply

Camera frame, metres. The archive's MANO coefficients are not read: they mean nothing without MANO's basis.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from trainables.dexycb_recording import DexYCBError, Recording, Source, choose, hand_run
from trainables.signed_distance import Mesh, MeshError, read_mesh

PACK_ARRAYS = "dexycb_hand_object.npz"
PACK_INDEX = "sequences.json"
PACK_MESHES = "ycb_meshes"


def is_pack(folder: Path) -> bool:
    """Whether the folder holds the pack's archive or index."""
    return (folder / PACK_ARRAYS).is_file() or (folder / PACK_INDEX).is_file()


def read_pack(folder: Path, sequences: list[str] | None) -> Source:
    """Read the pack, `sequences` by name or all of it. Raises DexYCBError."""
    for name in (PACK_ARRAYS, PACK_INDEX, PACK_MESHES):
        if not (folder / name).exists():
            raise DexYCBError(f"{folder / name}: missing from the pack; copy the whole dexycb folder again.")
    index, arrays = _pack_index(folder / PACK_INDEX), _pack_arrays(folder / PACK_ARRAYS)
    names = choose([entry["seq"] for entry in index], sequences, folder / PACK_INDEX)
    entries = [entry for entry in index if entry["seq"] in set(names)]
    meshes = {name: _pack_mesh(folder, name) for name in sorted({entry["object"] for entry in entries})}
    digest = hashlib.sha256()
    for name in (PACK_ARRAYS, PACK_INDEX):
        digest.update((folder / name).read_bytes())
    return Source(
        layout="pack",
        digest=digest.hexdigest(),
        recordings=list(_pack_recordings(entries, arrays, folder / PACK_ARRAYS)),
        meshes=meshes,
    )


def _pack_recordings(entries: list[dict], arrays: dict[str, np.ndarray], path: Path) -> Iterator[Recording]:
    for entry in entries:
        frames = slice(entry["start"], entry["start"] + entry["length"])
        if frames.stop > len(arrays["joints"]):
            raise DexYCBError(
                f"{path}: ends before sequence {entry['seq']}; the file and {PACK_INDEX} do not match."
            )
        whole = Recording(
            name=entry["seq"],
            subject=f"subject-{entry['subject']:02d}",
            side=entry["side"],
            object=entry["object"],
            start=0,
            joints_m=arrays["joints"][frames].astype(np.float64),
            object_rotation=Rotation.from_rotvec(arrays["obj_rotvec"][frames].astype(np.float64)).as_matrix(),
            object_translation_m=arrays["obj_trans"][frames].astype(np.float64),
            joint_distance_m=arrays["joint_obj_dist"][frames].astype(np.float64),
            first_contact=entry["first_contact"],
            first_lift=entry["first_lift"],
        )
        yield hand_run(whole, arrays["hand_valid"][frames])


def _pack_index(path: Path) -> list[dict]:
    fields = {"seq", "subject", "side", "object", "start", "length", "first_contact", "first_lift"}
    try:
        index = json.loads(path.read_text())
        missing = set().union(*(fields - set(entry) for entry in index))
    except (json.JSONDecodeError, UnicodeDecodeError, TypeError) as error:
        raise DexYCBError(f"{path}: not a list of sequences ({error}); copy the file again.") from error
    if not index or missing:
        raise DexYCBError(
            f"{path}: no sequences, or without the fields {sorted(missing)}; copy the file again."
        )
    return index


def _pack_arrays(path: Path) -> dict[str, np.ndarray]:
    fields = ("hand_valid", "joints", "obj_rotvec", "obj_trans", "joint_obj_dist")
    try:
        with np.load(path) as file:  # allow_pickle stays off: a damaged or foreign file must not run code
            missing = [field for field in fields if field not in file]
            if missing:
                raise DexYCBError(f"{path}: array {missing[0]!r} is missing; copy the file again.")
            return {field: file[field] for field in fields}
    except DexYCBError:
        raise
    except Exception as error:  # numpy and zipfile raise a dozen unrelated types on damaged archives
        raise DexYCBError(f"{path}: damaged archive ({error}); copy the file again.") from error


def _pack_mesh(folder: Path, name: str) -> Mesh:
    try:
        return read_mesh(folder / PACK_MESHES / f"{name}.ply")
    except MeshError as error:
        raise DexYCBError(f"object {name!r}: {error}") from error
