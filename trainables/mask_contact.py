"""Which vertices of a hand touch an object that is known as a mask alone, with the depth order respected.

A mask says where the object is *seen*. Where it is seen inside the hand's outline it is in front of the hand there;
where the two only border each other the hand hides the rest of it, or they are side by side. The rule, a frame:

* Region: pixels of the hand's outline and of the object's mask, both grown by BORDER_PX. Only vertices whose projection
  is nearer than NEAR_PX to the region can touch. (So far this is the rule of LatentAct's released data engine, with its
  figures, but for the outline: here the mesh is drawn, there its projected vertices are wrapped in a concave hull.)
* The hand's surface nearest to the camera (up to LAYER_M behind it) touches only what hides it: its vertices must be
  nearer than HIDDEN_PX to a pixel where the object is in front of the hand.
* All deeper vertices (far sides of fingers, fingers behind fingers, the palm of a hand seen from its back) touch only
  where the hand hides more of the object: along the outline, and where the nearest surface leaps forward by LEAP_M from
  where the object is seen to where it is not (a thumb before the object before the palm). Along the object's own edge
  in front of the hand they do not.
* A hand that holds something is before it in one place and behind it in another. Where the object hides no part of the
  hand deeper than INTERLOCK_M inside its outline, a touch cannot be told from a hand that passes in front: the frame is
  unknown, unless `bordering_touches` asks to take such frames for contact of the far surface (what a press on a button
  looks like).
* An object that is seen apart from the hand (empty region) is evidence of no contact: known, and no vertex touches. The
  release calls it unknown. No mask, an empty mask (the object is out of sight) and a hand out of sight are unknown.

The released code ignores depth, so that the far side always counts, and with it the back of a hand whose palm touches.
Against contact by signed distance, on DexYCB's fitted hands and posed meshes, the rule lifts the F1 of vertices from 0.48
to 0.56 (`tests/benchmarks/mask_contact.py` has all figures). Limits: a mask does not see how far behind or before the
hand an object is; deep inside a grip, further than NEAR_PX from any place where the object is seen, nothing touches; poses
that are off in the picture by more than INTERLOCK_M make frames known that are not.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from trainables.clip_format import VERTICES
from trainables.depth_buffer import DepthBuffer, project, render_depth
from trainables.recorded_clips import centroid
from trainables.recording import Contact

BORDER_PX = 2  # both masks are grown by this
NEAR_PX = 10.0  # a vertex is at the region when its projection is nearer than this
HIDDEN_PX = 6.0
LAYER_M = 0.010  # what lies less deep below the nearest surface belongs to it
INTERLOCK_M = 0.004
LEAP_M = 0.002
STEP = 2  # every second pixel of every second row is looked at: a fourth of the time, the same figures

_MARGIN = (BORDER_PX + int(NEAR_PX)) // STEP + 1


def mask_contacts(
    vertices_TV3_m: NDArray[np.float64],
    faces_F3: NDArray[np.int64],
    masks: Sequence[NDArray[np.bool_] | None],
    intrinsics_33: NDArray[np.float64],
    *,
    bordering_touches: bool = False,
) -> Contact:
    """Contact of T frames: which of the 778 vertices touch, where that is known, and their centroid.

    vertices_TV3_m (T, 778, 3): skin in each frame's camera (OpenCV axes), metres. masks: one a frame, bool (H, W) of the
    object's visible pixels, or None where there is none. intrinsics_33: the camera matrix, pixels of the masks.
    bordering_touches: see the module. Left hands need their own vertices, not mirrored ones: mirror afterwards.
    """
    frames = len(vertices_TV3_m)
    bits = np.zeros((frames, VERTICES), dtype=bool)
    known = np.zeros(frames, dtype=bool)
    for frame, (vertices, mask) in enumerate(zip(vertices_TV3_m, masks, strict=True)):
        if mask is None or not mask.any():
            continue
        touching = frame_contact(vertices, faces_F3, mask, intrinsics_33, bordering_touches)
        if touching is not None:
            bits[frame], known[frame] = touching, True
    return Contact(bits=bits, known=known, point_m=centroid(bits, vertices_TV3_m))


def frame_contact(
    vertices_m: NDArray[np.float64],
    faces_F3: NDArray[np.int64],
    mask: NDArray[np.bool_],
    intrinsics_33: NDArray[np.float64],
    bordering_touches: bool = False,
) -> NDArray[np.bool_] | None:
    """The vertices (V,) that touch in one frame whose object mask (H, W) is not empty; None where that is unknown."""
    mask = mask[::STEP, ::STEP]
    intrinsics_33 = np.diag([1 / STEP, 1 / STEP, 1]) @ intrinsics_33
    hand = render_depth(vertices_m, faces_F3, intrinsics_33, mask.shape, margin_px=_MARGIN)
    if not hand.mask.any():
        return None
    height, width = hand.mask.shape
    seen = mask[hand.top : hand.top + height, hand.left : hand.left + width]
    around = _grown(seen)
    region = around & _grown(hand.mask)
    nothing = np.zeros(len(vertices_m), dtype=bool)
    if not region.any():
        return nothing
    hiding = seen & hand.mask
    interlocked = _interlocked(hiding, hand, vertices_m, intrinsics_33)
    if not (interlocked or bordering_touches):
        return None

    pixels = project(vertices_m, intrinsics_33) - [hand.left, hand.top]
    near = _nearer(pixels, region, NEAR_PX)
    first_m = _beneath(hand, pixels, near)
    front = near.copy()
    front[near] = vertices_m[near, 2] < first_m + LAYER_M
    deep = near & ~front
    front[front] = _nearer(pixels[front], hiding, HIDDEN_PX)
    deep[deep] = _nearer(pixels[deep], _hidden_beyond(region & ~hiding, seen, hand), NEAR_PX)
    return front | deep


def _grown(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return ndimage.binary_dilation(mask, iterations=BORDER_PX // STEP)


def _interlocked(
    hiding: NDArray[np.bool_],
    hand: DepthBuffer,
    vertices_m: NDArray[np.float64],
    intrinsics_33: NDArray[np.float64],
) -> bool:
    """Does the object hide a part of the hand that lies deeper than INTERLOCK_M inside the outline?"""
    if not hiding.any():
        return False
    pixels_per_m = (intrinsics_33[0, 0] + intrinsics_33[1, 1]) / 2 / np.median(vertices_m[:, 2])
    inside = ndimage.distance_transform_edt(hand.mask)
    return bool((inside[hiding] > INTERLOCK_M * pixels_per_m).any())


def _hidden_beyond(
    border: NDArray[np.bool_], seen: NDArray[np.bool_], hand: DepthBuffer
) -> NDArray[np.bool_]:
    """The pixels of the border where the hand hides more of the object, and not the object the hand.

    There the object is seen beside the outline, or the hand's surface leaps forward from where the object is seen to
    where it is not: a finger before the object, which itself is before the rest of the hand.
    """
    row, column = np.nonzero(border)
    to = ndimage.distance_transform_edt(~seen, return_distances=False, return_indices=True)
    under_m = hand.first_m[to[0][row, column], to[1][row, column]]  # inf beside the outline
    bare_m = hand.first_m[row, column]
    with np.errstate(invalid="ignore"):
        leaps = np.isinf(under_m) | (under_m - bare_m > LEAP_M)
    beyond = np.zeros_like(border)
    beyond[row[leaps], column[leaps]] = True
    return beyond


def _nearer(pixels: NDArray[np.float64], mask: NDArray[np.bool_], limit_px: float) -> NDArray[np.bool_]:
    """Which points (N, 2) as (x, y) are nearer than the limit to a pixel of the mask; never one that is NaN."""
    far = np.ones(len(pixels), dtype=bool)
    if not len(pixels) or not mask.any():
        return ~far
    distance = ndimage.distance_transform_edt(~mask)
    column, row = _cell(pixels, mask.shape)
    # Beside the window the distance grows at least by the way to it.
    beside = np.abs(np.nan_to_num(pixels, nan=np.inf) - np.stack([column, row], -1)).max(-1)
    return distance[row, column] + np.where(beside > 0.5, beside, 0) < limit_px / STEP


def _beneath(
    hand: DepthBuffer, pixels: NDArray[np.float64], wanted: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Depth of the nearest surface at each wanted point, at the outline's nearest pixel for points beside it."""
    place = ndimage.distance_transform_edt(~hand.mask, return_distances=False, return_indices=True)
    column, row = _cell(pixels[wanted], hand.mask.shape)
    return hand.first_m[place[0][row, column], place[1][row, column]]


def _cell(pixels: NDArray[np.float64], shape: tuple[int, ...]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    nearest = np.rint(np.nan_to_num(pixels, nan=0.0)).astype(np.int64)
    return np.clip(nearest[:, 0], 0, shape[1] - 1), np.clip(nearest[:, 1], 0, shape[0] - 1)
