"""Arrays as short text for a page: whole numbers, differences between rows, deflated, base64.

`viewer_assets/packed_numbers.js` reads them back. Motion is smooth, so that the difference between two frames is a
small number and deflates to about a third of the plain bytes.
"""

from __future__ import annotations

import base64
import zlib
from typing import Any, TypeAlias

import numpy as np

# Positions are rounded to this step (error of half of it an axis) unless they reach further than 65535 steps.
STEP_M = 5e-5

Packed: TypeAlias = dict[str, Any]


def packed_positions(positions: np.ndarray) -> Packed:
    """Positions (..., 3) in metres, finite, as 16 bits an axis; rows are what the first axis counts.

    Returns {shape, bits, data, origin_m (3), step_m}; a position is origin_m + step_m * number.
    """
    positions = np.asarray(positions, dtype=np.float64)
    flat = positions.reshape(-1, 3)
    origin = flat.min(axis=0) if len(flat) else np.zeros(3)
    extent = float((flat - origin).max()) if len(flat) else 0.0
    step = max(STEP_M, extent / 65535)
    numbers = np.rint((positions - origin) / step).astype(np.uint16)
    return {**packed_integers(numbers), "origin_m": [float(x) for x in origin], "step_m": step}


def packed_shares(shares: np.ndarray) -> Packed:
    """Numbers in [0, 1] as 8 bits each: a share is number / 255."""
    return packed_integers(np.rint(np.asarray(shares, dtype=np.float64) * 255).astype(np.uint8))


def packed_integers(numbers: np.ndarray) -> Packed:
    """An array of uint8, uint16 or uint32 as {shape, bits, data}."""
    bits = numbers.dtype.itemsize * 8
    rows = numbers.reshape(len(numbers), -1)
    steps = np.diff(rows, axis=0, prepend=np.zeros_like(rows[:1])).reshape(
        -1
    )  # wraps, and unwraps in the page
    # Small numbers of either sign get small unsigned ones; then all low bytes, all second bytes, ...
    signed = steps.view(f"i{numbers.dtype.itemsize}")
    zigzag = ((signed << 1) ^ (signed >> (bits - 1))).astype(signed.dtype)
    planes = zigzag.astype(f"<i{numbers.dtype.itemsize}").view(np.uint8).reshape(-1, numbers.dtype.itemsize).T
    data = base64.b64encode(zlib.compress(np.ascontiguousarray(planes).tobytes(), 9)).decode("ascii")
    return {"shape": list(numbers.shape), "bits": bits, "data": data}


def unpacked_integers(packed: Packed) -> np.ndarray:
    """The inverse of `packed_integers`."""
    size = packed["bits"] // 8
    planes = np.frombuffer(zlib.decompress(base64.b64decode(packed["data"])), np.uint8).reshape(size, -1)
    zigzag = np.ascontiguousarray(planes.T).view(f"<u{size}").reshape(-1)
    one = zigzag.dtype.type(1)
    steps = (zigzag >> one) ^ (~(zigzag & one) + one)
    rows = steps.reshape(packed["shape"][0], -1)
    return np.cumsum(rows, axis=0, dtype=rows.dtype).reshape(packed["shape"])


def unpacked_positions(packed: Packed) -> np.ndarray:
    """Positions (..., 3) in metres, each axis within half of `step_m`."""
    return np.asarray(packed["origin_m"]) + packed["step_m"] * unpacked_integers(packed)
