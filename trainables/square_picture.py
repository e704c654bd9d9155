"""Pictures as clips hold them: padded to a square with centred zeros, one size, PNG."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from trainables.source_errors import DamagedFile, MissingFile

PICTURE_PX = 224  # what the frozen image encoders take
PICTURE_EVERY = 10  # frames


def square_png(image: NDArray[Any] | Path, px: int = PICTURE_PX) -> bytes:
    """PNG bytes of an RGB picture, padded to a square with centred zeros and resized to px by px.

    image: uint8 (H, W, 3), or a picture file. Raises MissingFile or DamagedFile.
    """
    if isinstance(image, Path):
        return _squared(_opened(image, px), px)
    return _squared(Image.fromarray(np.ascontiguousarray(image, dtype=np.uint8)), px)


def pictures_every(
    paths: Sequence[Path | None], *, every: int = PICTURE_EVERY, px: int = PICTURE_PX
) -> tuple[list[int], list[bytes]]:
    """image_frame and image_png of a clip: of frames 0, every, 2 every, ... those that have a picture.

    paths[i] is the picture of frame i, None where there is none. Raises MissingFile or DamagedFile.
    """
    shown = [(frame, path) for frame, path in enumerate(paths) if frame % every == 0 and path is not None]
    return [frame for frame, _ in shown], [square_png(path, px) for _, path in shown]


def _opened(path: Path, px: int) -> Image.Image:
    try:
        with Image.open(path) as picture:
            picture.draft("RGB", (2 * px, 2 * px))  # a large JPEG is decoded at a fraction of its size
            return picture.convert("RGB")
    except FileNotFoundError:
        raise MissingFile(path, "is missing; restore it from the data set's distribution.") from None
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DamagedFile(path, f"is no readable picture ({error}); fetch it again.") from error


def _squared(picture: Image.Image, px: int) -> bytes:
    side = max(picture.size)
    square = Image.new("RGB", (side, side))
    square.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
    buffer = BytesIO()
    square.resize((px, px), Image.Resampling.BICUBIC).save(buffer, format="PNG")
    return buffer.getvalue()
