"""The objects of the procedural world: analytic signed distances, and surfaces sampled for rendering.

An object is a union of a few parts (rounded cylinders, boxes, cones, tori) in its own frame: metres, z up, the middle
of its base at the origin. The distance of a union is the least of its parts' (exact outside, a bound inside).
Formulas of the parts: Quilez, "Distance functions" (iquilezles.org/articles/distfunctions).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

SIZES = {"small": 0.8, "medium": 1.0, "large": 1.22}
SURFACE_STEPS = 3  # projections of a sample onto a part's rounded surface; two already suffice for a ball


@dataclass(frozen=True, kw_only=True)
class Part:
    """One convex part or ring of N objects of a category; every size is (N,) metres."""

    kind: str  # "cylinder" | "box" | "cone" | "torus"
    size_m: tuple[
        Tensor, ...
    ]  # cylinder r, half, round; box hx, hy, hz, round; cone r0, r1, half; torus R, r
    centre_m: tuple[Tensor, Tensor, Tensor]
    axis: int = 2  # along which of the object's axes the part's own z lies
    tone: int = 0  # 0 the object's colour, 1 its accent
    share: float = 1.0  # of the category's surface samples, relative to its other parts

    def local(self, points_NP3: Tensor) -> Tensor:
        """Points of the object's frame in the part's frame."""
        moved = points_NP3 - torch.stack(self.centre_m, dim=-1)[:, None]
        return moved.roll(2 - self.axis, dims=-1)

    def world(self, points_NP3: Tensor) -> Tensor:
        """Inverse of `local`."""
        return points_NP3.roll(self.axis - 2, dims=-1) + torch.stack(self.centre_m, dim=-1)[:, None]


def _box_distance(offset: Tensor) -> Tensor:
    """Signed distance to a box from |p| - half extents, over the last axis."""
    return offset.clamp(min=0).norm(dim=-1) + offset.amax(dim=-1).clamp(max=0)


def part_distance_m(part: Part, local_NP3: Tensor) -> Tensor:
    """Signed distance (N, P) metres of points in the part's own frame."""
    size = [s[:, None] for s in part.size_m]
    radial, z = local_NP3[..., :2].norm(dim=-1), local_NP3[..., 2]
    if part.kind == "cylinder":
        radius, half, edge = size
        return _box_distance(torch.stack([radial - radius + edge, z.abs() - half + edge], dim=-1)) - edge
    if part.kind == "box":
        half_3, edge = torch.stack(size[:3], dim=-1), size[3]
        return _box_distance(local_NP3.abs() - half_3 + edge[..., None]) - edge
    if part.kind == "torus":
        ring, tube = size
        return torch.hypot(radial - ring, z) - tube
    low, high, half = size
    cap = radial - torch.where(z < 0, low, high).minimum(radial)
    cap_z = z.abs() - half
    slope, rise = high - low, 2 * half
    along = (((high - radial) * slope + (half - z) * rise) / (slope**2 + rise**2)).clamp(0, 1)
    side, side_z = radial - high + slope * along, z - half + rise * along
    inside = (side < 0) & (cap_z < 0)
    return (
        torch.where(inside, -1.0, 1.0)
        * (cap**2 + cap_z**2).minimum(side**2 + side_z**2).clamp(min=1e-14).sqrt()
    )


def signed_distance_m(parts: list[Part], points_NP3: Tensor) -> Tensor:
    """Signed distance (N, P) metres of points in their objects' frames, negative inside."""
    return torch.stack([part_distance_m(part, part.local(points_NP3)) for part in parts]).amin(0)


def _lattice(count: int) -> Tensor:
    """(count, 2) points spread evenly over the unit square (Roberts' R2 sequence)."""
    step = torch.tensor([0.7548776662466927, 0.5698402909980532], dtype=torch.float64)
    return (0.5 + step * torch.arange(1, count + 1, dtype=torch.float64)[:, None]) % 1.0


