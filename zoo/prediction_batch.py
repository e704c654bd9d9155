"""Many predictions: asked of the network together, written as they come, and what failed is said and passed over."""

from __future__ import annotations

import itertools
import json
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.batch_table import Asked, Refused
from zoo.errors import InputError, OutputError, is_for_users
from zoo.loading import contact_by_finger
from zoo.photo_camera import Camera, Photo, camera_of, open_photo, outside, point_at_pixel
from zoo.trajectory_files import planned, viewer_clip, wrist_path_cm, write_trajectory, write_whole

if TYPE_CHECKING:
    from trainables.prompt import ReadPrompt
    from trainables.trajectory import Trajectory
    from zoo.viewer import ViewerClip

AT_ONCE = 16  # predictions of the network together; more are no faster on a CPU
MOST_SHOWN = 16  # clips of a batch's viewer, a third of a megabyte each
SUMMARY, VIEWER = "predictions.jsonl", "viewer.html"

Intrinsics = Sequence[float] | None


@dataclass(frozen=True, kw_only=True)
class Told:
    """Inputs of one prediction, opened and judged. `notes` are what its user should know of them."""

    photo: Photo | None
    camera: Camera | None
    contact_point_m: list[float] | None
    prompt: ReadPrompt
    notes: list[str]


@dataclass(frozen=True, kw_only=True)
class Predicted:
    """One prediction of a batch; truth (T,778,3) and (T,21,3) where it is known and may be shown."""

    where: str
    name: str
    text: str
    trajectory: Trajectory
    photo: Photo | None = None
    camera: Camera | None = None
    contact_point_m: list[float] | None = None
    notes: list[str] = field(default_factory=list)
    truth_vertices_m: np.ndarray | None = None
    truth_joints_m: np.ndarray | None = None


@dataclass(kw_only=True)
class Batch:
    """What came of a batch. `files` are those that speak of all of it."""

    done: int = 0
    failed: list[Refused] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    shown: int = 0


def tell(model: Any, asked: Asked, *, intrinsics: Intrinsics = None, focal_px: float | None = None) -> Told:
    """Open and judge the inputs of one prediction. Raises InputError, and ModelError or PhotoError of trainables."""
    from trainables.prompt import Prompt

    photo = camera = None
    point_m, notes = asked.contact, []
    if asked.image is not None:
        photo = open_photo(asked.image)
        camera = camera_of(photo, intrinsics=intrinsics, focal_px=focal_px)
        if asked.pixel is not None and asked.depth_m is not None:
            point_m = point_at_pixel(photo, camera, asked.pixel, asked.depth_m)
    prompt = Prompt(
        text=asked.text,
        image=None if photo is None else photo.pixels,
        contact_point=point_m,
        last_image=None if asked.last_image is None else open_photo(asked.last_image).pixels,
        last_contact_point=asked.last_contact,
    )
    if model.config.mode == "interpolate" and prompt.last_image is None and prompt.last_contact_point is None:
        raise InputError(
            "This model interpolates: give the last frame, --last-image and --last-contact, or use a model whose name "
            "does not end in -interpolate."
        )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        read = model.read(prompt)
    notes += [str(warning.message) for warning in caught]
    if (
        photo is not None
        and camera is not None
        and point_m is not None
        and (note := outside(photo, camera, point_m))
    ):
        notes.append(note)
    return Told(photo=photo, camera=camera, contact_point_m=point_m, prompt=read, notes=notes)


def predictions(
    model: Any,
    asked: Iterable[Asked | Refused],
    *,
    intrinsics: Intrinsics = None,
    focal_px: float | None = None,
) -> Iterator[Predicted | Refused]:
    """A prediction for each that is asked, AT_ONCE at a time; one that cannot be made stops none of the others."""
    rest = iter(asked)
    while chunk := list(itertools.islice(rest, AT_ONCE)):
        judged = [_judged(model, one, intrinsics, focal_px) for one in chunk]
        told = [its.prompt for its in judged if isinstance(its, Told)]
        made = iter(model.predict_read(told) if told else [])
        for one, its in zip(chunk, judged, strict=True):
            if isinstance(one, Asked) and isinstance(its, Told):
                yield Predicted(
                    where=one.where, name=one.name, text=one.text, trajectory=next(made), photo=its.photo,
                    camera=its.camera, contact_point_m=its.contact_point_m, notes=its.notes,
                )  # fmt: skip
            elif isinstance(its, Refused):
                yield its


def _judged(
    model: Any, one: Asked | Refused, intrinsics: Intrinsics, focal_px: float | None
) -> Told | Refused:
    if isinstance(one, Refused):
        return one
    try:
        return tell(model, one, intrinsics=intrinsics, focal_px=focal_px)
    except (InputError, ValueError) as error:
        if isinstance(error, ValueError) and not is_for_users(error):
            raise  # a defect, and none of the inputs'
        return Refused(where=one.where, name=one.name, problem=str(error))


def write_batch(
    results: Iterable[Predicted | Refused],
    out: Path,
    *,
    title: str,
    formats: Sequence[str] = ("npz", "html"),
    progress: Callable[[int], None] = lambda done: None,
) -> Batch:
    """Write `out/<name>/trajectory.npz` (and .gif, .mp4) of each result, `out/viewer.html` of the first MOST_SHOWN,
    and `out/predictions.jsonl`, a line a result. Raises OutputError."""
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out} is a file: name a folder for a batch.")
    planned(out / "one", formats)  # unknown formats are refused before anything is predicted
    each = [kind for kind in formats if kind != "html"]
    batch, faces, lines = Batch(), None, list[dict[str, Any]]()
    clips: list[ViewerClip] = []
    for result in results:
        if isinstance(result, Refused):
            batch.failed.append(result)
            lines.append({"where": result.where, "name": result.name, "problem": result.problem})
        else:
            batch.done += 1
            files: list[Path] = []
            if each:
                files = write_trajectory(
                    result.trajectory, out / result.name, text=result.text, image=result.photo,
                    contact_point=result.contact_point_m, camera=result.camera, formats=each,
                )  # fmt: skip
            lines.append(_line(result, [str(path.relative_to(out)) for path in files]))
            if "html" in formats and len(clips) < MOST_SHOWN:
                faces = np.asarray(result.trajectory.faces)
                clips.append(_clip(result))
        progress(batch.done + len(batch.failed))
    if clips and faces is not None:
        from zoo.viewer import viewer_page

        write_whole(out / VIEWER, viewer_page(clips, faces, title=title).encode())
        batch.files.append(out / VIEWER)
        batch.shown = len(clips)
    write_whole(
        out / SUMMARY, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode()
    )
    batch.files.append(out / SUMMARY)
    return batch


def _clip(result: Predicted) -> ViewerClip:
    return viewer_clip(
        result.trajectory, title=result.name, text=result.text, photo=result.photo, camera=result.camera,
        contact_point_m=result.contact_point_m, truth_vertices_m=result.truth_vertices_m,
        truth_joints_m=result.truth_joints_m,
    )  # fmt: skip


def _line(result: Predicted, files: list[str]) -> dict[str, Any]:
    return {
        "where": result.where,
        "name": result.name,
        "text": result.text,
        "contact_point_m": result.contact_point_m,
        "wrist_path_cm": round(wrist_path_cm(result.trajectory), 2),
        "contact_by_finger": {k: round(v, 4) for k, v in contact_by_finger(result.trajectory).items()},
        "contact_threshold": result.trajectory.contact_threshold,
        "notes": result.notes,
        "files": files,
    }
