"""The figures of a bundle, as SVG files that stand alone: how the model learnt, and three of its predictions.

They follow from the trial's record and its one evaluation, to the byte: a bundle keeps its digest. Text of the data set
stands in elements alone, escaped and without characters that are not printed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from sweeps.ledger import TrialRecord
from sweeps.report_chart import Frame, Ruler, few, line
from sweeps.report_curves import Series, series

LEARNING_CURVE, TRAJECTORIES = "figures/learning_curve.svg", "figures/sample_trajectories.svg"
_POINTS = 200  # of a curve at most
_VIEWS = (  # what the y axis is, the coordinates on both axes, whether y runs downwards
    ("as the camera sees it: y downwards, cm", 0, 1, True),
    ("from above: away from the camera, cm", 0, 2, False),
)
_STAGES = ("codebook", "indexer", "predictor")
_STYLE = (
    ":root{color-scheme:light dark;--card:#fff;--ink:#1d1c1a;--soft:#66625b;--line:#e2ddd4;--true:#2f6db0;--pick:#b85c00}"
    "@media(prefers-color-scheme:dark){:root{--card:#202225;--ink:#eae7e1;--soft:#a39e95;--line:#363a3f;--true:#7db2ea;"
    "--pick:#ffb454}}"
    "text{fill:var(--soft);font:11px system-ui,sans-serif}text.head{fill:var(--ink);font-weight:600;font-size:13px}"
    ".paper{fill:var(--card)}.grid{stroke:var(--line)}path{fill:none;stroke-linejoin:round;stroke-linecap:round}"
    ".true{stroke:var(--true)}.predicted{stroke:var(--pick)}.wrist{stroke-width:2.6}.tip{stroke-width:1;stroke-opacity:.65}"
    ".second{stroke-dasharray:4 3}circle.true{fill:var(--true)}circle.predicted{fill:var(--pick)}"
    ".contact{stroke:var(--ink);stroke-width:1.6}"
)


def write_figures(
    folder: Path, name: str, best: TrialRecord, samples: Sequence[Mapping[str, Any]]
) -> list[str]:
    """Write the figures of a trial, with its history read, into a bundle's folder; returns the paths of those that
    there are: an evaluation from before there were samples gives no trajectories, and a trial without a curve none.
    """
    made = {LEARNING_CURVE: learning_curve(name, best), TRAJECTORIES: sample_trajectories(name, samples)}
    for path, picture in made.items():
        if picture:
            (folder / path).parent.mkdir(exist_ok=True)
            (folder / path).write_text(picture, encoding="utf-8")
    return [path for path, picture in made.items() if picture]


def learning_curve(name: str, trial: TrialRecord) -> str:
    """Validation MPJPE by epoch of the predictor, and below it the loss of every stage that this trial trained itself."""
    curve = [(epoch, value) for epoch, value in trial.curve if math.isfinite(value)]
    if not curve:
        return ""
    best_epoch, best = min(curve, key=lambda point: (point[1], point[0]))
    frame = Frame(
        x=Ruler.over([1, *(epoch for epoch, _ in curve)]),
        y=Ruler.over([value for _, value in curve]),
        x_unit="epoch of the predictor", y_unit="validation MPJPE, cm", width=720, height=240,
    )  # fmt: skip
    x, y = frame.across(best_epoch), frame.up(best)
    drawn = [
        _path(frame, curve, "predicted wrist"),
        f'<circle class="predicted" cx="{x:.1f}" cy="{y:.1f}" r="4"/>',
    ]
    parts = [_Part(0, 34, [*frame.grid(), *drawn])]
    losses = [(stage, series(trial, stage, "loss"), series(trial, stage, "val_loss")) for stage in _STAGES]
    known = [(stage, loss, validation) for stage, loss, validation in losses if loss]
    for column, (stage, loss, validation) in enumerate(known):
        parts.append(_Part(240 * column, 286, _loss(stage, loss, validation)))
    if known:
        parts.append(_Part(0, 0, _legend(490, ("true", "training loss"), ("true second", "validation loss"))))
    heading = f"{name}: validation MPJPE is lowest, {best:.2f} cm, after epoch {best_epoch} of {curve[-1][0]}"
    return _picture(720, 470 if known else 284, heading, parts)


def _loss(stage: str, loss: Series, validation: Series) -> list[str]:
    values = [value for _, value in (*loss, *validation)]
    log = min(values) > 0 and max(values) > 20 * min(values)
    frame = Frame(
        x=Ruler.over([1, *(epoch for epoch, _ in loss)]),
        y=Ruler.over(values, log=log),
        x_unit="epoch", y_unit=f"loss of the {stage}" + (", by magnitude" if log else ""), width=240, height=180,
    )  # fmt: skip
    second = [_path(frame, validation, "true second")] if validation else []
    return [*frame.grid(), _path(frame, loss, "true"), *second]


def sample_trajectories(name: str, samples: Sequence[Mapping[str, Any]]) -> str:
    """Wrist and fingertips of validation windows, true and predicted, seen by the camera and from above.

    samples: as `sweeps.assess` makes them.
    """
    if not samples:
        return ""
    note = "<text>Wrist thick, fingertips thin; dots: the last frame; cross: the contact point.</text>"
    legend = _legend(450, ("true wrist", "true"), ("predicted wrist", "predicted"))
    parts = [_Part(0, 0, legend), _Part(4, 32, [note])]
    for row, sample in enumerate(samples):
        top = 40 + 350 * row
        words = f"{_printed(sample['text']) or 'no text'}: {sample['mpjpe_cm']:.2f} cm, {sample['rank']}"
        parts.append(_Part(0, top, [f'<text class="head" x="4" y="12">{escape(words)}</text>']))
        for column, view in enumerate(_VIEWS):
            parts.append(_Part(360 * column, top + 20, _view(sample, *view)))
    return _picture(720, 40 + 350 * len(samples), f"{name}: three validation windows", parts)


def _view(sample: Mapping[str, Any], unit: str, across: int, up: int, reverse: bool) -> list[str]:
    """One sample projected onto two axes of the first camera, both at one scale."""
    paths = {kind: sample[f"{kind}_cm"] for kind in ("true", "predicted")}
    point = sample["contact_point_cm"]
    every = [frame for path in paths.values() for joint in path for frame in joint]
    every += [point] if point else []
    x, y = _square([frame[across] for frame in every], [frame[up] for frame in every])
    frame = Frame(
        x=Ruler(low=x[0], high=x[1]),
        y=Ruler(low=y[0], high=y[1], reverse=reverse),
        x_unit="to the right, cm", y_unit=unit, width=350, height=320, left=46, right=42, top=22, bottom=36,
    )  # fmt: skip
    drawn = frame.grid()
    for kind, path in paths.items():
        for joint, frames in enumerate(path):
            points = [(at[across], at[up]) for at in frames]
            drawn.append(_path(frame, points, f"{kind} {'tip' if joint else 'wrist'}"))
            px, py = frame.across(points[-1][0]), frame.up(points[-1][1])
            drawn.append(f'<circle class="{kind}" cx="{px:.1f}" cy="{py:.1f}" r="{1.8 if joint else 4}"/>')
    if point:
        px, py = frame.across(point[across]), frame.up(point[up])
        drawn.append(f'<path class="contact" d="M{px - 5:.1f} {py - 5:.1f}l10 10m0-10l-10 10"/>')
    return drawn


def _square(x: Sequence[float], y: Sequence[float]) -> tuple[tuple[float, float], tuple[float, float]]:
    """Two ranges of one length, in the middle of the values."""
    half = 0.55 * max(max(x) - min(x), max(y) - min(y), 1.0)
    middle = [(max(values) + min(values)) / 2 for values in (x, y)]
    return (middle[0] - half, middle[0] + half), (middle[1] - half, middle[1] + half)


def _path(frame: Frame, points: Sequence[tuple[float, float]], kind: str) -> str:
    drawn = [(frame.across(x), frame.up(y)) for x, y in few(points, _POINTS)]
    return f'<path class="{kind}" d="{line(drawn)}"/>'


@dataclass(frozen=True)
class _Part:
    """Something drawn at a place of the picture."""

    x: float
    y: float
    drawn: Iterable[str]


def _legend(x: float, *entries: tuple[str, str]) -> list[str]:
    """A stroke and what it stands for, side by side in the heading's line below the title."""
    drawn = []
    for number, (kind, words) in enumerate(entries):
        left = x + 104 * number
        drawn.append(f'<path class="{kind}" d="M{left} 28h18"/><text x="{left + 23}" y="32">{words}</text>')
    return drawn


def _picture(width: float, height: float, heading: str, parts: Iterable[_Part]) -> str:
    body = "\n".join(f'<g transform="translate({p.x:g} {p.y:g})">{"".join(p.drawn)}</g>' for p in parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
        f'height="{height:g}" role="img">\n<title>{escape(heading)}</title>\n<style>{_STYLE}</style>\n'
        f'<rect class="paper" width="100%" height="100%"/>\n<text class="head" x="4" y="14">{escape(heading)}</text>\n'
        f"{body}\n</svg>\n"
    )


def _printed(text: str) -> str:
    """At most 60 characters of a data set's text, printable ones alone."""
    return "".join(character for character in text if character.isprintable())[:60]
