"""The gallery of a model: test clips to look at, out of the bundle's `gallery.json`.

A bundle names the clips and their figures. It holds their motion only where nobody else's rights are in it
(`sweeps/gallery.py`); for any other model `clips_from_data` makes the same gallery again from the data set, where the
user has it, and from the user's own hand file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zoo import contents, strict_json
from zoo.errors import ContentRefused, GalleryError
from zoo.viewer import ViewerClip

if TYPE_CHECKING:
    from trainables.hand import Hand
    from trainables.shown_window import ShownWindow

GALLERY = "gallery.json"
SCHEMA = 1
MAX_BYTES = 16 << 20
MOST_SHOWN, LONGEST_WINDOW = 24, 600

_TEXTS = ("part", "data", "data_digest", "setting", "group", "protocol", "hand")
_COUNTS = ("window", "stride", "clips", "groups")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One clip of the gallery, by the window that is shown of it."""

    roles: tuple[str, ...]  # best, median, worst or random
    clip: str
    group: str
    text: str
    start: int  # first frame of the window, within the clip
    windows: int
    clip_mpjpe_cm: float
    clip_contact_f1: float | None  # None where nothing touches and nothing was said to
    window_mpjpe_cm: float
    motion: dict[str, Any] | None

    @property
    def title(self) -> str:
        return f"{' and '.join(self.roles)}: {self.clip}"


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """What was chosen, out of how much."""

    part: str
    data: str
    data_digest: str
    setting: str
    group: str
    protocol: str
    hand: str
    window: int
    stride: int
    clips: int
    groups: int
    shown: tuple[Entry, ...]

    @property
    def is_embedded(self) -> bool:
        """Whether the motion of every clip is in the bundle."""
        return bool(self.shown) and all(entry.motion is not None for entry in self.shown)


def read_gallery(data: bytes) -> Gallery:
    """Read a bundle's gallery.json, which may come from anywhere. Raises ContentRefused."""
    try:
        record = strict_json.parse(data, limit=MAX_BYTES)
        if not isinstance(record, dict) or record.get("schema") != SCHEMA:
            raise ValueError(f"schema is not {SCHEMA}")
        shown = record.get("shown")
        if not isinstance(shown, list) or len(shown) > MOST_SHOWN:
            raise ValueError(f"shown is no list of at most {MOST_SHOWN}")
        found: dict[str, Any] = {name: _text(record, name) for name in _TEXTS}
        found |= {name: _whole(record, name) for name in _COUNTS}
        if not 1 <= found["window"] <= LONGEST_WINDOW:
            raise ValueError(f"window is not between 1 and {LONGEST_WINDOW}")
        return Gallery(**found, shown=tuple(_entry(entry) for entry in shown))
    except ValueError as error:
        raise ContentRefused(f"'{GALLERY}' is no gallery: {error}; publish the model again.") from error


def embedded_clips(gallery: Gallery, hand: Hand) -> list[ViewerClip]:
    """The clips whose motion is in the bundle, posed with `hand`.

    Raises:
        ContentRefused: a motion is malformed.
        GalleryError: they were made with another hand.
    """
    from trainables.shown_window import ShownWindow

    if hand.name != gallery.hand:
        raise GalleryError(
            f"the gallery was made with the hand '{gallery.hand}', and '{hand.name}' is loaded: "
            + ("set MANO_PATH to your MANO file." if gallery.hand == "mano" else "unset MANO_PATH.")
        )
    found = []
    for entry in gallery.shown:
        try:
            window = ShownWindow.from_json(entry.motion or {}, gallery.window)
            if window.picture is not None:
                contents.check_png(window.picture, f"{GALLERY}, picture of {entry.clip}")
            found.append(_viewer_clip(gallery, entry, window, hand))
        except ValueError as error:
            raise ContentRefused(
                f"'{GALLERY}', clip {entry.clip!r}: {error}; publish the model again."
            ) from error
    return found


