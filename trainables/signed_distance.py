"""Signed distance of points to a triangle mesh, and the contact map that follows from it.

Distances are exact (libigl's bounding-volume tree), not sampled on a grid: a contact map needs only the points
inside the mesh's bounding box grown by the contact radius, a small share of all, and of those only the ones that
lie deeper than the radius need a sign.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from trainables.obj_file import read_obj
from trainables.ply_file import read_ply
from trainables.source_errors import DamagedFile, MissingFile

MIRROR_X = np.diag([-1.0, 1.0, 1.0])


@dataclass(frozen=True, kw_only=True)
class Mesh:
    """A triangle mesh in metres in its object's own frame, faces wound so that normals point outwards."""

    vertices_m: np.ndarray  # (V, 3) float64
    faces: np.ndarray  # (F, 3) int64

    @cached_property
    def mirrored(self) -> Mesh:
        """The mesh under x -> -x; the winding is turned so that normals still point outwards."""
        return Mesh(
            vertices_m=np.ascontiguousarray(self.vertices_m @ MIRROR_X),
            faces=np.ascontiguousarray(self.faces[:, ::-1]),
        )


def read_mesh(path: str | Path) -> Mesh:
    """Read a PLY, OBJ, OFF or STL triangle mesh (metres). Raises MissingFile or DamagedFile."""
    import igl

    path = Path(path)
    if not path.is_file():
        raise MissingFile(path, "mesh file is missing; restore it from the data set's distribution.")
    try:
        if path.suffix.lower() == ".ply":
            vertices, faces = read_ply(path.read_bytes())
        elif path.suffix.lower() == ".obj":
            vertices, faces = read_obj(path.read_bytes())
        else:
            vertices, faces = igl.read_triangle_mesh(str(path))[:2]
    except (RuntimeError, ValueError, MemoryError) as error:
        raise DamagedFile(path, f"not a readable triangle mesh ({error}); fetch the file again.") from error
    if len(vertices) == 0 or len(faces) == 0 or np.shape(faces)[1] != 3 or not np.isfinite(vertices).all():
        raise DamagedFile(path, "no triangles or no finite vertices in this mesh; fetch the file again.")
    if np.min(faces) < 0 or np.max(faces) >= len(vertices):  # libigl would read outside of its arrays
        raise DamagedFile(path, "a triangle names a vertex that is not in this mesh; fetch the file again.")
    return Mesh(
        vertices_m=np.ascontiguousarray(vertices, dtype=np.float64),
        faces=np.ascontiguousarray(faces, dtype=np.int64),
    )


def unsigned_distance_m(points_m: np.ndarray, mesh: Mesh) -> np.ndarray:
    """Distance of points (N, 3) in the mesh's frame to its surface, (N,) metres, never negative."""
    import igl

    points = np.ascontiguousarray(points_m, dtype=np.float64)
    squared = igl.point_mesh_squared_distance(points, mesh.vertices_m, mesh.faces)[0]
    return np.sqrt(np.asarray(squared)).reshape(-1)


def signed_distance_m(points_m: np.ndarray, mesh: Mesh) -> np.ndarray:
    """Signed distance of points (N, 3) in the mesh's frame, (N,) metres, negative inside.

    Inside = winding number above one half (Jacobson et al. 2013, the fast form of Barill et al. 2018), which
    also holds on meshes with small holes.
    """
    distance = unsigned_distance_m(points_m, mesh)
    return np.where(_inside(points_m, mesh), -distance, distance)


def contact_map(
    points_m: np.ndarray, rotation: np.ndarray, translation_m: np.ndarray, mesh: Mesh, radius_m: float
) -> np.ndarray:
    """Which points are nearer to the posed mesh than `radius_m`, or inside it.

    points_m (T, V, 3): camera frame. rotation (T, 3, 3), translation_m (T, 3): object to camera, per frame.
    Returns (T, V) bool: signed distance < radius_m.
    """
    local = np.einsum("tij,tvi->tvj", rotation, points_m - translation_m[:, None], optimize=True)
    low, high = mesh.vertices_m.min(0), mesh.vertices_m.max(0)
    near = ((local > low - radius_m) & (local < high + radius_m)).all(-1)
    candidates = local[near]
    touching = np.zeros(len(candidates), dtype=bool)
    if len(candidates):
        touching = unsigned_distance_m(candidates, mesh) < radius_m
        deep = np.flatnonzero(~touching & ((candidates > low) & (candidates < high)).all(-1))
        if len(deep):
            touching[deep] = _inside(candidates[deep], mesh)
    contact = np.zeros(near.shape, dtype=bool)
    contact[near] = touching
    return contact


def _inside(points_m: np.ndarray, mesh: Mesh) -> np.ndarray:
    import igl

    points = np.ascontiguousarray(points_m, dtype=np.float64)
    return np.asarray(igl.fast_winding_number(mesh.vertices_m, mesh.faces, points)).reshape(-1) > 0.5
