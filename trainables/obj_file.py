"""Reading the triangles of a Wavefront OBJ file, so that a truncated or damaged file is an error.

libigl's own reader crashes the process on some damaged files. Of the format only vertices and faces are read; a face of
more than three corners becomes a fan.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray


class ObjError(ValueError):
    """No whole OBJ file; the message says what is wrong, and in which line."""


def read_obj(data: bytes) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Vertices (V, 3) and triangles (F, 3), counted from 0, of a file's bytes. Raises ObjError."""
    vertices: list[list[float]] = []
    triangles: list[tuple[int, int, int]] = []
    for at, line in enumerate(data.decode("latin1").splitlines(), 1):
        words = line.split()
        if not words or words[0] not in ("v", "f"):
            continue
        try:
            if words[0] == "v":
                vertices.append([float(word) for word in words[1:4]])
                whole = len(words) >= 4
            else:
                corners = [_corner(word, len(vertices)) for word in words[1:]]
                triangles += [(corners[0], b, c) for b, c in pairwise(corners[1:])]
                whole = len(corners) >= 3
        except ValueError as error:
            raise ObjError(f"line {at}: {error}") from error
        if not whole:
            raise ObjError(f"line {at} is cut off")
    if not vertices or not triangles:
        raise ObjError("it holds no vertices or no faces")
    return np.array(vertices), np.array(triangles, dtype=np.int64)


def _corner(word: str, vertices: int) -> int:
    """The vertex of "12/3/4", from 0; negative ones count back from the latest vertex."""
    number = int(word.split("/")[0])
    index = number - 1 if number > 0 else vertices + number
    if number == 0 or index < 0 or index >= 1 << 31:
        raise ValueError(f"{word!r} is no corner")
    return index
