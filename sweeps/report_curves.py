"""Learning curves: the validation MPJPE of every trial, and the training loss of every stage."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweeps.ledger import TrialRecord
from sweeps.report_chart import CROWDED, Card, Frame, Ruler, few, line, mark, thinned
from sweeps.report_view import STAGES, SweepView, trial_label
from sweeps.report_words import counted, finite, told

# Of the whole page, shared by its settings; points of one curve.
MOST_CURVES, MOST_LOSSES, MOST_POINTS = 1200, 240, 32

Series = list[tuple[int, float]]  # epoch and value


def curve_cards(view: SweepView) -> list[Card]:
    """The validation MPJPE by predictor epoch, a card a setting that has any."""
    most = max(MOST_CURVES // max(len(view.settings), 1), 40)
    cards = []
    for setting in view.settings:
        trials = [trial for point in view.points[setting] for trial in point.trials]
        curves = [(trial, curve) for trial in trials if (curve := _finite_curve(trial))]
        if curves:
            cards.append(_curves(view, setting, curves, most))
    return cards


def _curves(view: SweepView, setting: str, curves: list[tuple[TrialRecord, Series]], most: int) -> Card:
    values = np.array([v for _, curve in curves for _, v in curve])
    high = _upper_edge(values)
    shown = thinned(curves, most)
    frame = Frame(
        x=Ruler.over([1, max(view.budget, 1), *(epoch for _, curve in curves for epoch, _ in curve)]),
        y=Ruler.over([float(values.min()), high]),
        x_unit="epoch of the predictor",
        y_unit="validation MPJPE, cm",
        height=230,
    )
    drawn: list[str] = []
    ends: list[str] = []
    many = " many" if len(shown) > CROWDED else ""
    # The best last, so that it lies on top.
    for trial, curve in reversed(shown):
        points = [(frame.across(e), frame.up(v)) for e, v in few(curve, MOST_POINTS)]
        kind = "best" if view.said_of(setting, trial.params) == "chosen" else trial.status
        body = f'<path class="curve {kind}{many}" d="{line(points)}"/>'
        x, y = points[-1]
        if trial.status == "stopped":
            body += f'<circle class="end" cx="{x:.1f}" cy="{y:.1f}" r="2.6"/>'
        elif trial.status == "failed":
            body += f'<path class="cross" d="M{x - 3:.1f} {y - 3:.1f}l6 6m0-6l-6 6"/>'
        elif len(points) == 1:
            body += f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="2.6"/>'
        (ends if kind == "best" else drawn).append(mark(view.number(trial), trial_label(trial), body))
    notes = []
    if len(shown) < len(curves):
        notes.append(
            f"{len(shown)} of {counted(len(curves), 'curve')}: the best, and of the others evenly by rank"
        )
    if beyond := int((values > high).sum()):
        notes.append(f"{counted(beyond, 'value')} above {told('mpjpe_cm', high)} drawn at the upper edge")
    stopped = sum(trial.status == "stopped" for trial, _ in curves)
    spoken = f"{setting}: {len(curves)} learning curves, {stopped} of them stopped early; best {values.min():.2f} cm"
    return Card(setting, frame.svg([*drawn, *ends], spoken), "; ".join(notes))


def loss_cards(view: SweepView) -> list[Card]:
    """The training loss by epoch of each stage, all settings together, a card a stage that any trial trained."""
    trials = [trial for points in view.points.values() for point in points for trial in point.trials]
    cards = []
    for stage in STAGES:
        losses = [(trial, found) for trial in trials if (found := series(trial, stage, "loss"))]
        if losses:
            cards.append(_losses(view, stage, losses))
    return cards


def _losses(view: SweepView, stage: str, losses: list[tuple[TrialRecord, Series]]) -> Card:
    values = np.array([v for _, found in losses for _, v in found])
    high = _upper_edge(values)
    log = bool(values.min() > 0 and high > 20 * values.min())
    shown = thinned(losses, MOST_LOSSES)
    frame = Frame(
        x=Ruler.over([1, *(epoch for _, found in losses for epoch, _ in found)]),
        y=Ruler.over([float(values.min()), high], log=log),
        x_unit="epoch",
        y_unit="training loss" + (", by magnitude" if log else ""),
        height=180,
    )
    drawn = []
    for trial, found in shown:
        path = line([(frame.across(e), frame.up(v)) for e, v in few(found, MOST_POINTS)])
        title = f"{trial_label(trial)} · loss {found[-1][1]:.4g} after epoch {found[-1][0]}"
        body = f'<path class="curve s{view.colours[trial.setting]}" d="{path}"/>'
        drawn.append(mark(view.number(trial), title, body))
    note = f"{len(shown)} of {counted(len(losses), 'training')}" if len(shown) < len(losses) else ""
    return Card(stage, frame.svg(drawn, f"training loss of the {stage} in {len(losses)} trainings"), note)


def series(trial: TrialRecord, stage: str, name: str) -> Series:
    """(epoch, value) of one figure of a stage, where it is a finite number; the last word on an epoch counts."""
    found: dict[int, float] = {}
    for entry in trial.history:
        if entry.get("stage") == stage and math.isfinite(value := finite(entry.get(name))):
            found[int(entry.get("epoch", len(found) + 1))] = value
    return sorted(found.items())


def _finite_curve(trial: TrialRecord) -> Series:
    return [(epoch, value) for epoch, value in trial.curve if math.isfinite(value)]


def _upper_edge(values: NDArray[Any]) -> float:
    """Of the chart: a few wild first epochs must not flatten what is of interest."""
    return float(np.percentile(values, 97) if len(values) > 30 else values.max())
