"""What is wrong, or odd, with a data set: each finding says where, how much, and what to do."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainables.clip_format import WINDOW_FPS
from trainables.inspect_figures import Figures, duplicates
from trainables.recording import PALM_RANGE_M

Array = NDArray[Any]
SEVERITIES = ("error", "warning", "note")
MOST_EXAMPLES = 20  # of a finding; `count` says how many there are
SAME_HAND_MM = 20.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finding:
    """One kind of problem. error: a model trained on this learns something false. warning: look at it. note: know it.

    examples: (clip or group, value), the worst first, at most MOST_EXAMPLES.
    """

    severity: str
    check: str
    field: str
    what: str
    remedy: str
    count: int = 1
    examples: list[tuple[str, str]] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True)
class _Range:
    """Clips whose value of `column` lies below low or above high."""

    severity: str
    check: str
    column: str
    low: float
    high: float
    field: str
    unit: str
    what: str
    remedy: str


_INF = math.inf
# The importers cut recordings at 5 m/s between two frames; the hair above it is rounding to float32.
_SPEED_M_PER_S = 5.0 * 1.001
_RANGES = (
    _Range("error", "not finite", "not_finite", -_INF, 0, "global_orient, hand_pose, transl_m, joints_m or betas",
           "frames", "holds numbers that are not finite", "import it again; drop the recording if that stays"),
    _Range("error", "fast joint", "speed_m_per_s", -_INF, _SPEED_M_PER_S, "joints_m", "m/s",
           "a joint moves faster than 5 m/s between two frames",
           "tracking jumped, or fps is wrong: import with the jumps cut (steady_run), or check fps"),
    _Range("error", "palm length", "palm_m", *PALM_RANGE_M, "joints_m", "m",
           "wrist to middle knuckle is not 4 to 15 cm", "another unit or another joint order: give metres, OpenPose order"),
    _Range("error", "behind the camera", "nearest_m", 0.0, _INF, "joints_m", "m",
           "a joint lies behind the camera that sees it",
           "the camera's axes are not OpenCV's (x right, y down, z forward), or joints are in the room"),
    _Range("warning", "far away", "farthest_m", -_INF, 3.0, "joints_m", "m", "the wrist is more than 3 m from the camera",
           "another unit, or joints in the room instead of the camera"),
    _Range("error", "contact point far away", "point_off_m", -_INF, 0.10, "contact_point_m", "m",
           "the contact point is more than 10 cm from every joint",
           "the point is in another camera's axes or unit than the joints"),
    _Range("error", "contact without a point", "touch_without_point", -_INF, 0, "contact_point_m", "frames",
           "frames touch (contact_bits) but have no contact point", "write the centroid of the touching vertices"),
    _Range("error", "point without contact", "point_without_touch", -_INF, 0, "contact_bits", "frames",
           "frames have a contact point but no vertex is known to touch",
           "set the point to NaN, or write the contact map that it came from"),
    _Range("error", "hand model", "joint_error_mm", -_INF, SAME_HAND_MM, "hand_pose", "mm",
           "the hand parameters give other joints than those stored (median)",
           "parameters of another hand model, of a left hand, or with a mean pose: fit them again by inverse kinematics"),
    _Range("error", "contact point off its vertices", "centroid_off_mm", -_INF, 20.0, "contact_point_m", "mm",
           "the contact point is not the mean of the touching vertices",
           "vertices are numbered otherwise than MANO's, or the point is in another camera's axes"),
    _Range("error", "camera is no rotation", "camera_bend", -_INF, 1e-2, "camera_to_first", "",
           "camera_to_first is no rotation and translation (scaled, sheared or mirrored)",
           "give [R|t] with R orthonormal and of determinant 1"),
    _Range("error", "camera does not start at itself", "camera_start", -_INF, 1e-3, "camera_to_first", "",
           "frame 0's transform to the camera of frame 0 is not the identity",
           "multiply all by the inverse of the first"),
    _Range("warning", "large rotation", "rotation_rad", -_INF, math.pi * 1.001, "hand_pose", "rad",
           "a joint is turned by more than half a turn", "degrees in place of radians, or no axis-angle"),
    _Range("warning", "shape", "betas_most", -_INF, 5.0, "betas", "", "a shape coefficient is more than 5 from the mean",
           "a failed fit: fit one shape a person over more frames"),
    _Range("warning", "constant motion", "moves_m", 0.002, _INF, "joints_m", "m",
           "no joint moves more than 2 mm in the whole clip", "drop it: a still hand teaches that nothing happens"),
    _Range("warning", "frozen", "frozen_s", -_INF, 0.5, "joints_m", "s", "the joints stand perfectly still within the clip",
           "frames repeated by a dropped video or tracker: cut the clip there"),
    _Range("warning", "frame rate", "fps", 5.0, 240.0, "fps", "fps", "the frame rate is not 5 to 240",
           "give frames per second, not the time between frames"),
)  # fmt: skip
# What stands out among the clips, however right it may be.
_OUTLYING = {
    "seconds": ("s", "length"),
    "palm_m": ("m", "palm length"),
    "farthest_m": ("m", "greatest distance"),
    "speed_m_per_s": ("m/s", "greatest speed"),
    "joint_error_mm": ("mm", "joint error of the hand model"),
}
_OUTLYING_MADS = 8.0


def clip_findings(figures: Figures) -> Iterator[Finding]:
    """Everything that can be said of clips one by one, and of the frames and texts of all."""
    for check in _RANGES:
        if check.column not in figures.by_clip:
            continue
        values = figures.by_clip[check.column]
        bad = np.flatnonzero((values < check.low) | (values > check.high))
        if len(bad):
            worst = bad[np.argsort(-np.abs(values[bad]), kind="stable")]
            if check.low > -_INF and (values[bad] < check.low).all():
                worst = worst[::-1]
            yield _of_clips(figures, check.severity, check.check, check.field, check.what, check.remedy,
                            worst, [f"{values[i]:.4g} {check.unit}".strip() for i in worst])  # fmt: skip
    yield from _lengths(figures)
    yield from _repeated(figures)
    yield from _rates(figures)
    yield from _unknown(figures)
    yield from _texts(figures)
    yield from _standing_out(figures)


def _of_clips(
    figures: Figures,
    severity: str,
    check: str,
    field: str,
    what: str,
    remedy: str,
    rows: Array,
    values: list[str],
) -> Finding:
    names = [figures.ids[i] for i in rows]
    return Finding(
        severity=severity, check=check, field=field, what=what, remedy=remedy, count=len(names),
        examples=list(zip(names, values, strict=True))[:MOST_EXAMPLES],
    )  # fmt: skip


def _lengths(figures: Figures) -> Iterator[Finding]:
    if figures.empty:
        yield Finding(
            severity="error", check="no frame", field="transl_m", what="clips hold no frame at all",
            remedy="leave them out of the data set", count=len(figures.empty),
            examples=[(name, "0 frames") for name in figures.empty[:MOST_EXAMPLES]],
        )  # fmt: skip
    short = np.flatnonzero(figures.by_clip["windows"] == 0)
    if len(short):
        every = len(short) == len(figures)
        yield _of_clips(
            figures, "error" if every else "warning", "short clip", "transl_m",
            ("every clip is" if every else "clips are") + f" shorter than a window of {figures.window} frames at 30 fps",
            "they give no window: record longer, or train with a shorter window (--window)",
            short, [f"{figures.by_clip['seconds'][i]:.3g} s" for i in short],
        )  # fmt: skip


def _repeated(figures: Figures) -> Iterator[Finding]:
    pairs = duplicates(figures.motion)
    if pairs:
        yield _of_clips(
            figures, "error", "duplicate motion", "joints_m", "clips hold the same motion as another clip",
            "keep one: a copy in another part of a split gives the answer away",
            np.array([clip for clip, _ in pairs]), [f"as {figures.ids[other]}" for _, other in pairs],
        )  # fmt: skip
    twice = [name for name, count in Counter(figures.ids).items() if count > 1]
    if twice:
        yield Finding(
            severity="error", check="duplicate name", field="clip_id", what="several clips have one name",
            remedy="name every clip once", count=len(twice), examples=[(n, "twice") for n in twice[:MOST_EXAMPLES]],
        )  # fmt: skip


def _rates(figures: Figures) -> Iterator[Finding]:
    rates = Counter(round(float(fps), 3) for fps in figures.by_clip["fps"])
    other = {fps: count for fps, count in rates.items() if fps != WINDOW_FPS}
    if other:
        yield Finding(
            severity="note", check="other frame rate", field="fps",
            what=f"clips are not at 30 fps and are resampled when read ({len(rates)} rates in all)",
            remedy="nothing, if the rates are those of the cameras", count=sum(other.values()),
            examples=[(f"{fps:g} fps", f"{n} clips") for fps, n in Counter(other).most_common(MOST_EXAMPLES)],
        )  # fmt: skip


def _unknown(figures: Figures) -> Iterator[Finding]:
    frames = figures.by_clip["frames"]
    for column, check, name, consequence in (
        (
            "camera_known",
            "camera unknown",
            "camera_to_first",
            "errors in the first camera's axes leave them out",
        ),
        ("contact_known", "contact unknown", "contact_known", "contact is neither learnt nor scored there"),
    ):
        missing = frames - figures.by_clip[column]
        rows = np.argsort(-missing / frames, kind="stable")[: int((missing > 0).sum())]
        if len(rows):
            share = missing.sum() / frames.sum()
            yield _of_clips(
                figures, "warning" if share > 0.5 else "note", check, name,
                f"clips have frames whose {name.split('_')[0]} is unknown ({share:.1%} of all frames)", f"{consequence}; nothing, if the source has none",
                rows, [f"{missing[i] / frames[i]:.0%} of its frames" for i in rows],
            )  # fmt: skip


def _texts(figures: Figures) -> Iterator[Finding]:
    empty = np.array(
        [i for i, texts in enumerate(figures.texts) if not all(text.strip() for text in texts)], dtype=int
    )
    if len(empty):
        yield _of_clips(
            figures, "warning", "empty text", "text", "clips have an empty text",
            "write what is done: the text is an input of the model", empty, ["empty"] * len(empty),
        )  # fmt: skip
    clips = Counter(text for texts in figures.texts for text in set(texts))
    rare = sorted(text for text, count in clips.items() if count == 1 and text.strip())
    if rare:
        yield Finding(
            severity="note", check="rare text", field="text", count=len(rare),
            what=f"texts occur in a single clip (of {len(clips)} different texts)",
            remedy="a spelling of its own? else nothing", examples=[(text, "1 clip") for text in rare[:MOST_EXAMPLES]],
        )  # fmt: skip


def _standing_out(figures: Figures) -> Iterator[Finding]:
    for column, (unit, name) in _OUTLYING.items():
        values = figures.by_clip.get(column)
        if values is None or np.isfinite(values).sum() < 10:
            continue
        middle = np.nanmedian(values)
        spread = 1.4826 * np.nanmedian(np.abs(values - middle))
        away = np.abs(values - middle) / max(spread, 1e-3 * abs(middle), 1e-9)
        rows = np.flatnonzero(away > _OUTLYING_MADS)
        rows = rows[np.argsort(-away[rows], kind="stable")]
        if len(rows):
            yield _of_clips(
                figures, "note", f"outlying {name}", column.rsplit("_m", 1)[0],
                f"{name} stands out from the other clips (median {middle:.3g} {unit})",
                "look at them in the contact sheet", rows, [f"{values[i]:.3g} {unit}" for i in rows],
            )  # fmt: skip
