"""Pictures of a mesh in the camera's axes: triangles through a depth buffer, smoothly shaded, on nothing (alpha 0).

Small pictures of a hand, a few milliseconds each, without a graphics library. The view is a square of the plane at
z = 1, since clips do not know their camera's focal length.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[np.float32]

# Towards the light, in the camera's axes (y is down, z away from the eye): from above, the left and behind the eye.
_LIGHT = np.array([-0.45, -0.65, -0.62], dtype=np.float32)
_NEAREST_M = 0.02
_OVERSAMPLING = 2  # samples a pixel and axis, against jagged edges
_MOST_SAMPLES = 4_000_000  # of a picture; a triangle that passes the eye could fill memory


@dataclass(frozen=True)
class Square:
    """What is in the picture: the square of this centre and half width in the plane z = 1."""

    x: float
    y: float
    half: float

    def pixels(self, points_m: NDArray[np.floating], size: int) -> Array:
        """Pixel positions (..., 2) of points (..., 3) in a picture of `size` pixels."""
        z = np.maximum(points_m[..., 2:], _NEAREST_M)
        centre = np.array([self.x, self.y])
        return ((points_m[..., :2] / z - centre) * (0.5 * size / self.half) + 0.5 * size).astype(np.float32)


def square_around(points_m: NDArray[np.floating], *, margin: float = 1.12) -> Square:
    """The least square that shows all points (..., 3) before the eye, with a margin."""
    points = points_m.reshape(-1, 3)
    points = points[np.isfinite(points).all(1) & (points[:, 2] > _NEAREST_M)]
    if not len(points):
        return Square(0.0, 0.0, 0.5)
    flat = points[:, :2] / points[:, 2:]
    low, high = flat.min(0), flat.max(0)
    (x, y), half = (low + high) / 2, margin * float((high - low).max()) / 2
    return Square(float(x), float(y), max(half, 1e-3))


def draw_mesh(
    vertices_V3: NDArray[np.floating],
    faces_F3: NDArray[np.integer],
    colours_V3: Array,
    view: Square,
    size: int,
    *,
    closed: bool = False,
) -> NDArray[np.uint8]:
    """RGBA (size, size, 4) of a mesh: vertices in metres in the camera's axes, colours of vertices 0..1.

    closed: the faces enclose a volume (`is_closed`), so that those turned away are hidden and need no work.
    """
    side = size * _OVERSAMPLING
    vertices = np.asarray(vertices_V3, dtype=np.float32)
    corners = view.pixels(vertices, side)[faces_F3]  # F, 3, 2
    drawn = (vertices[:, 2][faces_F3] > _NEAREST_M).all(1)
    if closed:
        a, b, c = (vertices[faces_F3[:, i]] for i in range(3))
        drawn &= (np.cross(b - a, c - a) * a).sum(1) < 0
    face, weights, pixel = _samples(corners, drawn, side)
    nearness = np.einsum("nk,nk->n", weights, 1 / np.maximum(vertices[:, 2], _NEAREST_M)[faces_F3][face])
    # Of several assignments to one place the last one stays: the nearest.
    order = np.argsort(nearness, kind="stable")
    winner = np.full(side * side, -1)
    winner[pixel[order]] = order
    hit = np.flatnonzero(winner >= 0)
    shown = winner[hit]
    corner, share = faces_F3[face[shown]], weights[shown]
    normal = np.einsum("nkc,nk->nc", _normals(vertices, faces_F3)[corner], share)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    lit = 0.42 + 0.58 * np.clip(normal @ _LIGHT, 0, 1)[:, None]
    picture = np.zeros((side * side, 4), dtype=np.float32)
    colour = np.einsum("nkc,nk->nc", np.asarray(colours_V3, dtype=np.float32)[corner], share)
    picture[hit, :3] = np.clip(colour * lit, 0, 1)
    picture[hit, 3] = 1
    return _halved(picture.reshape(size, _OVERSAMPLING, size, _OVERSAMPLING, 4))


def is_closed(faces_F3: NDArray[np.integer]) -> bool:
    """Whether every edge has a face on both sides, turned the same way round."""
    edges = np.concatenate([faces_F3[:, [0, 1]], faces_F3[:, [1, 2]], faces_F3[:, [2, 0]]])
    there = set(map(tuple, edges.tolist()))
    return len(there) == len(edges) and all((b, a) in there for a, b in there)


def webp(image: NDArray[np.uint8], quality: int = 80) -> bytes:
    """WebP bytes of an RGB or RGBA picture."""
    import io

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="WEBP", quality=quality, method=4)
    return buffer.getvalue()


def _samples(
    corners_F32: Array, drawn_F: NDArray[np.bool_], side: int
) -> tuple[NDArray[np.int64], Array, NDArray[np.int64]]:
    """Face (N,), barycentric weights (N, 3) and flat pixel (N,) of every sample inside a triangle."""
    low = np.clip(np.floor(corners_F32.min(1)), 0, side).astype(np.int64)
    high = np.clip(np.ceil(corners_F32.max(1)), 0, side).astype(np.int64)
    extent = np.maximum(high - low, 0) * drawn_F[:, None]
    area = extent.prod(1)
    if area.sum() > _MOST_SAMPLES:
        area = np.where(np.cumsum(area) > _MOST_SAMPLES, 0, area)
    # Weights are linear over a triangle: w = px x + py y + p0, with x and y counted from its box's corner.
    a, b, c = (corners_F32[:, i] - low for i in range(3))
    ab, ac = b - a, c - a
    double = ab[:, 0] * ac[:, 1] - ab[:, 1] * ac[:, 0]
    double = np.where(np.abs(double) < 1e-12, np.nan, double)  # no area: never inside
    second_F = np.stack([ac[:, 1], -ac[:, 0], a[:, 1] * ac[:, 0] - a[:, 0] * ac[:, 1]], 1) / double[:, None]
    third_F = np.stack([-ab[:, 1], ab[:, 0], a[:, 0] * ab[:, 1] - a[:, 1] * ab[:, 0]], 1) / double[:, None]
    face = np.repeat(np.arange(len(area)), area)
    step = np.arange(len(face)) - np.repeat(np.cumsum(area) - area, area)
    row, column = np.divmod(step, np.repeat(np.maximum(extent[:, 0], 1), area))
    x, y = column + np.float32(0.5), row + np.float32(0.5)
    plane = np.concatenate([second_F, third_F], 1).astype(np.float32)[face]
    second = plane[:, 0] * x + plane[:, 1] * y + plane[:, 2]
    third = plane[:, 3] * x + plane[:, 4] * y + plane[:, 5]
    inside = np.flatnonzero((second >= -1e-6) & (third >= -1e-6) & (second + third <= 1 + 1e-6))
    second, third = second[inside], third[inside]
    weights = np.stack([1 - second - third, second, third], 1).astype(np.float32)
    face = face[inside]
    return face, weights, (row[inside] + low[face, 1]) * side + column[inside] + low[face, 0]


def _normals(vertices_V3: Array, faces_F3: NDArray[np.integer]) -> Array:
    """Vertex normals (V, 3), not of unit length: sums over the faces, weighted by area."""
    a, b, c = (vertices_V3[faces_F3[:, i]] for i in range(3))
    normal = np.cross(b - a, c - a)
    total = np.zeros_like(vertices_V3)
    for i in range(3):
        np.add.at(total, faces_F3[:, i], normal)
    return total


def _halved(blocks: Array) -> NDArray[np.uint8]:
    """Mean over the samples of each pixel; colour is that of what was hit, alpha its share."""
    total = blocks.sum((1, 3))
    count = total[..., 3:]
    colour = total[..., :3] / np.maximum(count, 1)
    alpha = count / (blocks.shape[1] * blocks.shape[3])
    return (np.concatenate([colour, alpha], -1) * 255).round().astype(np.uint8)
