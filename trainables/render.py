"""Small pictures of the procedural world: surface samples through a depth buffer, on a table, with shading and shadows.

Everything is sampled densely enough that a pixel of the usual view is hit more than once; at 64 x 64 that is faster than
filling triangles, and it batches over pictures without a loop. Suffixes: I pictures, P samples, H x W pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

IMAGE_SIZE = 64
FOCAL_PX = 62.0  # of a 64 pixel picture: 55 degrees of view
_DEPTH_STEPS = 20_000.0  # 0.05 mm
_INDEX_BITS = 20
_HOLE_DEPTH = int(0.02 * _DEPTH_STEPS) << _INDEX_BITS  # metres behind its neighbours
_SQUARE_M = 0.10  # of the table's pattern, which shows its height and slope
_FAR_EDGE_M = 0.62


@dataclass(frozen=True, kw_only=True)
class View:
    """Cameras (world to camera: x_cam = rot x + transl, OpenCV axes), light and surroundings of I pictures."""

    rot_I33: Tensor
    transl_I3: Tensor
    light_I3: Tensor  # unit vector towards the light, world axes
    table_colour_I3: Tensor  # 0..1
    wall_colour_I3: Tensor

    def __getitem__(self, rows: slice | Tensor) -> View:
        return View(
            rot_I33=self.rot_I33[rows],
            transl_I3=self.transl_I3[rows],
            light_I3=self.light_I3[rows],
            table_colour_I3=self.table_colour_I3[rows],
            wall_colour_I3=self.wall_colour_I3[rows],
        )


def mesh_samples(vertices_IV3: Tensor, faces_F3: Tensor, per_face: int) -> tuple[Tensor, Tensor]:
    """Points and outward normals (I, F * per_face, 3) on triangles, at the same places of every mesh."""
    corners = vertices_IV3[:, faces_F3]  # I, F, 3, 3
    first, along, across = (
        corners[:, :, 0],
        corners[:, :, 1] - corners[:, :, 0],
        corners[:, :, 2] - corners[:, :, 0],
    )
    normal = torch.nn.functional.normalize(torch.linalg.cross(along, across), dim=-1)
    step = torch.arange(per_face, dtype=along.dtype)
    u, v = (0.5 + 0.7548776662 * step) % 1, (0.5 + 0.5698402910 * step) % 1
    fold = u + v > 1
    u, v = torch.where(fold, 1 - u, u), torch.where(fold, 1 - v, v)
    points = first[:, :, None] + u[:, None] * along[:, :, None] + v[:, None] * across[:, :, None]
    normals = normal[:, :, None].expand_as(points)
    return points.flatten(1, 2), normals.flatten(1, 2)


def _pixels(camera_IP3: Tensor, size: int, focal_px: float) -> tuple[Tensor, Tensor]:
    """Flat pixel index (I, P) of points in camera axes, and whether they are in the picture."""
    z = camera_IP3[..., 2].clamp(min=1e-3)
    column = (camera_IP3[..., 0] * (focal_px / z) + size / 2).floor().long()
    row = (camera_IP3[..., 1] * (focal_px / z) + size / 2).floor().long()
    seen = (column >= 0) & (column < size) & (row >= 0) & (row < size) & (camera_IP3[..., 2] > 0.02)
    return torch.where(seen, row * size + column, 0), seen


def _without_holes(key_IHW: Tensor) -> Tensor:
    """A pixel between two nearer ones, in its row or its column, has slipped between samples: it takes after them."""
    beside = (
        key_IHW.roll(1, 2)
        .maximum(key_IHW.roll(-1, 2))
        .minimum(key_IHW.roll(1, 1).maximum(key_IHW.roll(-1, 1)))
    )
    return torch.where(beside + _HOLE_DEPTH < key_IHW, beside, key_IHW)


def render(
    points_IP3: Tensor,
    normals_IP3: Tensor,
    colours_IP3: Tensor,
    view: View,
    *,
    size: int = IMAGE_SIZE,
) -> Tensor:
    """Pictures (I, size, size, 3) uint8 of samples in world axes (z up, table at z = 0), colours 0..1."""
    count, samples = points_IP3.shape[:2]
    focal_px = FOCAL_PX * size / IMAGE_SIZE
    camera = points_IP3 @ view.rot_I33.mT + view.transl_I3[:, None]
    pixel, seen = _pixels(camera, size, focal_px)
    # The nearest sample of a pixel: least key, depth in the high bits and the sample's number in the low ones.
    key = (camera[..., 2] * _DEPTH_STEPS).long() << _INDEX_BITS | torch.arange(samples)
    nothing = 1 << 62
    best = torch.full((count, size * size), nothing)
    best.scatter_reduce_(1, pixel, torch.where(seen, key, nothing), "amin")
    best = _without_holes(best.view(count, size, size)).view(count, -1)
    hit = best < nothing
    nearest = torch.where(hit, best & ((1 << _INDEX_BITS) - 1), 0)[..., None].expand(-1, -1, 3)
    depth = torch.where(hit, (best >> _INDEX_BITS) / _DEPTH_STEPS, torch.inf)

    # Where each pixel's ray meets the table.
    line = (torch.arange(size) + 0.5 - size / 2) / focal_px
    ray = torch.stack(
        [line.expand(size, size), line[:, None].expand(size, size), torch.ones(size, size)], dim=-1
    )
    ray = ray.view(-1, 3) @ view.rot_I33  # to world axes: rot is orthonormal, rows are the camera's axes
    eye = -(view.transl_I3[:, None] @ view.rot_I33)
    table_depth = -eye[..., 2] / torch.where(ray[..., 2] < -1e-4, ray[..., 2], -1e-4)
    place = eye + table_depth[..., None] * ray
    on_table = place[..., 1] < _FAR_EDGE_M
    square = ((place[..., :2] / _SQUARE_M).floor().sum(-1) % 2)[..., None]
    table = view.table_colour_I3[:, None] * (0.92 + 0.08 * square)

    light = view.light_I3[:, None]
    above = points_IP3[..., 2:].clamp(min=0)
    fallen = points_IP3 - light / light[..., 2:] * above
    shadow_pixel, shadow_seen = _pixels(fallen @ view.rot_I33.mT + view.transl_I3[:, None], size, focal_px)
    shadow = torch.zeros(count, size * size, dtype=torch.long)
    shadow.scatter_reduce_(1, shadow_pixel, shadow_seen.long(), "amax")
    table = table * torch.where(shadow > 0, 0.6, 1.0)[..., None]
    ground = torch.where(on_table[..., None], table, view.wall_colour_I3[:, None])

    normal = normals_IP3.gather(1, nearest)
    lit = 0.45 + 0.55 * (normal * light).sum(-1, keepdim=True).clamp(min=0)
    front = hit & ((depth < table_depth + 0.004) | ~on_table)
    picture = torch.where(front[..., None], colours_IP3.gather(1, nearest) * lit, ground)
    return (picture.clamp(0, 1) * 255).round().to(torch.uint8).view(count, size, size, 3)
