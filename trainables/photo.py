"""RGB pixels of a person's picture, the way up that it was taken, or a sentence that says why there are none."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

Picture = Image.Image | np.ndarray | str | os.PathLike[str] | None

# A camera's JPEG of 12 megapixels is decoded at a fraction of its size, still several times what a network sees.
ENOUGH_PX = 1024
# What Pillow's readers raise at bytes that are no picture.
UNREADABLE = (
    OSError,
    EOFError,
    SyntaxError,
    ValueError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)


class PhotoError(ValueError):
    """A picture is not usable; the text says which and what to do."""


def photo_pixels(image: Picture) -> NDArray[np.uint8]:
    """RGB pixels uint8 (H,W,3) of a path, a PIL image or an array. Turned as its EXIF orientation says.

    Grey, palette, CMYK and 16-bit pictures become 8-bit RGB; what is transparent becomes black, as the padding is.
    Raises PhotoError.
    """
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
            raise PhotoError(f"image is {image.dtype} {image.shape}; pass RGB pixels as uint8 (H,W,3)")
        return image
    if isinstance(image, Image.Image):
        return np.array(_rgb(ImageOps.exif_transpose(image), "image"))
    if not isinstance(image, str | os.PathLike):
        raise PhotoError(f"image is {type(image).__name__}; pass a path, a PIL image or uint8 pixels (H,W,3)")
    path = Path(image)
    try:
        with Image.open(path) as opened:
            opened.draft("RGB", (ENOUGH_PX, ENOUGH_PX))
            # Cameras that write several pictures into a JPEG (MPO) put the photo first.
            held = getattr(opened, "n_frames", 1)
            if held > 1 and opened.format != "MPO":
                raise PhotoError(
                    f"image {path} holds {held} pictures; pass a file that holds the first frame alone"
                )
            # Phones write pictures as the sensor saw them, and beside them how to turn them.
            return np.array(_rgb(ImageOps.exif_transpose(opened), f"image {path}"))
    except PhotoError:
        raise
    except Image.DecompressionBombError as error:
        raise PhotoError(f"image {path} has too many pixels ({error}); make it smaller") from error
    except UnidentifiedImageError as error:
        remedy = "pass a PNG or JPEG file"
        if path.suffix.lower() in (".heic", ".heif"):
            remedy = "it is HEIC by its name; export it as JPEG"
        raise PhotoError(
            f"image {path} cannot be read: it is no picture that is known here; {remedy}"
        ) from error
    except UNREADABLE as error:
        said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        said = "the file is cut short" if "truncated" in said else said
        raise PhotoError(
            f"image {path} cannot be read: {said}; pass a PNG or JPEG file that is whole"
        ) from error


def _rgb(picture: Image.Image, what: str) -> Image.Image:
    if picture.mode.startswith("I;16"):  # Pillow would cut at 255: a white picture
        return Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8)).convert("RGB")
    if picture.mode in ("I", "F"):
        raise PhotoError(f"{what} has one channel of 32 bits a pixel; save it as an 8-bit RGB PNG or JPEG")
    if picture.has_transparency_data:
        shown = picture.convert("RGBA")
        black = Image.new("RGBA", shown.size, (0, 0, 0, 255))
        return Image.alpha_composite(black, shown).convert("RGB")
    return picture.convert("RGB")
