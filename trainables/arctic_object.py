"""ARCTIC's articulated objects: two rigid parts that turn against each other about one axis.

    meta/object_vtemplates/<object>/mesh.obj    the whole object in its canonical space, millimetres
                                    parts.json  a number for each vertex of mesh.obj: 1 top, 0 bottom

The articulation, as ARCTIC's own common/object_tensors.py applies it: in the canonical space the top part's points are
turned by the articulation angle about the axis (0, 0, -1) through the origin; then both parts are turned by the global
axis-angle and shifted. Rotation and angle are radians; the shift is stored in millimetres (src/arctic/processing.py
divides it by 1000).

Here the parts are two bodies, each with its own pose. The one liberty: a triangle whose corners belong to both parts,
which the original stretches over the gap, moves with the part that has two of them.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from trainables.recording import Body
from trainables.signed_distance import Mesh, read_mesh
from trainables.source_errors import DamagedFile, WrongValue
from trainables.source_fields import numbers, read_bytes

PARTS = ("bottom", "top")  # in the order of parts.json's numbers
AXIS = np.array([0.0, 0.0, -1.0])
MM_PER_M = 1000.0
SIZE_RANGE_MM = (20.0, 3000.0)  # diagonal of a template's bounding box; ARCTIC's objects measure 10 to 50 cm


def read_parts(template: Path) -> dict[str, Mesh]:
    """The bottom and the top (metres) of the object whose template folder this is. Raises SourceError."""
    path = template / "mesh.obj"
    whole = read_mesh(path)
    size_mm = float(np.linalg.norm(np.ptp(whole.vertices_m, axis=0)))
    low, high = SIZE_RANGE_MM
    if not low <= size_mm <= high:
        hint = "this looks like metres" if low <= MM_PER_M * size_mm <= high else "this is no such object"
        raise WrongValue(
            path,
            f"is {size_mm:.4g} across where millimetres are expected; {hint}: fetch the file again.",
            field="v",
        )
    if whole.faces.min() < 0 or whole.faces.max() >= len(whole.vertices_m):
        raise DamagedFile(
            path, "a triangle names a vertex that is not there; fetch the file again.", field="f"
        )
    of_vertex = _labels(template / "parts.json", len(whole.vertices_m))
    of_face = of_vertex[whole.faces].sum(axis=1) >= 2
    meshes = {}
    for number, part in enumerate(PARTS):
        faces = whole.faces[of_face == bool(number)]
        if not len(faces):
            raise WrongValue(
                template / "parts.json", f"leaves the {part} part without a triangle; fetch it again."
            )
        used, renumbered = np.unique(faces, return_inverse=True)
        meshes[part] = Mesh(
            vertices_m=np.ascontiguousarray(whole.vertices_m[used] / MM_PER_M),
            faces=np.ascontiguousarray(renumbered.reshape(faces.shape).astype(np.int64)),
        )
    return meshes


def part_bodies(
    name: str,
    articulation: NDArray[np.float64],
    rotation: NDArray[np.float64],
    translation_m: NDArray[np.float64],
) -> tuple[Body, Body]:
    """The two parts, meshes named "<object>/bottom" and "<object>/top".

    articulation (T,): radians. rotation (T, 3, 3), translation_m (T, 3): of the whole object.
    """
    turn = Rotation.from_rotvec(articulation[:, None] * AXIS).as_matrix()
    bottom = Body(mesh=f"{name}/bottom", rotation=rotation, translation_m=translation_m)
    top = Body(mesh=f"{name}/top", rotation=rotation @ turn, translation_m=translation_m)
    return bottom, top


def _labels(path: Path, vertices: int) -> NDArray[np.int64]:
    try:
        content = json.loads(read_bytes(path))
    except (ValueError, RecursionError) as error:
        raise DamagedFile(path, f"is no JSON ({error}); fetch the file again.") from error
    labels = numbers(content, "parts", path, shape=(vertices,), low=0, high=1)
    return np.rint(labels).astype(np.int64)
