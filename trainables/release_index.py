"""What each of LatentAct's published pickles holds, found in one pass before anything is converted.

A pickle tells nothing until it is read whole. Files are therefore read once here, in parallel and one at a time in each
process, for the names of their clips, what motion says about the camera's axes, and which features lie where; what was
found is kept under $LATENTACT_CACHE by the file's content.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainables.feature_cache import cache_folder, content_key
from trainables.import_pool import map_unordered, progress_over
from trainables.plain_pickle import read_pickle_plainly
from trainables.release_camera import AxisEvidence, axis_evidence, stored_to_first
from trainables.release_pickles import (
    ClipEntry,
    ClipKey,
    feature_entries,
    length,
    read_contact_lists,
    read_entry,
)
from trainables.source_errors import SourceError
from trainables.source_fields import field, file_stamp, numbers
from trainables.whole_file import written_whole

TEXT_WIDTH = 512
_VERSION = b"1"  # of what is kept


@dataclass(frozen=True, kw_only=True)
class ContactIndex:
    path: Path
    stamp: str
    clips: list[ClipEntry]
    axes: AxisEvidence


@dataclass(frozen=True, kw_only=True)
class FeatureIndex:
    path: Path
    stamp: str
    clips: dict[ClipKey, int]  # -> row of text_XF, -1 where its text feature cannot be used
    text_XF: NDArray[np.float32]  # (texts, 512)


@dataclass(frozen=True, kw_only=True)
class _Task:
    path: Path
    stamp: str
    kind: str  # "contact" or "features"
    place: Path  # where the index is kept


def index_contacts(
    paths: Sequence[Path], *, workers: int | None, show_progress: bool
) -> tuple[dict[Path, ContactIndex], dict[Path, SourceError]]:
    """Indices of the contact files, and what is wrong with those that cannot be read."""
    tasks, failed = _index(paths, "contact", workers, show_progress)
    found = {}
    for task in tasks:
        said, _ = _kept(task.place)
        clips = [ClipEntry(key=key and tuple(key), text=text, frames=n) for key, text, n in said["clips"]]
        axes = AxisEvidence(**said["axes"])
        found[task.path] = ContactIndex(path=task.path, stamp=task.stamp, clips=clips, axes=axes)
    return found, failed


def index_features(
    paths: Sequence[Path], *, workers: int | None, show_progress: bool
) -> tuple[dict[Path, FeatureIndex], dict[Path, SourceError]]:
    """Indices of the feature files, and what is wrong with those that cannot be read."""
    tasks, failed = _index(paths, "features", workers, show_progress)
    found = {}
    for task in tasks:
        said, text_XF = _kept(task.place)
        clips = {(video, start, end): row for video, start, end, row in said["clips"]}
        found[task.path] = FeatureIndex(path=task.path, stamp=task.stamp, clips=clips, text_XF=text_XF)
    return found, failed


def _index(
    paths: Sequence[Path], kind: str, workers: int | None, show_progress: bool
) -> tuple[list[_Task], dict[Path, SourceError]]:
    tasks = []
    for path in paths:
        stamp = file_stamp(path)
        name = content_key(_VERSION, kind.encode(), stamp.encode())
        place = cache_folder() / "release-index" / f"{name}.npz"
        tasks.append(_Task(path=path, stamp=stamp, kind=kind, place=place))
    left = [task for task in tasks if not _is_kept(task.place)]
    done = len(tasks) - len(left)
    failed = {}
    results = map_unordered(_read, left, workers=workers)
    for task, error in progress_over(results, done=done, total=len(tasks), show=show_progress):
        if error is not None:
            failed[task.path] = error
    return [task for task in tasks if task.path not in failed], failed


def _read(task: _Task) -> SourceError | None:
    """Keeps what a file holds; runs in a worker. Returns what is wrong with the file."""
    try:
        said, text_XF = _contact_index(task.path) if task.kind == "contact" else _feature_index(task.path)
    except SourceError as error:
        return error
    _keep(task.place, said, text_XF)
    return None


def _contact_index(path: Path) -> tuple[dict[str, Any], NDArray[np.float32]]:
    lists = read_contact_lists(path)
    clips, axes = [], AxisEvidence()
    for clip in range(len(lists["names"])):
        try:
            entry = read_entry(lists, clip, path)
        except SourceError:  # said where it is converted; here its place in the order counts
            entry = ClipEntry(key=None, text=None, frames=length(lists["joints_cam"][clip]))
        clips.append([entry.key, entry.text, entry.frames])
        axes += _axes(lists, clip, path)
    return {"clips": clips, "axes": asdict(axes)}, np.zeros((0, TEXT_WIDTH), dtype=np.float32)


def _axes(lists: Mapping[str, Sequence[Any]], clip: int, path: Path) -> AxisEvidence:
    try:
        joints = numbers(lists["joints_cam"][clip], "joints_cam", path, shape=(None, 1, 21, 3))[:, 0]
        shape = (len(joints), 4, 4)
        rel_c2c = numbers(lists["rel_c2c"][clip], "rel_c2c", path, shape=shape, may_be_nan=True)
    except SourceError:
        return AxisEvidence()
    return axis_evidence(stored_to_first(rel_c2c), joints)


def _feature_index(path: Path) -> tuple[dict[str, Any], NDArray[np.float32]]:
    rows: dict[bytes, int] = {}
    clips = []
    for (video, start, end), fields in feature_entries(read_pickle_plainly(path), path):
        try:  # a text is the same in every frame
            first = field(fields, "text_feat", path)[0]
            feature = numbers(first, "text_feat", path, shape=(TEXT_WIDTH,)).astype(np.float32)
            row = rows.setdefault(feature.tobytes(), len(rows))
        except (SourceError, IndexError, TypeError, KeyError):
            row = -1
        clips.append([video, start, end, row])
    text_XF = np.frombuffer(b"".join(rows), dtype=np.float32).reshape(-1, TEXT_WIDTH)
    return {"clips": clips}, text_XF


def _is_kept(place: Path) -> bool:
    try:
        _kept(place)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return False
    return True


def _kept(place: Path) -> tuple[dict[str, Any], NDArray[np.float32]]:
    with np.load(place, allow_pickle=False) as kept:
        return json.loads(kept["said"].tobytes()), kept["text_XF"]


def _keep(place: Path, said: dict[str, Any], text_XF: NDArray[np.float32]) -> None:
    with written_whole(place) as file, file.open("wb") as stream:
        np.savez(stream, said=np.frombuffer(json.dumps(said).encode(), dtype=np.uint8), text_XF=text_XF)
