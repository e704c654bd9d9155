"""Saved results of SAM 2: where the object is seen in each frame of a video. Masks are decoded when asked for.

Layouts, a video each, in the order in which `masks_file` looks for them:

    <video>_obj_masks.pkl          LatentAct's release: {frame: {"mask": Pillow picture or bool array, "box": xyxy}}
    <video>/<frame>.png            SAM 2's tools/vos_inference.py: a palette picture, the pixel is the object's number
    <video>/<object>/<frame>.png   the same with --per_obj_png_file, and SA-V's val and test parts
    <video>_manual.json, _auto.json   SA-V (sav_dataset/README.md): "masklet" is a list over every fourth frame (every
                                   frame, where it is as long as video_frame_count) of a list over objects of COCO codes
    <video>.json, <video>.pkl      the dict that notebooks/video_predictor_example.ipynb collects, `video_segments`:
                                   {frame: {object: mask}}; a mask is a COCO code (JSON) or a bool array (1, H, W)

SAM 2 is github.com/facebookresearch/sam2. A frame's mask is the union of its objects', or of those that are asked for.
Frames count from 0, as SAM 2's video predictor does; PNGs carry the name of the frame that they were made from.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trainables import source_fields
from trainables.pickled_picture import (
    ArraysAndPictures,
    PickledPicture,
    pack_mask,
    packed_picture,
)
from trainables.plain_pickle import read_pickle_plainly
from trainables.run_lengths import decode_runs, is_run_lengths
from trainables.saved_results import frame_files, frame_number, results_of
from trainables.source_errors import DamagedFile, MissingField, WrongShape, WrongType
from trainables.source_fields import Where, numbers, read_bytes

SA_V_EVERY = 4  # sav_dataset/utils/sav_utils.py: 24 fps videos are annotated at 6 fps
_MODES = ("1", "L", "P", "I", "I;16")


class Stored(Protocol):
    """A mask that is not decoded yet."""

    def decode(self) -> NDArray[np.bool_]: ...


@dataclass(frozen=True, kw_only=True)
class RunLengths:
    code: Mapping[str, Any]
    file: Where
    name: str

    def decode(self) -> NDArray[np.bool_]:
        return decode_runs(self.code, self.file, self.name)


@dataclass(frozen=True, kw_only=True)
class Png:
    """A picture whose pixels are objects' numbers; `objects` None means any but 0."""

    path: Path
    objects: tuple[int, ...] | None

    def decode(self) -> NDArray[np.bool_]:
        try:
            with Image.open(self.path, formats=["PNG"]) as picture:
                mode, pixels = picture.mode, np.asarray(picture)
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise DamagedFile(self.path, f"is no readable PNG ({error}); save it again.") from error
        if mode not in _MODES:
            raise WrongType(
                self.path, f"has mode {mode}, not one channel of objects' numbers; save it as SAM 2 does."
            )
        return pixels > 0 if self.objects is None else np.isin(pixels, self.objects)


@dataclass(frozen=True, kw_only=True)
class ObjectMasks:
    """The masks of a video, as they are stored."""

    file: Where
    stored: dict[int, tuple[Stored, ...]] = field(repr=False)  # frame -> its objects

    @property
    def frames(self) -> list[int]:
        """Numbers of the frames that have a mask (which may be empty), ascending."""
        return list(self.stored)

    def mask(self, frame: int) -> NDArray[np.bool_]:
        """The object's visible pixels (H, W) in a frame. Raises SourceError, MissingField for a frame without one."""
        if frame not in self.stored:
            raise MissingField(self.file, "has no mask of this frame; ask for `frames`.", field=str(frame))
        masks = [one.decode() for one in self.stored[frame]]
        if len({mask.shape for mask in masks}) != 1:
            raise WrongShape(self.file, "its objects' masks have different sizes.", field=str(frame))
        return np.logical_or.reduce(masks)


def masks_file(folder: Where, video: str) -> Path:
    """The file or folder of a video's masks; where there is none, the one that the release would have."""
    ends = ("_obj_masks.pkl", "", "_manual.json", "_auto.json", ".json", ".pkl")
    return results_of(folder, (video + end for end in ends))


