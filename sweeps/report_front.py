"""Pareto fronts: validation MPJPE against what a model costs and against its other figures."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from sweeps.pareto import non_dominated
from sweeps.report_chart import Card, Frame, Ruler, line, mark, thinned
from sweeps.report_view import Point, SweepView
from sweeps.report_words import counted, metric_name, told
from sweeps.space import OBJECTIVES, Objective

# Of one chart; points on the front are always shown.
_MOST_DOTS = 300


def front(points: Sequence[Point], objectives: Sequence[Objective]) -> list[Point]:
    """The configurations that none other beats in one figure without being worse in another; equal ones all stay."""
    losses = [[p.mean(o.metric) * (1 if o.mode == "min" else -1) for o in objectives] for p in points]
    kept = non_dominated(np.array(losses, dtype=np.float64).reshape(len(points), len(objectives)))
    return [point for point, on_front in zip(points, kept, strict=True) if on_front]


def front_cards(view: SweepView, setting: str) -> list[Card]:
    """MPJPE against parameters, contact F1 and latency, where finished configurations know them."""
    found = [_card(view, setting, OBJECTIVES[name]) for name in ("parameters", "contact_f1", "latency_ms")]
    return [card for card in found if card is not None]


def _card(view: SweepView, setting: str, other: Objective) -> Card | None:
    mpjpe = OBJECTIVES["mpjpe_cm"]
    points = [p for p in view.points[setting] if p.finished and math.isfinite(p.mean(other.metric))]
    if not points:
        return None
    best = front(points, (mpjpe, other))
    on_front = {point.number for point in best}
    dominated = [point for point in points if point.number not in on_front]
    shown = thinned(dominated, _MOST_DOTS)
    xs = [point.mean(other.metric) for point in points]
    frame = Frame(
        x=Ruler.over(xs, log=min(xs) > 0 and max(xs) > 4 * min(xs)),
        y=Ruler.over([point.mean("mpjpe_cm") for point in points]),
        x_unit=metric_name(other.metric),
        y_unit="validation MPJPE, cm",
        right=20,
        inset=7,
    )

    def place(point: Point) -> tuple[float, float]:
        return frame.across(point.mean(other.metric)), frame.up(point.mean("mpjpe_cm"))

    steps = sorted({place(point) for point in best})
    if other.mode == "max":
        steps = steps[::-1]
    corners = [steps[0]]
    for x, y in steps[1:]:
        corners += [(x, corners[-1][1]), (x, y)]
    drawn = [f'<path class="front" d="{line(corners)}"/>']
    for point in [*shown, *best]:
        x, y = place(point)
        kind = "onfront" if point.number in on_front else "dominated"
        if view.said_of(setting, point.params) == "chosen":
            kind += " best"
        title = f"{point.label()}, {told(other.metric, point.mean(other.metric))} {metric_name(other.metric).split(',')[0]}"
        size = 4.2 if point.number in on_front else 3.2
        drawn.append(
            mark(point.number, title, f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{size}"/>')
        )
    spoken = f"{setting}: MPJPE against {metric_name(other.metric)}, {len(best)} of {len(points)} configurations on the front"
    note = f"{counted(len(best), 'configuration')} of {len(points)} on the front"
    if len(shown) < len(dominated):
        note += f"; {len(shown)} of the other {len(dominated)} shown"
    return Card(f"against {metric_name(other.metric)}", frame.svg(drawn, spoken), note)
