"""The pickles of LatentAct's published annotations, as plain containers: a clip is one entry of parallel lists.

A contact file is a dict of lists with one entry for each clip of n frames:

    joints, joints_cam, joints_ref (n, 1, 21, 3)  MANO's joints, those plus cam_t, those in the first camera
    thetas (n, 16, 3)                             axis-angle, flat mean: global orientation, then 15 joints
    betas (n, 10), cam_t (n, 1, 3)                shape of each frame, translation in the frame's camera
    rel_c2c (n, 4, 4)                             first camera to the frame's, see release_camera
    names, ranges, tasks                          recording, (first, last) frame of the action, "verb noun"
    contacts, contact_maps                        n arrays (k, 3) of points in the frame's camera; n arrays (778,)

A feature file is {recording: {(first, last): fields}} with tf_feat (last-first+1, 768) and text_feat (.., 512).
Metres and radians. Field names and shapes are those that the loaders of github.com/ap229997/latentact read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trainables.plain_pickle import read_pickle_plainly
from trainables.source_errors import WrongType
from trainables.source_fields import field, numbers, same_length, text

CLIP_LISTS = (
    "joints", "joints_cam", "joints_ref", "thetas", "betas", "cam_t", "rel_c2c", "names", "ranges", "tasks",
    "contacts", "contact_maps",
)  # fmt: skip
ClipKey = tuple[str, int, int]  # recording, first and last frame of the action


@dataclass(frozen=True, kw_only=True)
class ClipEntry:
    """A clip in its file. `key` is None where its name or range cannot be read."""

    key: ClipKey | None
    text: str | None  # "verb noun"
    frames: int

    @property
    def name(self) -> str | None:
        return None if self.key is None else f"{self.key[0]}/{self.key[1]:06d}-{self.key[2]:06d}"


def read_contact_lists(path: Path) -> dict[str, Sequence[Any]]:
    """The parallel lists of a contact pickle, one entry a clip. Raises SourceError."""
    content = read_pickle_plainly(path)
    lists = {name: field(content, name, path) for name in CLIP_LISTS}
    for name, values in lists.items():
        if not isinstance(values, list | tuple | np.ndarray):
            raise WrongType(path, f"is a {type(values).__name__}, not a list; fetch it again.", field=name)
    same_length(lists, path)
    return lists


def read_entry(lists: Mapping[str, Sequence[Any]], clip: int, path: Path) -> ClipEntry:
    """Which clip it is. Raises SourceError."""
    name = text(lists["names"][clip], f"names[{clip}]", path)
    start, end = frame_range(lists["ranges"][clip], f"ranges[{clip}]", path)
    task = text(lists["tasks"][clip], f"tasks[{clip}]", path)
    return ClipEntry(key=(name, start, end), text=task, frames=length(lists["joints_cam"][clip]))


def frame_range(value: Any, name: str, path: Path) -> tuple[int, int]:
    """(first, last) frame of an action, both inclusive. Raises SourceError."""
    start, end = numbers(value, name, path, shape=(2,), low=0, high=1e7)
    return int(start), int(end)


def feature_entries(content: Any, path: Path) -> list[tuple[ClipKey, Any]]:
    """The clips of a feature pickle {video: {(first, last): fields}}. Raises WrongType, WrongShape, WrongValue."""
    if not isinstance(content, Mapping):
        raise WrongType(path, f"holds a {type(content).__name__}, not recordings by name; fetch it again.")
    entries = []
    for video, clips in content.items():
        if not isinstance(clips, Mapping):
            raise WrongType(path, "holds no clips by their range; fetch it again.", field=str(video))
        for key, fields in clips.items():
            start, end = frame_range(key, f"{video}[{key}]", path)
            entries.append(((text(video, "video", path), start, end), fields))
    return entries


def length(value: Any) -> int:
    """Entries of a list or rows of an array; 0 of anything else."""
    try:
        return len(value)
    except TypeError:
        return 0
