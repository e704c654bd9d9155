"""A predicted trajectory as files: NumPy arrays, a moving picture, an HTML page to look at it from all sides."""

from __future__ import annotations

import io
import os
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.errors import OutputError
from zoo.loading import contact_by_finger, trajectory_arrays
from zoo.photo_camera import Camera, Photo, camera_of, open_photo

if TYPE_CHECKING:
    from trainables.photo import Picture
    from trainables.trajectory import Trajectory
    from zoo.viewer import ViewerClip

FILES = {"npz": "trajectory.npz", "gif": "trajectory.gif", "mp4": "trajectory.mp4", "html": "viewer.html"}
USUAL = ("npz", "gif", "html")


def write_trajectory(
    trajectory: Trajectory,
    out: str | os.PathLike[str],
    *,
    title: str = "Prediction",
    text: str = "",
    image: Picture | Photo = None,
    contact_point: Any = None,
    camera: Camera | None = None,
    formats: Sequence[str] = USUAL,
) -> list[Path]:
    """Write `out/trajectory.npz`, `out/trajectory.gif` and `out/viewer.html`; returns their paths.

    out: a folder, which is made; or a file that ends in .npz, .gif, .mp4 or .html, and then it alone is written.
    title: of the page. text, image, contact_point: what it was predicted from, to be shown beside it. camera: of the
    image, else as `zoo.camera_of` finds it. formats: of npz, gif, mp4 (needs PyAV) and html.

    A file is replaced as a whole or not at all. Raises OutputError, and PhotoError where the image cannot be read.
    """
    paths = planned(Path(out), formats)
    photo = image if isinstance(image, Photo) or image is None else open_photo(image)
    camera = camera or (camera_of(photo) if photo else None)
    point_m = None if contact_point is None else [float(value) for value in contact_point]
    shown: dict[str, Any] = {"text": text, "photo": photo, "camera": camera, "contact_point_m": point_m}
    pictures: list[np.ndarray] = []

    def moving(encode: Callable[[np.ndarray], bytes]) -> bytes:
        from zoo.moving_picture import frames

        if not pictures:
            pictures.append(frames(trajectory, **shown))
        return encode(pictures[0])

    for kind, path in paths.items():
        if kind == "npz":
            content = npz(trajectory)
        elif kind == "html":
            from zoo.viewer import viewer_page

            clip = viewer_clip(trajectory, title=title, **shown)
            content = viewer_page([clip], np.asarray(trajectory.faces), title=title).encode()
        else:
            from zoo import moving_picture

            content = moving(moving_picture.gif if kind == "gif" else moving_picture.mp4)
        write_whole(path, content)
    return list(paths.values())


def planned(out: Path, formats: Sequence[str] = USUAL) -> dict[str, Path]:
    """Where each format goes. Raises OutputError for a place or a format that cannot be written."""
    kind = out.suffix.removeprefix(".").lower()
    if kind in FILES and not out.is_dir():
        formats = [kind]
    if "mp4" in formats:
        from zoo.moving_picture import check_mp4

        check_mp4()
    if kind in FILES and not out.is_dir():
        return {kind: out}
    unknown = [name for name in formats if name not in FILES]
    if unknown or not formats:
        raise OutputError(
            f"There is no format {unknown[0] if unknown else ''!r}: choose of {', '.join(FILES)}."
        )
    if out.exists() and not out.is_dir():
        raise OutputError(
            f"{out} is a file: name a folder, or a file that ends in .npz, .gif, .mp4 or .html."
        )
    return {name: out / FILES[name] for name in FILES if name in formats}


def write_whole(path: Path, content: bytes) -> None:
    """Under another name first, so that nobody meets half of it. Raises OutputError."""
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            partial.write_bytes(content)
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{path} cannot be written ({error.strerror}): choose another place.") from error


def npz(trajectory: Trajectory) -> bytes:
    """The arrays of `zoo.loading.trajectory_arrays`, compressed; no pickle is in it or needed to read it."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **trajectory_arrays(trajectory))
    return buffer.getvalue()


def viewer_clip(
    trajectory: Trajectory,
    *,
    title: str,
    text: str,
    photo: Photo | None = None,
    camera: Camera | None = None,
    contact_point_m: Sequence[float] | None = None,
    truth_vertices_m: np.ndarray | None = None,
    truth_joints_m: np.ndarray | None = None,
) -> ViewerClip:
    """The trajectory for `zoo.viewer.viewer_page`, with the truth (T,778,3) and (T,21,3) where it is known."""
    from zoo.viewer import ViewerClip

    notes = [] if trajectory.hand == "mano" else [f"Made with the stand-in hand {trajectory.hand}."]
    K = None
    if photo is not None and camera is not None:
        K = camera.matrix()
        notes += [f"Focal length: {camera.source}."] if camera.assumed else []
    arrays = trajectory_arrays(trajectory)
    fingers = contact_by_finger(trajectory)
    best = next(iter(fingers))
    return ViewerClip(
        title=title,
        text=text,
        vertices_m=arrays["vertices_m"],
        contact_probability=arrays["contact_probability"],
        joints_m=arrays["joints_m"],
        contact_point_m=None if contact_point_m is None else np.asarray(contact_point_m, np.float64),
        photo=None if photo is None else _jpeg(photo),
        camera_K=K,
        contact_threshold=round(trajectory.contact_threshold, 3),
        figures={
            "wrist path, cm": f"{wrist_path_cm(trajectory):.1f}",
            "most contact": f"{best} {fingers[best]:.2f}",
        },
        note=" ".join(notes),
        truth_vertices_m=truth_vertices_m,
        truth_joints_m=truth_joints_m,
    )


def wrist_path_cm(trajectory: Trajectory) -> float:
    """How far the wrist travels."""
    wrist_T3 = np.asarray(trajectory.joints_m)[:, 0]
    return 100 * float(np.linalg.norm(np.diff(wrist_T3, axis=0), axis=1).sum())


def _jpeg(photo: Photo) -> bytes:
    """At the file's own size, so that a click in the viewer reads the pixels that --contact-pixel takes."""
    from PIL import Image

    picture = Image.fromarray(photo.pixels)
    if picture.size != (photo.width, photo.height):
        picture = picture.resize((photo.width, photo.height), Image.Resampling.BILINEAR)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()