def _part_surface(part: Part, count: int) -> tuple[Tensor, Tensor]:
    """Points and outward normals (N, count, 3) of the part in its own frame."""
    size = [s[:, None].double() for s in part.size_m]
    u, v = _lattice(count).unbind(-1)
    if part.kind == "box":
        face = (u * 6).floor()
        axis, side = (face % 3).long(), torch.where(face < 3, -1.0, 1.0).double()
        spread = torch.stack([(u * 6) % 1 * 2 - 1, v * 2 - 1, side], dim=-1)
        unit = torch.stack([spread[:, [2, 0, 1]], spread[:, [1, 2, 0]], spread], dim=0)
        points = unit[axis, torch.arange(count)] * torch.stack(size[:3], dim=-1)
    elif part.kind == "torus":
        ring, tube = size
        a, b = u * 2 * torch.pi, v * 2 * torch.pi
        radial = ring + tube * b.cos()
        points = torch.stack([radial * a.cos(), radial * a.sin(), tube * b.sin()], dim=-1)
    else:
        low, high = (size[0], size[0]) if part.kind == "cylinder" else (size[0], size[1])
        half = size[1] if part.kind == "cylinder" else size[2]
        # Walls and both ends as one strip, unrolled: the end's share follows its area.
        strip = v * (low + high + 2 * half)
        z = (strip - low).clamp(min=0).minimum(2 * half) - half
        on_low, on_high = strip < low, strip > low + 2 * half
        radial = low + (high - low) * (z + half) / (2 * half)
        radial = torch.where(on_low, low * (strip / low).clamp(0, 1).sqrt(), radial)
        left = ((low + high + 2 * half - strip) / high).clamp(0, 1)
        radial = torch.where(on_high, high * left.sqrt(), radial)
        a = u * 2 * torch.pi
        points = torch.stack([radial * a.cos(), radial * a.sin(), z], dim=-1)
    # Onto the rounded surface along the distance's own gradient, which ends as the normal. From a little outside, for
    # on the surface itself a cone's distance (a root) has no gradient: there the last normal is kept.
    points, normal = points * 1.02, torch.zeros_like(points)
    for _ in range(SURFACE_STEPS):
        with torch.enable_grad():
            points = points.detach().requires_grad_(True)
            distance = part_distance_m(part, points)
            (slope,) = torch.autograd.grad(distance.sum(), points)
        length = slope.norm(dim=-1, keepdim=True)
        normal = torch.where(length > 0.5, slope / length.clamp(min=0.5), normal)
        points = points.detach() - distance.detach()[..., None] * normal
    return points, normal


