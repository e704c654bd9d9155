"""A photo and the pinhole camera that took it: from a pixel and a depth to a point in metres, and back.

Pixels are those of the upright photo at its full size, x to the right and y down, whole numbers at pixel centres.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from zoo.errors import InputError

if TYPE_CHECKING:
    from trainables.photo import Picture

ASSUMED_VIEW_DEGREES = 55.0  # along the longer side: as DexYCB's cameras and the procedural world's see
_FILM_DIAGONAL_MM = math.hypot(36.0, 24.0)
_SIDEWAYS = (5, 6, 7, 8)  # EXIF orientations that exchange width and height
_ORIENTATION, _EXIF, _FOCAL_35_MM = 0x0112, 0x8769, 0xA405


@dataclass(frozen=True, kw_only=True)
class Photo:
    """pixels: uint8 (H,W,3), upright, of a large JPEG at a fraction of its size. `width` and `height` are the file's,
    upright. focal_35_mm: what EXIF says of the lens in terms of 35 mm film, None where it says nothing."""

    pixels: np.ndarray
    width: int
    height: int
    focal_35_mm: float | None


@dataclass(frozen=True, kw_only=True)
class Camera:
    """Intrinsics in pixels. `source` says where they are from; `assumed` that nobody measured them."""

    fx: float
    fy: float
    cx: float
    cy: float
    source: str
    assumed: bool = False

    def point_m(self, pixel: Sequence[float], depth_m: float) -> list[float]:
        """The point (x, y, z) that is seen at a pixel, `depth_m` along the camera's axis."""
        x, y = pixel
        return [(x - self.cx) / self.fx * depth_m, (y - self.cy) / self.fy * depth_m, depth_m]

    def pixel(self, point_m: Sequence[float]) -> tuple[float, float]:
        """Where a point before the camera is seen."""
        x, y, z = point_m
        return self.fx * x / z + self.cx, self.fy * y / z + self.cy

    def matrix(self, *, scale: float = 1.0) -> np.ndarray:
        """K (3,3) of the photo, or of the photo made `scale` times as large."""
        return np.array(
            [
                [self.fx * scale, 0.0, (self.cx + 0.5) * scale - 0.5],
                [0.0, self.fy * scale, (self.cy + 0.5) * scale - 0.5],
                [0.0, 0.0, 1.0],
            ]
        )


def open_photo(image: Picture) -> Photo:
    """Raises PhotoError where it is no picture that can be used."""
    from trainables.photo import UNREADABLE, photo_pixels

    pixels = photo_pixels(image)
    height, width = pixels.shape[:2]
    focal_35_mm = None
    try:
        if isinstance(image, Image.Image):
            focal_35_mm = _focal_35_mm(image)
        elif not isinstance(image, np.ndarray) and image is not None:
            with Image.open(image) as opened:
                width, height = opened.size
                if opened.getexif().get(_ORIENTATION) in _SIDEWAYS:
                    width, height = height, width
                focal_35_mm = _focal_35_mm(opened)
    except UNREADABLE:  # EXIF data alone are damaged
        pass
    return Photo(pixels=pixels, width=width, height=height, focal_35_mm=focal_35_mm)


def camera_of(
    photo: Photo, *, intrinsics: Sequence[float] | None = None, focal_px: float | None = None
) -> Camera:
    """The photo's camera: from `intrinsics` (fx, fy, cx, cy), else `focal_px`, else EXIF, else an assumed view.

    Raises InputError where a given number is none that a camera can have.
    """
    cx, cy = (photo.width - 1) / 2, (photo.height - 1) / 2
    if intrinsics is not None:
        fx, fy, cx, cy = intrinsics
        if not (all(map(math.isfinite, intrinsics)) and fx > 0 and fy > 0):
            raise InputError(
                f"The camera {fx:g},{fy:g},{cx:g},{cy:g} is none: give fx,fy,cx,cy in pixels of the upright photo, both "
                "focal lengths above zero."
            )
        return Camera(fx=fx, fy=fy, cx=cx, cy=cy, source="as given")
    if focal_px is not None:
        if not (math.isfinite(focal_px) and focal_px > 0):
            raise InputError(f"A focal length of {focal_px:g} pixels is none: give one above zero.")
        return Camera(fx=focal_px, fy=focal_px, cx=cx, cy=cy, source="as given")
    diagonal_px = math.hypot(photo.width, photo.height)
    if photo.focal_35_mm:
        focal = photo.focal_35_mm / _FILM_DIAGONAL_MM * diagonal_px
        return Camera(
            fx=focal, fy=focal, cx=cx, cy=cy, source=f"EXIF, {photo.focal_35_mm:g} mm on 35 mm film"
        )
    focal = max(photo.width, photo.height) / 2 / math.tan(math.radians(ASSUMED_VIEW_DEGREES / 2))
    return Camera(
        fx=focal, fy=focal, cx=cx, cy=cy, assumed=True,
        source=f"assumed, {ASSUMED_VIEW_DEGREES:.0f} degrees along the longer side",
    )  # fmt: skip


def point_at_pixel(photo: Photo, camera: Camera, pixel: Sequence[float], depth_m: float) -> list[float]:
    """The contact point that a person pointed at. Raises InputError: outside the photo, or no depth before the camera."""
    x, y = pixel
    if not (
        math.isfinite(x)
        and math.isfinite(y)
        and -0.5 <= x <= photo.width - 0.5
        and -0.5 <= y <= photo.height - 0.5
    ):
        raise InputError(
            f"Pixel {x:g},{y:g} is outside the photo, which has {photo.width} x {photo.height} pixels: count from its "
            "upper left corner, the photo being upright."
        )
    if not (math.isfinite(depth_m) and depth_m > 0):
        raise InputError(
            f"A depth of {depth_m:g} m is not before the camera: give the distance along the camera's axis, above zero."
        )
    return camera.point_m(pixel, depth_m)


def outside(photo: Photo, camera: Camera, point_m: Any) -> str:
    """A sentence where the point is seen outside the photo, else ""."""
    x, y = camera.pixel(point_m)
    if -0.5 <= x <= photo.width - 0.5 and -0.5 <= y <= photo.height - 0.5:
        return ""
    how = f" (focal length {camera.source})" if camera.assumed else ""
    return (
        f"the contact point would be seen at pixel {x:.0f},{y:.0f}, outside the photo of {photo.width} x {photo.height}"
        f"{how}: x is to the right, y down, z forward, in metres"
    )


def _focal_35_mm(picture: Image.Image) -> float | None:
    try:
        focal = float(picture.getexif().get_ifd(_EXIF).get(_FOCAL_35_MM, 0))
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return focal if math.isfinite(focal) and focal > 0 else None
