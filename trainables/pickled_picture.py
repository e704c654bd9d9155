"""Masks that were pickled as Pillow pictures, read as plain data: Pillow itself is not asked.

Pillow pickles a picture as its class and the list [info, mode, (width, height), palette, raw pixels] (Pillow,
src/PIL/Image.py, Image.__getstate__). The class is replaced here by one that only keeps mode, size and pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainables.plain_pickle import ArraysOnly

_LONGEST_SIDE = 1 << 14


class PickledPicture:
    """What stands in for PIL.Image.Image. `state` is what the pickle gave, unjudged, None where it gave nothing."""

    state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


class ArraysAndPictures(ArraysOnly):
    """Admits Pillow's plain pictures beside arrays, and still runs no code of theirs."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("PIL.Image", "Image"):
            return PickledPicture
        return super().find_class(module, name)


@dataclass(frozen=True, kw_only=True)
class PackedMask:
    """A mask as bits, eight to a byte, each row filled up to whole bytes (Pillow's mode "1")."""

    height: int
    width: int
    bits: bytes

    def decode(self) -> NDArray[np.bool_]:
        rows = np.frombuffer(self.bits, dtype=np.uint8).reshape(self.height, -1)
        return np.unpackbits(rows, axis=1, count=self.width).astype(bool)


def pack_mask(mask: NDArray[np.bool_]) -> PackedMask:
    """Of a bool (H, W) array."""
    return PackedMask(height=mask.shape[0], width=mask.shape[1], bits=np.packbits(mask, axis=1).tobytes())


def packed_picture(picture: PickledPicture) -> PackedMask:
    """The picture's pixels that are not zero. Raises ValueError for what is no one-channel picture."""
    if not isinstance(picture.state, list) or len(picture.state) < 5:
        raise ValueError("not a Pillow picture's state")
    _, mode, size, _, data = picture.state[:5]
    if not isinstance(size, tuple) or len(size) != 2 or not all(type(n) is int for n in size):
        raise ValueError("no size")
    width, height = size
    if not (0 < width <= _LONGEST_SIDE and 0 < height <= _LONGEST_SIDE):
        raise ValueError(f"a size of {width} x {height}")
    row_bytes = {"1": (width + 7) // 8, "L": width, "P": width}.get(mode if isinstance(mode, str) else "")
    if row_bytes is None:
        raise ValueError(f"mode {mode!r}, not a mask")
    if not isinstance(data, bytes) or len(data) != height * row_bytes:
        raise ValueError(f"{width} x {height} pixels with other than {height * row_bytes} bytes")
    if mode == "1":
        return PackedMask(height=height, width=width, bits=data)
    return pack_mask(np.frombuffer(data, dtype=np.uint8).reshape(height, width) > 0)
