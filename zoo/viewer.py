"""The viewer: predicted hand motion as one HTML file that opens anywhere, without a network."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from zoo.inline_page import asset, inline_page
from zoo.packed_numbers import packed_integers, packed_positions, packed_shares

JOINTS = 21
PHOTO_SIDE = 640  # pixels of a photo's longer side on the page
JPEG_QUALITY = 82


@dataclass(frozen=True, kw_only=True)
class ViewerClip:
    """One motion to look at: T frames of V vertices.

    Positions are in metres in the camera frame of the first image: x right, y down, z forward.
    """

    title: str
    text: str  # the action
    vertices_m: np.ndarray  # (T, V, 3)
    contact_probability: np.ndarray  # (T, V) in [0, 1]
    joints_m: np.ndarray  # (T, 21, 3), OpenPose order
    truth_vertices_m: np.ndarray | None = None  # (T, V, 3), shown as a ghost
    truth_joints_m: np.ndarray | None = None  # (T, 21, 3); with it the page shows joint error over time
    contact_point_m: np.ndarray | None = None  # (3,)
    object_vertices_m: np.ndarray | None = None  # (Vo, 3), or (T, Vo, 3) where the object moves
    object_faces: np.ndarray | None = None  # (Fo, 3)
    photo: bytes | None = None  # PNG or JPEG, the first frame
    camera_K: np.ndarray | None = None  # (3, 3) intrinsics in the photo's pixels
    frames_per_s: float = 30.0
    contact_threshold: float = 0.5
    figures: Mapping[str, float | str] = field(default_factory=dict)  # shown as a small table
    note: str = ""

    def __post_init__(self) -> None:
        """Raises ValueError that names the clip, the field and what it should be."""
        frames, vertices = self._shaped("vertices_m", (None, None, 3)).shape[:2]
        if not frames or not vertices:
            raise ValueError(f"clip {self.title!r}: vertices_m holds no frames or no vertices")
        contact = self._shaped("contact_probability", (frames, vertices))
        if contact.min() < 0 or contact.max() > 1:
            raise ValueError(f"clip {self.title!r}: contact_probability must lie in [0, 1]")
        self._shaped("joints_m", (frames, JOINTS, 3))
        for name, shape in (
            ("truth_vertices_m", (frames, vertices, 3)),
            ("truth_joints_m", (frames, JOINTS, 3)),
            ("contact_point_m", (3,)),
            ("camera_K", (3, 3)),
        ):
            if getattr(self, name) is not None:
                self._shaped(name, shape)
        if (self.object_vertices_m is None) != (self.object_faces is None):
            raise ValueError(f"clip {self.title!r}: object_vertices_m and object_faces go together")
        if self.object_vertices_m is not None and self.object_faces is not None:
            moving = np.ndim(self.object_vertices_m) == 3
            points = self._shaped("object_vertices_m", (frames, None, 3) if moving else (None, 3))
            _checked_faces(self.object_faces, points.shape[-2], f"clip {self.title!r}: object_faces")
        if not (math.isfinite(self.frames_per_s) and self.frames_per_s > 0):
            raise ValueError(f"clip {self.title!r}: frames_per_s must be above 0, not {self.frames_per_s}")
        if not 0 <= self.contact_threshold <= 1:
            raise ValueError(f"clip {self.title!r}: contact_threshold must lie in [0, 1]")

    def _shaped(self, name: str, shape: tuple[int | None, ...]) -> np.ndarray:
        array = np.asarray(getattr(self, name))
        if array.ndim != len(shape) or any(
            want not in (None, got) for got, want in zip(array.shape, shape, strict=True)
        ):
            wanted = ", ".join("any" if size is None else str(size) for size in shape)
            raise ValueError(f"clip {self.title!r}: {name} has shape {array.shape}, not ({wanted})")
        if not np.isfinite(array).all():
            raise ValueError(f"clip {self.title!r}: {name} holds a number that is not finite")
        return array

    @property
    def joint_error_cm(self) -> np.ndarray | None:
        """Mean distance of the 21 joints from the truth, (T,) in centimetres; None without truth."""
        if self.truth_joints_m is None:
            return None
        return np.linalg.norm(np.asarray(self.joints_m) - self.truth_joints_m, axis=-1).mean(axis=-1) * 100


def viewer_page(clips: Sequence[ViewerClip], faces: np.ndarray, *, title: str) -> str:
    """A self-contained page that shows `clips`, all of one hand.

    faces: (F, 3) indices of the hand's vertices. Raises ValueError without clips, or where faces and vertices disagree.
    """
    if not clips:
        raise ValueError("a viewer needs at least one clip")
    data = {
        "title": title,
        "faces": faces_payload(faces, vertices=np.shape(clips[0].vertices_m)[1]),
        "clips": [clip_payload(clip) for clip in clips],
    }
    if any(np.shape(clip.vertices_m)[1] != np.shape(clips[0].vertices_m)[1] for clip in clips):
        raise ValueError("the clips of one page must be of one hand: their numbers of vertices differ")
    script = asset("viewer.min.js") + "\nLatentAct.startViewer();\n"
    return inline_page(title=title, style=asset("viewer.css"), script=script, data=data)


def faces_payload(faces: np.ndarray, *, vertices: int) -> dict[str, Any]:
    """The hand's triangles (F, 3), once a page, as `HandView` takes them."""
    return packed_integers(_checked_faces(faces, vertices, "faces"))


