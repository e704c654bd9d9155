"""Parallel coordinates: every configuration as a line through its searched fields and its figures."""

from __future__ import annotations

import math
from html import escape
from typing import Any

from sweeps.report_chart import CROWDED, Card, Ruler, line, mark, svg, thinned
from sweeps.report_view import Point, SweepView
from sweeps.report_words import called, counted, metric_name
from sweeps.space import OBJECTIVES

_HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 262, 50, 50, 46, 14
_MOST_LINES = 1000  # of the whole page


def parallel_card(view: SweepView, setting: str) -> Card | None:
    """A setting's configurations; None where none has figures. What was stopped counts with where it ended."""
    points = [p for p in view.points[setting] if math.isfinite(p.figure("mpjpe_cm"))]
    if not points or not view.axes:
        return None
    metrics = [m for m in OBJECTIVES if any(math.isfinite(p.figure(m)) for p in points)]
    rulers = {
        a.field: Ruler.over([p.params[a.field] for p in points if a.field in p.params], log=a.log, few=True)
        for a in view.axes
    }
    for metric in metrics:
        values = [p.figure(metric) for p in points]
        rulers[metric] = Ruler.over(values, reverse=OBJECTIVES[metric].mode == "min")
    width = max(420, 96 * (len(rulers) - 1) + _LEFT + _RIGHT)
    places = {n: _LEFT + (width - _LEFT - _RIGHT) * i / max(len(rulers) - 1, 1) for i, n in enumerate(rulers)}
    drawn = []
    shown = thinned(points, max(_MOST_LINES // max(len(view.settings), 1), 40))
    finished = [p for p in points if p.finished]
    best = {p.number for p in finished[: max(1, len(finished) // 10)]}
    many = " many" if len(shown) > CROWDED else ""
    for point in reversed(shown):
        kind = "good" if point.number in best else "finished" if point.finished else "stopped"
        if view.said_of(setting, point.params) == "chosen":
            kind = "best"
        path = line([(places[name], _up(rulers[name], at)) for name, at in _values(point, rulers)])
        drawn.append(mark(point.number, point.label(), f'<path class="curve {kind}{many}" d="{path}"/>'))
    for name, x in places.items():
        drawn.append(f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{_HEIGHT - _BOTTOM}"/>')
        heading, _, unit = (metric_name(name) if name in OBJECTIVES else called(name)).partition(", ")
        drawn.append(f'<text class="head" x="{x:.1f}" y="14" text-anchor="middle">{escape(heading)}</text>')
        drawn.append(f'<text x="{x:.1f}" y="28" text-anchor="middle">{escape(unit)}</text>')
        for place, label in rulers[name].ticks(4):
            y = _TOP + (_HEIGHT - _TOP - _BOTTOM) * (1 - place)
            drawn.append(f'<text class="halo" x="{x + 5:.1f}" y="{y + 4:.1f}">{escape(label)}</text>')
    note = f"{len(shown)} of {counted(len(points), 'configuration')}" if len(shown) < len(points) else ""
    spoken = f"{setting}: {len(points)} configurations through {', '.join(map(called, rulers))}"
    return Card(setting, svg(width, _HEIGHT, drawn, spoken), note)


def _values(point: Point, rulers: dict[str, Ruler]) -> list[tuple[str, Any]]:
    """What a line passes through; an axis of which a configuration knows nothing is passed over."""
    found: list[tuple[str, Any]] = []
    for name in rulers:
        if name in OBJECTIVES:
            if math.isfinite(value := point.figure(name)):
                found.append((name, value))
        elif name in point.params:
            found.append((name, point.params[name]))
    return found


def _up(ruler: Ruler, value: Any) -> float:
    return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * ruler.at(value)