def clips_from_data(
    gallery: Gallery,
    model: Any,
    data: str,
    *,
    inputs: dict[str, Any],
    say: Callable[[str], object] = lambda line: None,
) -> list[ViewerClip]:
    """The same clips predicted here, from the data set at `data` (a folder or s3:// address).

    model: a loaded model of the zoo. inputs: what metrics.json says that training told it.
    Raises GalleryError where `data` is not the data set that the model was tested on, or lacks a clip.
    """
    try:
        from trainables.clips import read_clips
    except ImportError as error:
        raise GalleryError(
            f"reading clips needs a library that is not here ({error}): pip install 'latentact-zoo[train]'."
        ) from error
    import torch

    from trainables.shown_window import model_windows, show_window

    clips = read_clips(data)
    if clips.digest != gallery.data_digest:
        raise GalleryError(
            f"--data {data} is {clips.name} {clips.digest[:16]}, and the gallery's clips are of {gallery.data} "
            f"{gallery.data_digest[:16]}: give the data set that the model was tested on."
        )
    if clips.hand != model.hand.name:
        raise GalleryError(
            f"--data {data} was made with the hand '{clips.hand}', and '{model.hand.name}' is loaded: set or unset "
            "MANO_PATH."
        )
    place = {clip_id: i for i, clip_id in enumerate(clips.clip_ids)}
    for entry in gallery.shown:
        if entry.clip not in place:
            raise GalleryError(f"--data {data} has no clip {entry.clip!r}: prepare the data again.")
    windows = model_windows(
        model,
        clips,
        torch.tensor([place[entry.clip] for entry in gallery.shown]),
        protocol=gallery.protocol,
        hand_free=bool(inputs.get("hand_free", False)),
        hidden=str(inputs.get("hidden", "")),
    )
    found = []
    for number, entry in enumerate(gallery.shown, 1):
        say(f"predicting {number} of {len(gallery.shown)}: {entry.title}")
        rows = (windows.clip_N == place[entry.clip]) & (windows.start_N == entry.start)
        if not bool(rows.any()):
            raise GalleryError(
                f"clip {entry.clip!r} has no window at frame {entry.start}: publish the model again."
            )
        window = show_window(model, windows, int(rows.nonzero()[0]))
        found.append(_viewer_clip(gallery, entry, window, model.hand))
    return found


def _viewer_clip(gallery: Gallery, entry: Entry, window: ShownWindow, hand: Hand) -> ViewerClip:
    vertices, joints = window.predicted.posed(hand)
    true_vertices, true_joints = window.true.posed(hand) if window.true else (None, None)
    f1 = entry.clip_contact_f1
    figures: dict[str, float | str] = {
        "MPJPE of the clip, cm": f"{entry.clip_mpjpe_cm:.2f}",
        "contact F1 of the clip": "no contact" if f1 is None else f"{f1:.3f}",
        "MPJPE of this second, cm": f"{entry.window_mpjpe_cm:.2f}",
        f"held-out {gallery.group}": entry.group,
        "windows of the clip": str(entry.windows),
        "first frame": str(entry.start),
    }
    return ViewerClip(
        title=entry.title,
        text=entry.text,
        vertices_m=vertices,
        contact_probability=window.contact_TV,
        joints_m=joints,
        truth_vertices_m=true_vertices,
        truth_joints_m=true_joints,
        contact_point_m=window.contact_point_3,
        photo=window.picture,
        camera_K=window.camera_K,
        contact_threshold=round(window.contact_threshold, 3),
        figures=figures,
        note=""
        if window.true
        else "The camera's motion is not known: the true hand cannot be shown beside it.",
    )


def _entry(record: Any) -> Entry:
    if not isinstance(record, dict):
        raise ValueError("a clip is no object")  # noqa: TRY004 what is wrong with a file is one error
    roles, f1, motion = (record.get(name) for name in ("roles", "clip_contact_f1", "motion"))
    if not isinstance(roles, list) or not roles or not all(isinstance(role, str) for role in roles):
        raise ValueError("roles is no list of words")
    if motion is not None and not isinstance(motion, dict):
        raise ValueError("motion is neither an object nor null")
    return Entry(
        roles=tuple(role[:20] for role in roles[:4]),
        clip=_text(record, "clip"),
        group=_text(record, "group"),
        text=_text(record, "text"),
        start=_whole(record, "start"),
        windows=_whole(record, "windows"),
        clip_mpjpe_cm=_number(record, "clip_mpjpe_cm"),
        clip_contact_f1=None if f1 is None else _number(record, "clip_contact_f1"),
        window_mpjpe_cm=_number(record, "window_mpjpe_cm"),
        motion=motion,
    )


def _text(record: dict[str, Any], name: str) -> str:
    value = record.get(name)
    if not isinstance(value, str) or len(value) > 1000:
        raise ValueError(f"{name} is no text of at most 1000 characters")
    return "".join(character for character in value if character.isprintable())


def _whole(record: dict[str, Any], name: str) -> int:
    value = record.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{name} is no whole number from 0 on")
    return value


def _number(record: dict[str, Any], name: str) -> float:
    value = record.get(name)
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise ValueError(f"{name} is no number")  # noqa: TRY004
    return float(value)