def surface(parts: list[Part], count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Samples of the objects' surfaces: points (N, P, 3) metres, normals (N, P, 3), tones (P,); P is about count."""
    total = sum(part.share for part in parts)
    points, normals, tones = [], [], []
    for part in parts:
        p, n = _part_surface(part, int(count * part.share / total))
        points.append(part.world(p).float())
        normals.append(n.roll(part.axis - 2, dims=-1).float())
        tones.append(torch.full((p.shape[1],), part.tone))
    return torch.cat(points, dim=1), torch.cat(normals, dim=1), torch.cat(tones)


def _upright(kind: str, base_m: Tensor, *size_m: Tensor, tone: int = 0, share: float = 1.0) -> Part:
    """A part standing with its foot at height base_m; its half height is the third but last or last size."""
    half = size_m[1] if kind == "cylinder" else size_m[2]
    zero = torch.zeros_like(base_m)
    return Part(kind=kind, size_m=size_m, centre_m=(zero, zero, base_m + half), tone=tone, share=share)


def _ball(s: Tensor) -> list[Part]:
    return [_upright("cylinder", 0 * s, 0.034 * s, 0.034 * s, 0.034 * s)]


def _box(s: Tensor) -> list[Part]:
    return [_upright("box", 0 * s, 0.027 * s, 0.034 * s, 0.055 * s, 0.003 * s)]


def _can(s: Tensor) -> list[Part]:
    return [_upright("cylinder", 0 * s, 0.033 * s, 0.058 * s, 0.003 * s)]


def _mug(s: Tensor) -> list[Part]:
    handle = Part(
        kind="torus",
        size_m=(0.024 * s, 0.0055 * s),
        centre_m=(-0.040 * s, 0 * s, 0.045 * s),
        axis=1,
        tone=1,
        share=0.3,
    )
    return [_upright("cylinder", 0 * s, 0.040 * s, 0.045 * s, 0.004 * s), handle]


def _lid(s: Tensor) -> list[Part]:
    plate = _upright("cylinder", 0 * s, 0.060 * s, 0.009 * s, 0.004 * s)
    return [plate, _upright("cylinder", 0.016 * s, 0.016 * s, 0.020 * s, 0.006 * s, tone=1, share=0.5)]


def _button(s: Tensor) -> list[Part]:
    base = _upright("box", 0 * s, 0.045 * s, 0.045 * s, 0.012 * s, 0.003 * s)
    return [base, _upright("cylinder", 0.022 * s, 0.022 * s, 0.010 * s, 0.003 * s, tone=1, share=0.5)]


def _bottle(s: Tensor) -> list[Part]:
    body = _upright("cylinder", 0 * s, 0.032 * s, 0.065 * s, 0.006 * s)
    shoulder = _upright("cone", 0.124 * s, 0.030 * s, 0.012 * s, 0.020 * s, share=0.3)
    return [
        body,
        shoulder,
        _upright("cylinder", 0.160 * s, 0.013 * s, 0.014 * s, 0.002 * s, tone=1, share=0.3),
    ]


def _marker(s: Tensor) -> list[Part]:
    barrel, cap = 0.010 * s, 0.011 * s
    return [
        Part(kind="cylinder", size_m=(barrel, 0.065 * s, barrel), centre_m=(0 * s, 0 * s, cap), axis=0),
        Part(
            kind="cylinder", size_m=(cap, 0.022 * s, 0.003 * s), centre_m=(-0.045 * s, 0 * s, cap), axis=0, tone=1,
            share=0.5,
        ),
    ]  # fmt: skip


def _bowl(s: Tensor) -> list[Part]:
    body = _upright("cone", 0 * s, 0.032 * s, 0.062 * s, 0.026 * s)
    return [body, _upright("cylinder", 0.050 * s, 0.055 * s, 0.002 * s, 0.001 * s, tone=1, share=0.5)]


def _book(s: Tensor) -> list[Part]:
    cover = _upright("box", 0 * s, 0.062 * s, 0.085 * s, 0.012 * s, 0.002 * s)
    return [cover, _upright("box", 0.001 * s, 0.063 * s, 0.083 * s, 0.009 * s, 0.001 * s, tone=1, share=0.5)]


def _knob(s: Tensor) -> list[Part]:
    plate = _upright("cylinder", 0 * s, 0.042 * s, 0.006 * s, 0.002 * s, tone=1, share=0.7)
    return [plate, _upright("cylinder", 0.010 * s, 0.024 * s, 0.020 * s, 0.005 * s)]


def _sponge(s: Tensor) -> list[Part]:
    foam = _upright("box", 0 * s, 0.045 * s, 0.032 * s, 0.016 * s, 0.005 * s)
    return [foam, _upright("box", 0.032 * s, 0.045 * s, 0.032 * s, 0.004 * s, 0.002 * s, tone=1, share=0.6)]


# Each maps sizes (N,), 1 = medium, to parts; widths, heights and the graspable part scale together.
CATEGORIES: dict[str, Callable[[Tensor], list[Part]]] = {
    "ball": _ball, "box": _box, "can": _can, "mug": _mug, "lid": _lid, "button": _button,
    "bottle": _bottle, "marker": _marker, "bowl": _bowl, "book": _book, "knob": _knob, "sponge": _sponge,
}  # fmt: skip

# Height of the top, and half width across and along, of a medium object: where a hand aims before it touches.
TOP_M = {
    "ball": 0.068, "box": 0.110, "can": 0.116, "mug": 0.090, "lid": 0.056, "button": 0.042,
    "bottle": 0.188, "marker": 0.022, "bowl": 0.054, "book": 0.024, "knob": 0.050, "sponge": 0.040,
}  # fmt: skip
# What thumb and fingers span of a medium object when they hold it from above.
SPAN_M = {
    "ball": 0.066,
    "marker": 0.020,
    "sponge": 0.062,
    "lid": 0.032,
    "knob": 0.048,
    "can": 0.066,
    "box": 0.060,
}
OBJECTS = tuple(f"{size} {name}" for name in CATEGORIES for size in SIZES)