def read_object_masks(path: Where, objects: Collection[int] | None = None) -> ObjectMasks:
    """The masks of a video from one of the layouts above. `objects`: numbers of those that count, else all.

    Raises MissingFile, HostileFile, DamagedFile, and the other SourceErrors for a frame's entry.
    """
    path = Path(path)
    wanted = None if objects is None else tuple(sorted(objects))
    if path.suffix == ".pkl":
        content = read_pickle_plainly(path, ArraysAndPictures)
        stored = _by_frame(content, path, wanted)
    elif path.suffix == ".json":
        try:
            content = json.loads(read_bytes(path))
        except (ValueError, RecursionError) as error:
            raise DamagedFile(path, f"is no readable JSON ({error}); save it again.") from error
        masklets = isinstance(content, Mapping) and "masklet" in content
        stored = _sa_v(content, path, wanted) if masklets else _by_frame(content, path, wanted)
    else:
        stored = _pngs(path, wanted)
    return ObjectMasks(file=path, stored=dict(sorted(stored.items())))


def _pngs(folder: Path, wanted: tuple[int, ...] | None) -> dict[int, tuple[Stored, ...]]:
    packed = frame_files(folder, (".png",))
    if packed:
        return {frame: (Png(path=path, objects=wanted),) for frame, path in packed.items()}
    stored: dict[int, tuple[Stored, ...]] = {}
    for each in sorted(path for path in folder.iterdir() if path.is_dir() and path.name.isdigit()):
        if wanted is None or int(each.name) in wanted:
            for frame, path in frame_files(each, (".png",)).items():
                stored[frame] = (*stored.get(frame, ()), Png(path=path, objects=None))
    return stored


def _by_frame(content: Any, file: Path, wanted: tuple[int, ...] | None) -> dict[int, tuple[Stored, ...]]:
    if not isinstance(content, Mapping):
        raise WrongType(file, f"holds a {type(content).__name__}, not a dict of frames; fetch it again.")
    stored = {}
    for key, entry in content.items():
        frame = frame_number(key, file)
        if entry is None:
            continue
        if isinstance(entry, Mapping) and "mask" in entry:  # the release: one object
            parts = {"mask": entry["mask"]}
        elif is_run_lengths(entry) or not isinstance(entry, Mapping | list):
            parts = {"": entry}
        elif isinstance(entry, Mapping):
            parts = {
                str(number): mask
                for number, mask in entry.items()
                if wanted is None or frame_number(number, file) in wanted
            }
        else:
            parts = {str(n): mask for n, mask in enumerate(entry) if wanted is None or n in wanted}
        masks = [
            _stored(mask, file, f"{key}.{name}".rstrip("."))
            for name, mask in parts.items()
            if mask is not None
        ]
        if masks:
            stored[frame] = tuple(masks)
    return stored


def _stored(mask: Any, file: Path, name: str) -> Stored:
    if is_run_lengths(mask):
        return RunLengths(code=mask, file=file, name=name)
    if isinstance(mask, PickledPicture):
        try:
            return packed_picture(mask)
        except ValueError as error:
            raise WrongType(file, f"is no mask ({error}); save it again.", field=name) from error
    array = np.asarray(mask) if isinstance(mask, np.ndarray) else None
    if array is None:
        raise WrongType(file, f"is a {type(mask).__name__}, not a mask; save it again.", field=name)
    if array.ndim == 3 and len(array) == 1:
        array = array[0]
    if array.dtype.kind == "f":
        raise WrongType(
            file,
            "holds numbers with fractions, not a mask; store what is above 0 (SAM 2's logits).",
            field=name,
        )
    values = numbers(array, name, file, shape=(None, None))
    if not values.size:
        raise WrongShape(file, "is empty; save it again.", field=name)
    return pack_mask(values > 0)


def _sa_v(content: Any, file: Path, wanted: tuple[int, ...] | None) -> dict[int, tuple[Stored, ...]]:
    frames = content["masklet"]
    if not isinstance(frames, list) or not all(isinstance(entry, list) for entry in frames):
        raise WrongType(file, "is no list over frames of lists over objects.", field="masklet")
    count = numbers(
        source_fields.field(content, "video_frame_count", file), "video_frame_count", file, shape=(), low=0
    )
    every = 1 if len(frames) == int(count) else SA_V_EVERY
    ids = numbers(
        source_fields.field(content, "masklet_id", file), "masklet_id", file, shape=(None,)
    ).tolist()
    stored: dict[int, tuple[Stored, ...]] = {}
    for i, codes in enumerate(frames):
        if len(codes) > len(ids):
            raise WrongShape(
                file, f"has {len(codes)} objects where masklet_id has {len(ids)}.", field=f"masklet.{i}"
            )
        parts = [
            _stored(code, file, f"masklet.{i}.{n}")
            for n, code in enumerate(codes)
            if wanted is None or ids[n] in wanted
        ]
        if parts:
            stored[i * every] = tuple(parts)
    return stored
