"""The re-packed DexYCB: all sequences end to end in one archive, an index, and the object meshes.

    dexycb_hand_object.npz   hand_valid (N,), joints (N, 21, 3), obj_rotvec, obj_trans (N, 3), joint_obj_dist (N, 21)
    sequences.json           seq, subject, side, object, start, length, first_contact, first_lift of each
    ycb_meshes/<object>.ply

Camera frame, metres. The archive's MANO coefficients are not read: they mean nothing without MANO's basis.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from trainables.dexycb_recording import FPS, DexYCBError, Source, choose, hand_run, phase_texts
from trainables.recording import Body, Recording, check_scale
from trainables.signed_distance import Mesh, read_mesh, unsigned_distance_m
from trainables.source_errors import (
    DamagedFile,
    MissingField,
    SourceError,
    WrongShape,
    WrongType,
    WrongValue,
)
from trainables.source_fields import inside, npz_arrays, numbers

PACK_ARRAYS = "dexycb_hand_object.npz"
PACK_INDEX = "sequences.json"
PACK_MESHES = "ycb_meshes"
_CHECKED_FRAMES = 8
_DISTANCE_TOLERANCE_M = 0.01  # float16, and distances were taken on meshes of full resolution: up to 6 mm


def is_pack(folder: Path) -> bool:
    """Whether the folder holds the pack's archive or index."""
    return (folder / PACK_ARRAYS).is_file() or (folder / PACK_INDEX).is_file()


_FIELDS: dict[str, tuple[int | None, ...]] = {
    "hand_valid": (None,),
    "joints": (None, 21, 3),
    "obj_rotvec": (None, 3),
    "obj_trans": (None, 3),
    "joint_obj_dist": (None, 21),
}


def read_pack(folder: Path, sequences: list[str] | None) -> Source:
    """Read the pack, `sequences` by name or all of it. Raises SourceError; a recording that is damaged by itself is dropped."""
    for name in (PACK_ARRAYS, PACK_INDEX, PACK_MESHES):
        if not (folder / name).exists():
            raise DexYCBError(folder / name, "missing from the pack; copy the whole dexycb folder again.")
    index, arrays = _pack_index(folder / PACK_INDEX), _pack_arrays(folder / PACK_ARRAYS)
    names = choose([entry["seq"] for entry in index], sequences, folder / PACK_INDEX)
    entries = [entry for entry in index if entry["seq"] in set(names)]
    digest = hashlib.sha256()
    for name in (PACK_ARRAYS, PACK_INDEX):
        digest.update((folder / name).read_bytes())
    recordings, meshes, dropped = [], {}, {}
    for entry in entries:
        name = entry["object"]
        try:
            if name not in meshes:
                file = f"{name}.ply"
                meshes[name] = read_mesh(
                    inside(folder / PACK_MESHES, file, file=folder / PACK_INDEX, field="object")
                )
            recordings.append(_recording(entry, arrays, meshes[name], folder / PACK_ARRAYS))
        except SourceError as error:
            dropped[entry["seq"]] = f"{PACK_INDEX}, object {name!r}: {error}"
    return Source(
        layout="pack", digest=digest.hexdigest(), recordings=recordings, meshes=meshes, dropped=dropped
    )


