"""Learning curves: the validation MPJPE of every trial, and the training loss of every stage."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from markupsafe import Markup

from sweeps.ledger import TrialRecord
from sweeps.report_ruler import Frame, Ruler, line, mark
from sweeps.report_view import SweepView, trial_label
from sweeps.report_words import counted, finite, told

# Of the whole page, shared by its settings; points of one curve.
MOST_CURVES, MOST_LOSSES, MOST_POINTS = 1200, 240, 32
# So many lines of a chart are drawn thinner.
CROWDED = 60
T = TypeVar("T")
STAGES = ("codebook", "indexer", "predictor")


@dataclass(frozen=True)
class Card:
    """A chart with its heading and what must be said beside it."""

    title: str
    chart: Markup
    note: str = ""


def curve_cards(view: SweepView) -> list[Card]:
    """The validation MPJPE by predictor epoch, a card a setting that has any."""
    most = max(MOST_CURVES // max(len(view.settings), 1), 40)
    cards = []
    for setting in view.settings:
        trials = [t for point in view.points[setting] for t in point.trials if _finite_curve(t)]
        if trials:
            cards.append(_curves(view, setting, trials, most))
    return cards


def _curves(view: SweepView, setting: str, trials: list[TrialRecord], most: int) -> Card:
    curves = {id(trial): _finite_curve(trial) for trial in trials}
    values = np.array([v for curve in curves.values() for _, v in curve])
    # A few wild first epochs must not flatten what is of interest.
    high = float(np.percentile(values, 97)) if len(values) > 30 else float(values.max())
    shown = thinned(trials, most)
    frame = Frame(
        x=Ruler.over([1, max(view.budget, 1), *(epoch for c in curves.values() for epoch, _ in c)]),
        y=Ruler.over([float(values.min()), high]),
        x_unit="epoch of the predictor",
        y_unit="validation MPJPE, cm",
        height=230,
    )
    drawn: list[str] = []
    ends: list[str] = []
    many = " many" if len(shown) > CROWDED else ""
    # The best last, so that it lies on top.
    for trial in reversed(shown):
        curve = [(frame.across(e), frame.up(v)) for e, v in few(curves[id(trial)], MOST_POINTS)]
        kind = "best" if view.said_of(setting, trial.params) == "chosen" else trial.status
        body = f'<path class="curve {kind}{many}" d="{line(curve)}"/>'
        x, y = curve[-1]
        if trial.status == "stopped":
            body += f'<circle class="end" cx="{x:.1f}" cy="{y:.1f}" r="2.6"/>'
        elif trial.status == "failed":
            body += f'<path class="cross" d="M{x - 3:.1f} {y - 3:.1f}l6 6m0-6l-6 6"/>'
        elif len(curve) == 1:
            body += f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="2.6"/>'
        (ends if kind == "best" else drawn).append(mark(view.number(trial), trial_label(trial), body))
    notes = []
    if len(shown) < len(trials):
        notes.append(
            f"{len(shown)} of {counted(len(trials), 'curve')}: the best, and of the others evenly by rank"
        )
    if beyond := int((values > high).sum()):
        notes.append(f"{counted(beyond, 'value')} above {told('mpjpe_cm', high)} drawn at the upper edge")
    stopped = sum(trial.status == "stopped" for trial in trials)
    spoken = f"{setting}: {len(trials)} learning curves, {stopped} of them stopped early; best {values.min():.2f} cm"
    return Card(setting, frame.svg([*drawn, *ends], spoken), "; ".join(notes))


def loss_cards(view: SweepView) -> list[Card]:
    """The training loss by epoch of each stage, all settings together, a card a stage that any trial trained."""
    cards = []
    for stage in STAGES:
        losses: dict[int, tuple[TrialRecord, list[tuple[int, float]]]] = {}
        for setting in view.settings:
            for point in view.points[setting]:
                for trial in point.trials:
                    if found := series(trial, stage, "loss"):
                        losses[id(trial)] = (trial, found)
        if losses:
            cards.append(_losses(view, stage, list(losses.values())))
    return cards


def _losses(view: SweepView, stage: str, losses: list[tuple[TrialRecord, list[tuple[int, float]]]]) -> Card:
    values = np.array([v for _, found in losses for _, v in found])
    high = float(np.percentile(values, 97)) if len(values) > 30 else float(values.max())
    log = bool(values.min() > 0 and high > 20 * values.min())
    shown = thinned(losses, MOST_LOSSES)
    frame = Frame(
        x=Ruler.over([1, *(epoch for _, found in losses for epoch, _ in found)]),
        y=Ruler.over([float(values.min()), high], log=log),
        x_unit="epoch",
        y_unit="training loss" + (", by magnitude" if log else ""),
        height=180,
    )
    colours = {setting: i % 6 for i, setting in enumerate(view.settings)}
    drawn = []
    for trial, found in shown:
        path = line([(frame.across(e), frame.up(v)) for e, v in few(found, MOST_POINTS)])
        title = f"{trial_label(trial)} · loss {found[-1][1]:.4g} after epoch {found[-1][0]}"
        drawn.append(
            mark(view.number(trial), title, f'<path class="curve s{colours[trial.setting]}" d="{path}"/>')
        )
    note = f"{len(shown)} of {counted(len(losses), 'training')}" if len(shown) < len(losses) else ""
    return Card(stage, frame.svg(drawn, f"training loss of the {stage} in {len(losses)} trainings"), note)


def series(trial: TrialRecord, stage: str, name: str) -> list[tuple[int, float]]:
    """(epoch, value) of one figure of a stage, where it is a finite number; the last word on an epoch counts."""
    found: dict[int, float] = {}
    for entry in trial.history:
        if entry.get("stage") == stage and math.isfinite(value := finite(entry.get(name))):
            found[int(entry.get("epoch", len(found) + 1))] = value
    return sorted(found.items())


def few(points: Sequence[T], most: int) -> list[T]:
    """At most so many of them, evenly spread, the first and the last included."""
    if len(points) <= most:
        return list(points)
    return [points[round(i * (len(points) - 1) / (most - 1))] for i in range(most)]


def thinned(ranked: Sequence[T], most: int) -> list[T]:
    """At most so many: the best tenth of the places for the best, the others evenly from the rest."""
    best = max(most // 10, 1)
    return [*ranked[:best], *few(ranked[best:], most - best)] if len(ranked) > most else list(ranked)


def _finite_curve(trial: TrialRecord) -> list[tuple[int, float]]:
    return [(epoch, value) for epoch, value in trial.curve if math.isfinite(value)]
