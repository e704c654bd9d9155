"""One clip: a continuous recording of one action, and its row in a shard.

Rotations are axis-angle in radians, lengths metres. Every frame is written in its own camera, with OpenCV
axes (x right, y down, z forward); `camera_to_first` takes a point from that camera to the camera of the
clip's first frame.
"""

import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SCHEMA_VERSION = 3
# 1 has no hand-free pictures, 2 no features; `python -m trainables.migrate` rewrites either.
READABLE_SCHEMAS = (1, 2, 3)
WINDOW_FPS = 30.0
AGAIN = "delete the data set, then prepare or copy it again."  # the remedy of whoever finds it damaged
JOINTS = 21
VERTICES = 778
CONTACT_BYTES = (VERTICES + 7) // 8
GROUPS = ("object", "action", "task", "scene", "subject")

# float32 columns that hold numbers for every frame, with the shape of one frame.
FRAME_SHAPES: dict[str, tuple[int, ...]] = {
    "global_orient": (3,),
    "hand_pose": (45,),
    "transl_m": (3,),
    "camera_to_first": (3, 4),
    "joints_m": (JOINTS, 3),
    "contact_point_m": (3,),
}
MAY_BE_UNKNOWN = ("camera_to_first", "contact_point_m")  # NaN in these says "unknown"


class ClipsError(ValueError):
    """A data set, or a request made of it, is not usable; it names the file, the field and the remedy."""


@dataclass(frozen=True, kw_only=True)
class Clip:
    """One clip of n frames.

    text[i] holds from frame text_start[i] on; image_png[i] is the square RGB picture of frame image_frame[i], and
    hand_free_png[i] is one of frame hand_free_frame[i] from which the hand was removed. Where a source has features in
    place of pictures, image_feature[i], hand_free_feature[i] and text_feature[i] are those of frozen encoders that the
    manifest names; pictures may then be missing.
    contact_bits is the unpacked map, one bool a vertex (it is packed to bits when written). contact_point_m
    is the centroid of the contacting vertices, NaN exactly where nothing touches or where the contact is not
    known.
    """

    clip_id: str
    fps: float
    object: str | None = None
    action: str | None = None
    task: str | None = None
    scene: str | None = None
    subject: str | None = None
    text_start: Sequence[int]
    text: Sequence[str]
    global_orient: NDArray[Any]  # (n, 3)
    hand_pose: NDArray[Any]  # (n, 45)
    transl_m: NDArray[Any]  # (n, 3)
    betas: NDArray[Any]  # (10,)
    camera_to_first: NDArray[Any]  # (n, 3, 4), rows of [R|t]; NaN = unknown
    joints_m: NDArray[Any]  # (n, 21, 3)
    contact_bits: NDArray[Any]  # (n, 778) bool
    contact_known: NDArray[Any]  # (n,) bool
    contact_point_m: NDArray[Any]  # (n, 3)
    image_frame: Sequence[int] = ()
    image_png: Sequence[bytes] = ()
    hand_free_frame: Sequence[int] = ()
    hand_free_png: Sequence[bytes] = ()
    image_feature: NDArray[Any] | None = None  # (len(image_frame), F) float32
    hand_free_feature: NDArray[Any] | None = None  # (len(hand_free_frame), F)
    text_feature: NDArray[Any] | None = None  # (len(text), F)

    @property
    def frames(self) -> int:
        return len(self.transl_m)


