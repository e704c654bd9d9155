"""The validator's page: one HTML file that needs nothing else, light or dark, on a desk or a telephone."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from trainables.clip_format import GROUPS
from trainables.hand import FINGERS, Hand
from trainables.inspect_charts import bars, boxes, histogram
from trainables.inspect_figures import Figures
from trainables.inspect_findings import MOST_EXAMPLES, SEVERITIES, Finding
from trainables.inspect_sheet import FRAMES, Shown, contact_picture
from trainables.inspect_splits import group_table, split_table, totals
from trainables.inspect_template import PAGE
from trainables.recording import PALM_RANGE_M

MOST_GROUPS = 30


def page(
    *,
    place: str,
    digest: str,
    manifest: dict[str, Any],
    figures: Figures,
    findings: Sequence[Finding],
    shown: Sequence[Shown],
    hand: Hand | None,
) -> str:
    """The page as text. hand: the data's hand model, None where another one is loaded."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    filters: dict[str, Callable[..., Any]] = {
        "share": share,
        "whole": _whole,
        "duration": duration,
        "picture": _picture,
    }
    environment.filters.update(filters)
    groups = {name: group_table(figures, manifest, name, MOST_GROUPS) for name in GROUPS}
    return environment.from_string(PAGE).render(
        place=place,
        digest=digest,
        manifest=manifest,
        source=json.dumps(manifest.get("source", {}), indent=1, sort_keys=True, ensure_ascii=False),
        hand_words=hand_words(manifest["hand"], hand),
        all=totals(figures),
        findings=findings,
        severities=[(name, sum(finding.severity == name for finding in findings)) for name in SEVERITIES],
        most_examples=MOST_EXAMPLES,
        window=figures.window,
        splits=split_table(figures, manifest),
        groups={name: found for name, found in groups.items() if found[1]},
        most_groups=MOST_GROUPS,
        ranges=ranges(figures),
        charts=_charts(figures),
        heat=contact_picture(hand, figures.contact_V / max(figures.sum("contact_known"), 1))
        if hand
        else None,
        most_touched=float(figures.contact_V.max() / max(figures.sum("contact_known"), 1)),
        shown=shown,
        frames_a_strip=FRAMES,
    )


def hand_words(name: str, hand: Hand | None) -> str:
    """The data's hand model in words, and what that means."""
    words = (
        name if name == "mano" else f"{name} (the project's stand-in hand: figures do not carry over to MANO)"
    )
    if hand is None:
        words += "; not the hand model that is loaded here, so what needs it was left out"
    return words


def ranges(figures: Figures) -> list[dict[str, str]]:
    """Least, median and greatest of what is measured for every clip, with the share of clips below and above."""
    rows = []
    for column, (name, unit) in _MEASURED.items():
        values = np.asarray(figures.by_clip.get(column, []), dtype=np.float64)
        values = values[np.isfinite(values)]
        if len(values):
            five = np.percentile(values, [0, 1, 50, 99, 100])
            told = dict(zip(("least", "p1", "median", "p99", "most"), (_plain(v) for v in five), strict=True))
            rows.append({"name": name, "unit": unit, **told})
    return rows


_MEASURED = {
    "frames": ("length", "frames"),
    "seconds": ("length", "s"),
    "fps": ("frame rate", "fps"),
    "palm_m": ("wrist to middle knuckle", "m"),
    "nearest_m": ("depth of the nearest joint", "m"),
    "farthest_m": ("wrist, farthest from the camera", "m"),
    "speed_m_per_s": ("fastest joint", "m/s"),
    "moves_m": ("how far a joint moves along an axis", "m"),
    "frozen_s": ("longest standstill", "s"),
    "point_off_m": ("contact point to the nearest joint, at most", "m"),
    "joint_error_mm": ("hand model's joints against stored ones, median", "mm"),
    "centroid_off_mm": ("contact point against its vertices", "mm"),
    "betas_most": ("largest shape coefficient", ""),
    "rotation_rad": ("largest turn of a joint", "rad"),
}


def _charts(figures: Figures) -> list[tuple[str, Markup]]:
    clip, frame = figures.by_clip, figures.by_frame
    with np.errstate(invalid="ignore", divide="ignore"):
        contact = clip["touching"] / clip["contact_known"]
    speed = frame["speed_m_per_s"]
    charts = [
        ("Length of clips", histogram(clip["seconds"], "seconds")),
        ("Frame rate of clips", histogram(clip["fps"], "frames per second")),
        ("Depth of the wrist", histogram(frame["depth_m"], "metres from the camera's plane", counted="frames", marks=[0.0])),
        ("Speed of the fastest joint, frame by frame", histogram(speed[speed > 0], "metres per second", counted="frames", marks=[5.0])),
        ("Fastest moment of each clip", histogram(clip["speed_m_per_s"], "metres per second", marks=[5.0])),
        ("Palm length", histogram(clip["palm_m"], "metres, wrist to middle knuckle", marks=PALM_RANGE_M)),
        ("Frames with contact, by clip", histogram(100 * contact, "% of the clip's frames")),
        ("Shape coefficients", boxes([str(i) for i in range(10)], [frame[f"betas_{i}"] for i in range(10)], "coefficient")),
    ]  # fmt: skip
    if "joint_error_mm" in clip:
        charts.append(
            ("Hand model against stored joints", histogram(clip["joint_error_mm"], "mm, median of each clip"))
        )
    if figures.contact_fingers:
        known = max(figures.sum("contact_known"), 1)
        touched = [figures.contact_fingers[name] / known for name in FINGERS]
        charts.append(
            ("Contact by finger", bars(FINGERS, touched, "of the frames with known contact", share=True))
        )
    return [(title, Markup(svg)) for title, svg in charts]


def _plain(value: float) -> str:
    return "0" if abs(value) < 5e-4 else f"{value:.4g}"


def _whole(number: int) -> str:
    return f"{number:,}"


def share(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{seconds:.1f} s"


def _picture(data: bytes) -> Markup:
    return Markup("data:image/webp;base64," + base64.b64encode(data).decode())


def as_json(
    *,
    place: str,
    digest: str,
    manifest: Mapping[str, Any],
    figures: Figures,
    findings: Sequence[Finding],
    written: str,
) -> dict[str, Any]:
    """What the terminal and the page tell, for programs."""
    from dataclasses import asdict

    return {
        "data": place,
        "name": manifest["name"],
        "digest": digest,
        "hand": manifest["hand"],
        "schema": manifest["schema"],
        "window": figures.window,
        **totals(figures),
        "findings": [asdict(finding) for finding in findings],
        "splits": split_table(figures, dict(manifest)),
        "ranges": ranges(figures),
        "contact_by_finger": figures.contact_fingers,
        "page": written,
    }