def clip_payload(clip: ViewerClip) -> dict[str, Any]:
    """`clip` as JSON-able data, as `HandView.show` takes it; positions within 0.025 mm an axis."""
    photo = _photo_payload(clip)
    moving: dict[str, Any] = {
        "vertices": packed_positions(clip.vertices_m),
        "contact": packed_shares(clip.contact_probability),
        "joints": packed_positions(clip.joints_m),
    }
    if clip.truth_vertices_m is not None:
        moving["truth_vertices"] = packed_positions(clip.truth_vertices_m)
    if clip.truth_joints_m is not None:
        moving["truth_joints"] = packed_positions(clip.truth_joints_m)
    if clip.object_vertices_m is not None and clip.object_faces is not None:
        points = np.asarray(clip.object_vertices_m)
        moving["object_vertices"] = packed_positions(points if points.ndim == 3 else points[None])
        moving["object_faces"] = faces_payload(clip.object_faces, vertices=points.shape[-2])
    error = clip.joint_error_cm
    return {
        "title": clip.title,
        "text": clip.text,
        "note": clip.note,
        "frames_per_s": clip.frames_per_s,
        "contact_threshold": clip.contact_threshold,
        "contact_point_m": None if clip.contact_point_m is None else [float(x) for x in clip.contact_point_m],
        "joint_error_cm": None if error is None else [round(float(x), 4) for x in error],
        "figures": [[name, _figure(value)] for name, value in clip.figures.items()],
        "photo": photo,
        **moving,
    }


def _figure(value: float | str) -> str:
    if isinstance(value, float | np.floating):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int | np.integer) else str(value)


def _checked_faces(faces: np.ndarray, vertices: int, name: str) -> np.ndarray:
    faces = np.asarray(faces)
    if faces.ndim != 2 or faces.shape[1] != 3 or not np.issubdtype(faces.dtype, np.integer) or not len(faces):
        raise ValueError(f"{name} must be whole numbers (F, 3), not {faces.dtype} {faces.shape}")
    if faces.min() < 0 or faces.max() >= vertices:
        raise ValueError(f"{name} speaks of vertex {int(faces.max())}, and there are {vertices}")
    return faces.astype(np.uint32 if vertices > 65535 else np.uint16)


def _photo_payload(clip: ViewerClip) -> dict[str, Any] | None:
    """The photo at PHOTO_SIDE at most, with the intrinsics that fit it; JPEG, since PNGs of photos are large."""
    if clip.photo is None:
        return None
    from PIL import Image

    try:
        with Image.open(io.BytesIO(clip.photo)) as opened:
            picture = opened.convert("RGB")
    except Exception as error:
        raise ValueError(f"clip {clip.title!r}: photo is not a picture that can be read: {error}") from error
    width, height = picture.size
    picture.thumbnail((PHOTO_SIDE, PHOTO_SIDE))
    jpeg = io.BytesIO()
    picture.save(jpeg, "JPEG", quality=JPEG_QUALITY, optimize=True)
    scale = np.array([[picture.width / width], [picture.height / height], [1.0]])
    K = None if clip.camera_K is None else (np.asarray(clip.camera_K) * scale).tolist()
    return {
        "url": "data:image/jpeg;base64," + base64.b64encode(jpeg.getvalue()).decode("ascii"),
        "width": picture.width,
        "height": picture.height,
        "source_width": width,
        "source_height": height,
        "camera_K": K,
    }
