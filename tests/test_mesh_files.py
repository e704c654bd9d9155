"""Mesh files: what is whole is read as libigl reads it, and no damage crashes the process or goes unsaid."""

from __future__ import annotations

from pathlib import Path

import igl
import numpy as np
import pytest

from tests.foreign.fpha import write_ply
from tests.foreign.ho3d import write_obj
from tests.foreign.real_motion import real_recordings
from trainables.obj_file import ObjError, read_obj
from trainables.ply_file import PlyError, read_ply
from trainables.signed_distance import Mesh, read_mesh
from trainables.source_errors import DamagedFile

SMALL = Mesh(
    vertices_m=np.random.default_rng(0).normal(size=(30, 3)).astype(np.float32).astype(np.float64),
    faces=np.random.default_rng(1).integers(0, 30, (20, 3)),
)


def _binary(order: str) -> bytes:
    """With a colour at the vertices and a second list at the faces, as scanners write."""
    name = "little" if order == "<" else "big"
    head = f"""ply
format binary_{name}_endian 1.0
comment made here
element vertex 30
property float x
property float y
property float z
property uchar red
element face 20
property list uchar int vertex_indices
property list uchar float texcoord
end_header
"""
    vertices = np.zeros(30, [("xyz", order + "f4", 3), ("red", "u1")])
    vertices["xyz"] = SMALL.vertices_m
    faces = np.zeros(
        20, [("n", "u1"), ("corners", order + "i4", 3), ("m", "u1"), ("texcoord", order + "f4", 6)]
    )
    faces["n"], faces["m"], faces["corners"] = 3, 6, SMALL.faces
    return head.encode() + vertices.tobytes() + faces.tobytes()


def _ascii(tmp_path: Path) -> bytes:
    write_ply(tmp_path / "ascii.ply", SMALL)
    return (tmp_path / "ascii.ply").read_bytes()


@pytest.mark.parametrize("layout", ["ascii", "<", ">"])
def test_ply_files_are_read_whole_or_refused(layout: str, tmp_path: Path) -> None:
    whole = _ascii(tmp_path) if layout == "ascii" else _binary(layout)
    vertices, faces = read_ply(whole)
    np.testing.assert_allclose(vertices, SMALL.vertices_m, rtol=1e-8)
    np.testing.assert_array_equal(faces, SMALL.faces)
    # The last line break, and digits before it, may be missing from text without a sign of it.
    spare = 3 if layout == "ascii" else 0
    for length in range(len(whole) - spare):
        with pytest.raises(PlyError):
            read_ply(whole[:length])


def test_obj_files_are_read_as_libigl_reads_them(tmp_path: Path) -> None:
    for name, mesh in real_recordings()[1].items():
        for suffix, write in ((".ply", write_ply), (".obj", write_obj)):
            path = tmp_path / f"{name}{suffix}"
            write(path, mesh)
            expected = igl.read_triangle_mesh(str(path))
            read = read_mesh(path)
            np.testing.assert_array_equal(read.faces, expected[1])
            np.testing.assert_allclose(read.vertices_m, expected[0], rtol=1e-7, atol=1e-12)
    square = b"v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nvn 0 0 1\nf 1//1 2//1 3//1 4//1\nf -4 -3 -2\n"
    assert read_obj(square)[1].tolist() == [[0, 1, 2], [0, 2, 3], [0, 1, 2]]


def test_bit_flips_neither_crash_nor_leave_indices_outside(tmp_path: Path) -> None:
    write_obj(tmp_path / "whole.obj", SMALL)
    rng = np.random.default_rng(2)
    refused = 0
    for suffix, whole in ((".obj", (tmp_path / "whole.obj").read_bytes()), (".ply", _binary("<"))):
        for _ in range(400):
            damaged = bytearray(whole)
            damaged[rng.integers(len(damaged))] ^= 1 << rng.integers(8)
            (tmp_path / f"damaged{suffix}").write_bytes(bytes(damaged))
            try:
                mesh = read_mesh(tmp_path / f"damaged{suffix}")
            except DamagedFile:
                refused += 1
            else:
                assert 0 <= mesh.faces.min() and mesh.faces.max() < len(mesh.vertices_m)
                assert np.isfinite(mesh.vertices_m).all()
    assert refused > 50


@pytest.mark.parametrize(
    "text",
    [
        "", "v 0 0 0\n", "v 0 0\nf 1 1 1\n", "v 0 0 0\nf 1 1\n", "v 0 0 0\nf 1 x 1\n", "v 0 0 0\nf 0 1 1\n",
        "v 0 zero 0\nf 1 1 1\n", "v 0 0 0\nf -2 1 1\n",
    ],
)  # fmt: skip
def test_objs_that_are_none(text: str) -> None:
    with pytest.raises(ObjError):
        read_obj(text.encode())


def test_a_corner_that_is_not_there_is_damage(tmp_path: Path) -> None:
    (tmp_path / "a.obj").write_text("v 0 0 0\nv 1 0 0\nv 1 1 0\nf 1 2 4\n")
    with pytest.raises(DamagedFile, match="names a vertex that is not in this mesh"):
        read_mesh(tmp_path / "a.obj")
