"""Pictures from which the hand has been painted out (by Affordance Diffusion, or any other): <video>/%06d.jpg or .png.

The number is the frame's in the video, from 0, as in HoloAssist's own images_jpg. A frame without one is no error.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trainables.saved_results import results_of
from trainables.source_errors import DamagedFile
from trainables.source_fields import Where

_SUFFIXES = ("jpg", "png", "jpeg")


def inpainted_file(folder: Where, video: str, frame: int) -> Path:
    """The picture of a frame; where there is none, the path that it would have. Raises OutsidePath."""
    return results_of(folder, (f"{video}/{frame:06d}.{suffix}" for suffix in _SUFFIXES))


def read_inpainted(path: Where, frame: int | None = None) -> NDArray[np.uint8] | None:
    """RGB (H, W, 3) of the picture at `path`, or of `frame` in a video's folder `path`; None where there is none.

    Raises DamagedFile.
    """
    path = Path(path)
    if frame is not None:
        path = inpainted_file(path.parent, path.name, frame)
    if not path.is_file():
        return None
    try:
        with Image.open(path, formats=["JPEG", "PNG"]) as picture:
            return np.asarray(picture.convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DamagedFile(path, f"is no readable picture ({error}); make it again.") from error
