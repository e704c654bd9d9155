"""HoloAssist's action labels: who did what, when, in which recording (Wang et al., ICCV 2023).

    data-annotation-trainval-v1_1.json   list of {video_name, taskType, videoMetadata: {video: {fps}}, events: [{label,
                                         start, end (seconds), attributes: {Verb, Noun, "Action Correctness",
                                         adverbial}}]}

as HoloAssist's README ("Annotation Structure") describes it and its own label script reads it. A condensed form is
read too: list of {video, task, fps, fine: [[start, end, verb, adjective, noun, adverbial, correctness]]}. Either may be
gzipped. Names of recordings may be written as in a URL ("%20" for a blank), verbs and nouns as lists of one.
"""

from __future__ import annotations

import gzip
import json
import math
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from trainables.source_errors import DamagedFile, SourceError, WrongShape, WrongType, WrongValue
from trainables.source_fields import field as taken
from trainables.source_fields import read_bytes, text

LABEL_FILE = "data-annotation-trainval-v1_1.json"
UNREADABLE = "its label cannot be read"
FPS_RANGE = (5.0, 120.0)


class FineAction(NamedTuple):
    """One fine-grained action of a label file, times in seconds from the video's start."""

    start_s: float
    end_s: float
    verb: str
    noun: str
    adverbial: str | None  # None: the label has no such field; the annotators' "none" is a value of it
    correctness: str


@dataclass(frozen=True, kw_only=True)
class LabelledVideo:
    video: str  # name of the recording, which is its folder's
    task: str | None
    fps: float  # rounded to two decimals by the annotators
    actions: tuple[FineAction, ...]


@dataclass(frozen=True, kw_only=True)
class Labels:
    """A label file that has been read; what was wrong with single videos and actions is said, not raised."""

    videos: list[LabelledVideo]
    unreadable_videos: dict[str, str] = field(default_factory=dict)  # name, or place in the file -> why
    unreadable_actions: Counter[str] = field(default_factory=Counter)  # video -> how many

    @property
    def fine_actions(self) -> int:
        """All fine actions of the file, the unreadable ones included."""
        return sum(len(video.actions) for video in self.videos) + self.unreadable_actions.total()


def read_labels(path: Path) -> Labels:
    """Read the official label file or its condensed form. Raises SourceError where the whole file is of no use."""
    data = read_bytes(path)
    try:
        content = json.loads(gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data)
    except (ValueError, OSError, EOFError, zlib.error, RecursionError) as error:
        raise DamagedFile(path, f"is no readable JSON ({error}); fetch the file again.") from error
    if not isinstance(content, list):
        raise WrongType(
            path, f"holds a {type(content).__name__}, not a list of videos; give HoloAssist's {LABEL_FILE}."
        )
    if not content:
        raise WrongShape(path, f"lists no video; give HoloAssist's {LABEL_FILE}.")
    videos: dict[str, LabelledVideo] = {}
    unreadable: dict[str, str] = {}
    lost: Counter[str] = Counter()
    for place, entry in enumerate(content):
        try:
            video, bad = _video(entry, path)
        except SourceError as error:
            unreadable[_name_of(entry) or f"video {place} of {path.name}"] = str(error)
            continue
        if video.video in videos:
            unreadable[f"{video.video} (entry {place})"] = f"{path}: labels {video.video!r} a second time."
            continue
        videos[video.video] = video
        lost[video.video] += bad
    if not videos:
        raise WrongType(
            path, f"no entry is a labelled video: {next(iter(unreadable.values()))}", field="video_name"
        )
    return Labels(videos=list(videos.values()), unreadable_videos=unreadable, unreadable_actions=+lost)


def _video(entry: Any, path: Path) -> tuple[LabelledVideo, int]:
    """One video of either form, and how many of its actions could not be read."""
    condensed = isinstance(entry, Mapping) and "video_name" not in entry and "video" in entry
    name_field = "video" if condensed else "video_name"
    name = text(taken(entry, name_field, path), name_field, path).replace("%20", " ")
    if "/" in name or "\\" in name or "\0" in name or name in (".", ".."):
        raise WrongValue(path, f"{name!r} is no name of a folder; fetch the file again.", field=name_field)
    fps_field = "fps" if condensed else "videoMetadata.video.fps"
    fps = entry
    for key in fps_field.split("."):
        fps = taken(fps, key, path)
    if isinstance(fps, bool) or not isinstance(fps, int | float):
        raise WrongType(path, f"of {name!r} is a {type(fps).__name__}, not a number.", field=fps_field)
    if not FPS_RANGE[0] <= fps <= FPS_RANGE[1]:  # also NaN
        raise WrongValue(
            path, f"of {name!r} is {fps} frames a second; fetch the file again.", field=fps_field
        )
    events_field = "fine" if condensed else "events"
    events = taken(entry, events_field, path)
    if not isinstance(events, list):
        raise WrongType(path, f"of {name!r} is a {type(events).__name__}, not a list.", field=events_field)
    parsed = list(_condensed(events) if condensed else _official(events))
    actions = tuple(action for action in parsed if action is not None)
    task = entry.get("task" if condensed else "taskType")
    task = task if isinstance(task, str) and task.strip() else None
    return LabelledVideo(video=name, task=task, fps=float(fps), actions=actions), len(parsed) - len(actions)


def _official(events: list[Any]) -> Iterable[FineAction | None]:
    for event in events:
        if not isinstance(event, Mapping) or not isinstance(event.get("label"), str):
            yield None
        elif "Fine" in event["label"]:  # "Fine grained action"; others are narration, talk, coarse actions
            attributes = event.get("attributes")
            if isinstance(attributes, Mapping):
                yield _action(
                    event.get("start"), event.get("end"), attributes.get("Verb"), attributes.get("Noun"),
                    attributes.get("adverbial"), attributes.get("Action Correctness"),
                )  # fmt: skip
            else:
                yield None


def _condensed(rows: list[Any]) -> Iterable[FineAction | None]:
    for row in rows:
        if isinstance(row, list) and len(row) == 7:
            start, end, verb, _, noun, adverbial, correctness = row
            yield _action(start, end, verb, noun, adverbial, correctness)
        else:
            yield None


def _action(
    start: Any, end: Any, verb: Any, noun: Any, adverbial: Any, correctness: Any
) -> FineAction | None:
    """None where times or words are not what they must be."""
    words = [_word(verb), _word(noun)]
    if not all(words):
        return None
    try:
        begin, stop = float(start), float(end)
    except (TypeError, ValueError):
        return None
    if not (math.isfinite(begin) and math.isfinite(stop)):
        return None
    return FineAction(
        start_s=begin,
        end_s=stop,
        verb=words[0],
        noun=words[1],
        adverbial=None if adverbial is None else str(adverbial),
        correctness=correctness if isinstance(correctness, str) else "",
    )


def _word(value: Any) -> str:
    if isinstance(value, list) and value:
        value = value[0]
    return value.strip().lower() if isinstance(value, str) else ""


def _name_of(entry: Any) -> str:
    if not isinstance(entry, Mapping):
        return ""
    name = entry.get("video_name", entry.get("video"))
    return name if isinstance(name, str) else ""