def _recording(entry: dict[str, Any], arrays: dict[str, np.ndarray], mesh: Mesh, path: Path) -> Recording:
    frames = slice(entry["start"], entry["start"] + entry["length"])
    if frames.start < 0 or frames.stop > len(arrays["joints"]):
        why = f"ends before sequence {entry['seq']}; the file and {PACK_INDEX} do not match: copy both again."
        raise WrongShape(path, why, field="joints")
    valid = arrays["hand_valid"][frames]
    cut = {
        # Where there is no hand all numbers are zero, and the distance infinite.
        name: numbers(np.where(valid.reshape(-1, *[1] * (arrays[name].ndim - 1)), arrays[name][frames], 0), name,
            f"{path} ({entry['seq']})", shape=_FIELDS[name])
        for name in ("joints", "joint_obj_dist")
    }  # fmt: skip
    placed = {
        name: numbers(
            arrays[name][frames], name, f"{path} ({entry['seq']})", shape=(None, 3), low=-10, high=10
        )
        for name in ("obj_rotvec", "obj_trans")
    }
    check_scale(cut["joints"][valid], file=f"{path} ({entry['seq']})", field="joints")
    start, text = phase_texts(
        entry["length"], entry["object"], first_contact=entry["first_contact"], first_lift=entry["first_lift"]
    )
    subject = f"subject-{entry['subject']:02d}"
    whole = Recording(
        name=entry["seq"],
        person=subject,
        side=entry["side"],
        fps=FPS,
        object=entry["object"],
        subject=subject,
        text_start=start,
        text=text,
        joints_m=cut["joints"],
        bodies=(
            Body(
                mesh=entry["object"],
                rotation=Rotation.from_rotvec(placed["obj_rotvec"]).as_matrix(),
                translation_m=placed["obj_trans"],
            ),
        ),
        joint_distance_m=cut["joint_obj_dist"],
    )
    whole = hand_run(whole, valid)
    _check_distances(whole, mesh, f"{path} ({entry['seq']})")
    return whole


def _check_distances(recording: Recording, mesh: Mesh, file: str) -> None:
    """Joints, object pose, mesh and the stored distances must tell one story: a wrong unit in one of them does not."""
    rows = np.linspace(0, len(recording) - 1, min(len(recording), _CHECKED_FRAMES)).astype(int)
    stored_m = recording.joint_distance_m
    if stored_m is None or not len(recording):
        return
    (body,) = recording.bodies
    local = np.einsum(
        "tij,tki->tkj", body.rotation[rows], recording.joints_m[rows] - body.translation_m[rows, None]
    )
    off_m = np.median(np.abs(unsigned_distance_m(local.reshape(-1, 3), mesh) - stored_m[rows].ravel()))
    if not off_m < _DISTANCE_TOLERANCE_M:
        why = (
            f"is {1000 * off_m:.0f} mm from what joints, obj_rotvec, obj_trans and the mesh give; one of them is in "
            "another unit or belongs to another recording: copy the files again."
        )
        raise WrongValue(file, why, field="joint_obj_dist")


def _pack_index(path: Path) -> list[dict[str, Any]]:
    whole = {"subject", "start", "length", "first_contact", "first_lift"}
    fields = {"seq", "side", "object", *whole}
    try:
        index = json.loads(path.read_text())
    except (ValueError, OSError) as error:
        raise DamagedFile(path, f"not JSON ({error}); copy the file again.") from error
    if not isinstance(index, list) or not index or not all(isinstance(entry, dict) for entry in index):
        raise WrongType(path, "not a list of sequences; copy the file again.")
    for entry in index:
        for field in sorted(fields):
            if field not in entry:
                raise MissingField(
                    path, f"missing in {entry.get('seq', 'a sequence')}; copy the file again.", field=field
                )
            if not isinstance(entry[field], int if field in whole else str):
                raise WrongType(
                    path, f"is {entry[field]!r} in {entry['seq']}; copy the file again.", field=field
                )
        if entry["side"] not in ("right", "left"):
            why = f"is {entry['side']!r} in {entry['seq']}, neither right nor left; copy the file again."
            raise WrongValue(path, why, field="side")
    return index


def _pack_arrays(path: Path) -> dict[str, np.ndarray]:
    arrays = npz_arrays(path, list(_FIELDS))
    for name, shape in _FIELDS.items():
        if arrays[name].ndim != len(shape) or arrays[name].shape[1:] != shape[1:]:
            raise WrongShape(path, f"has shape {arrays[name].shape}; copy the file again.", field=name)
        if arrays[name].dtype.kind != ("b" if name == "hand_valid" else "f"):
            raise WrongType(path, f"is {arrays[name].dtype}; copy the file again.", field=name)
    frames = Counter(map(len, arrays.values())).most_common(1)[0][0]
    for name, values in arrays.items():
        if len(values) != frames:
            raise WrongShape(
                path, f"has {len(values)} frames, others {frames}; copy the file again.", field=name
            )
    return arrays