def encode_png(image: NDArray[Any]) -> bytes:
    """PNG bytes of an RGB picture, uint8 (H, W, 3)."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image, dtype=np.uint8)).save(buffer, format="PNG")
    return buffer.getvalue()


def decode_png(data: bytes) -> NDArray[np.uint8]:
    """RGB picture, uint8 (H, W, 3), of PNG bytes."""
    with Image.open(io.BytesIO(data)) as picture:
        return np.asarray(picture.convert("RGB"))


def manifest_digest(manifest: dict[str, Any]) -> str:
    """sha256 (hex) of the manifest in canonical JSON: names the data in every run, card and ledger line."""
    canonical = json.dumps(
        manifest, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return hashlib.sha256(canonical.encode()).hexdigest()


_SIZES = "pictures must be square and of one size"


def picture_size(data: bytes) -> tuple[int, int]:
    """(width, height) of an encoded picture, from its header. Raises OSError where it is none."""
    with Image.open(io.BytesIO(data)) as picture:
        return picture.size


def _one_square(pictures: Sequence[bytes], clip_id: str, kind: str) -> bool:
    """Whether all are square and of one size; every one is decoded, so that a damaged one is found."""
    try:
        shapes = {decode_png(data).shape[:2] for data in pictures}
    except (OSError, SyntaxError, ValueError) as error:  # what Pillow raises on damaged files
        raise ClipsError(
            f"clip {clip_id!r}, field {kind}_png: holds something that is no picture ({error})."
        ) from error
    return len(shapes) == 1 and all(height == width for height, width in shapes)


def check_clip(clip: Clip) -> None:
    """Raises ClipsError, naming clip and field, unless the clip is whole and says nothing contradictory."""

    def require(holds: bool | np.bool_, field: str, why: str) -> None:
        if not holds:
            raise ClipsError(f"clip {clip.clip_id!r}, field {field}: {why}.")

    n = clip.frames
    require(bool(clip.clip_id), "clip_id", "is empty; give every clip a unique name")
    require(n > 0, "transl_m", "holds no frame")
    require(np.isfinite(clip.fps) and clip.fps > 0, "fps", f"must be positive, is {clip.fps}")
    shapes = {**{name: (n, *shape) for name, shape in FRAME_SHAPES.items()}, "betas": (10,)}
    shapes |= {"contact_bits": (n, VERTICES), "contact_known": (n,)}
    for name, shape in shapes.items():
        values = np.asarray(getattr(clip, name))
        require(values.shape == shape, name, f"has shape {values.shape}, must have {shape}")
        if name.startswith("contact_") and name != "contact_point_m":
            require(values.dtype == np.bool_, name, f"must be bool, is {values.dtype}")
        elif name not in MAY_BE_UNKNOWN:
            require(np.isfinite(values).all(), name, "holds a number that is not finite")
    for name in MAY_BE_UNKNOWN:
        nan = np.isnan(np.asarray(getattr(clip, name), dtype=np.float64)).reshape(n, -1)
        require(
            (nan.all(1) | ~nan.any(1)).all(), name, "has a frame that is NaN in part; use all NaN for unknown"
        )
    has_point = ~np.isnan(clip.contact_point_m).any(1)
    touches = np.asarray(clip.contact_known) & np.asarray(clip.contact_bits).any(1)
    require((has_point == touches).all(), "contact_point_m", "must be NaN exactly where no known contact is")
    starts = np.asarray(clip.text_start, dtype=np.int64)
    require(
        len(starts) == len(clip.text) > 0,
        "text",
        "needs one entry for each entry of text_start, at least one",
    )
    require(
        starts[0] == 0 and (np.diff(starts) > 0).all() and starts[-1] < n,
        "text_start",
        "must rise from 0 below n",
    )
    for kind in ("image", "hand_free"):
        frames = np.asarray(getattr(clip, f"{kind}_frame"), dtype=np.int64)
        pictures, features = getattr(clip, f"{kind}_png"), getattr(clip, f"{kind}_feature")
        require(
            len(frames) == len(pictures) or (not pictures and features is not None),
            f"{kind}_png",
            f"needs one entry for each entry of {kind}_frame",
        )
        inside = len(frames) == 0 or (frames[0] >= 0 and (np.diff(frames) > 0).all() and frames[-1] < n)
        require(inside, f"{kind}_frame", "must rise and lie inside the clip")
        require(not pictures or _one_square(pictures, clip.clip_id, kind), f"{kind}_png", _SIZES)
    for field, count in (
        ("image_feature", len(clip.image_frame)),
        ("hand_free_feature", len(clip.hand_free_frame)),
        ("text_feature", len(clip.text)),
    ):
        if (rows := getattr(clip, field)) is not None:
            rows = np.asarray(rows)
            require(
                rows.ndim == 2 and len(rows) == count, field, f"has shape {rows.shape}, needs {count} rows"
            )
            require(np.isfinite(rows).all(), field, "holds a number that is not finite")
