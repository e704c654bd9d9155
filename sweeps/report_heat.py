"""Heat maps of validation MPJPE over two searched fields, one a setting."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from markupsafe import Markup

from sweeps.report_chart import mark, svg
from sweeps.report_view import Point, SweepView
from sweeps.report_words import called, figure
from sweeps.selection import plain, words
from sweeps.space import Axis

_MOST_VALUES, _BANDS = 8, 6
_WIDTH, _LEFT, _ROW, _TOP, _FOOT = 360, 66, 38, 8, 40


@dataclass(frozen=True)
class Bands:
    """The columns or rows of a heat map: values of a field, or ranges of them."""

    labels: list[str]
    index: Callable[[Any], int]


def heat_fields(view: SweepView, importance: Mapping[str, float]) -> tuple[str, ...]:
    """The one or two fields to show: codebook size and depth where both are searched, else the most important."""
    if {"codes", "decoder_depth"} <= set(view.fields):
        return "codes", "decoder_depth"
    by_weight = sorted(view.fields, key=lambda name: -importance.get(name, 0.0))
    return tuple(sorted(by_weight[:2], key=view.fields.index))


def heat_map(view: SweepView, setting: str, fields: tuple[str, ...]) -> Markup | None:
    """The map of one setting; None where nothing was begun. A cell shows the best configuration that falls in it, by its
    mean over seeds; where none finished, what was stopped."""
    points = [p for p in view.points[setting] if all(name in p.params for name in fields)]
    if not points or not fields:
        return None
    axes = {axis.field: axis for axis in view.axes}
    across = bands(axes[fields[0]], [p.params[fields[0]] for p in points])
    down = bands(axes[fields[1]], [p.params[fields[1]] for p in points]) if len(fields) > 1 else None
    cells: dict[tuple[int, int], list[Point]] = {}
    for point in points:  # in order of rank, so that the first of a cell is its best
        row = down.index(point.params[fields[1]]) if down else 0
        cells.setdefault((row, across.index(point.params[fields[0]])), []).append(point)
    best = [cell[0].mean("mpjpe_cm") for cell in cells.values() if cell[0].finished]
    low = min(best, default=math.nan)
    # One that went astray must not turn all others the same shade.
    high = float(np.percentile(best, 90)) if len(best) >= 10 else max(best, default=math.nan)
    width = (_WIDTH - _LEFT - 8) / len(across.labels)
    drawn = []
    rows = down.labels if down else [""]
    for row, label in enumerate(reversed(rows)):
        y = _TOP + _ROW * row
        drawn.append(
            f'<text x="{_LEFT - 8}" y="{y + _ROW / 2 + 4:g}" text-anchor="end">{escape(label)}</text>'
        )
        for column in range(len(across.labels)):
            cell = cells.get((len(rows) - 1 - row, column), [])
            drawn.append(_cell(view, cell, _LEFT + width * column, y, width, low, high))
    foot = _TOP + _ROW * len(rows)
    small = ' class="small"' if max(map(len, across.labels)) > 6 else ""
    for column, label in enumerate(across.labels):
        x = _LEFT + width * (column + 0.5)
        drawn.append(f'<text x="{x:.1f}" y="{foot + 15}" text-anchor="middle"{small}>{escape(label)}</text>')
    unit = f"{called(fields[0])} across" + (f", {called(fields[1])} upwards" if down else "")
    drawn.append(
        f'<text class="unit" x="{_WIDTH - 8}" y="{foot + _FOOT - 6}" text-anchor="end">{escape(unit)}; MPJPE in cm</text>'
    )
    spoken = (
        f"validation MPJPE in cm on {setting} by {unit}: best {low:.2f}"
        if best
        else f"{setting}: nothing finished"
    )
    return svg(_WIDTH, foot + _FOOT, drawn, spoken)


def bands(axis: Axis, tried: list[Any]) -> Bands:
    """Every value of the field where they are few, else every one that was tried, else ranges of equal width."""
    possible = list(axis.values) if axis.values is not None and len(axis.values) <= _MOST_VALUES else None
    different = sorted(set(tried), key=None if _numeric(tried) else str)
    values = possible if possible is not None else different
    if len(values) <= _MOST_VALUES or not _numeric(tried):
        # What lies outside the space all the same (a point of an older plan) has a place too.
        values = [*values, *(value for value in different if value not in values)]
        return Bands([plain(value) for value in values], values.index)
    low, high = different[0], different[-1]
    log = axis.log or (axis.kind == "choice" and low > 0 and high >= 8 * low)
    edges = np.geomspace(low, high, _BANDS + 1) if log else np.linspace(low, high, _BANDS + 1)
    labels = [f"{a:.3g}–{b:.3g}" for a, b in itertools.pairwise(edges)]
    if all(isinstance(value, int) for value in different):
        labels = [f"{math.ceil(a)}–{math.ceil(b) - 1}" for a, b in itertools.pairwise(edges)]
        labels[-1] = f"{math.ceil(edges[-2])}–{high}"
    return Bands(
        labels, lambda value: int(np.clip(np.searchsorted(edges, value, "right") - 1, 0, _BANDS - 1))
    )


def _numeric(values: list[Any]) -> bool:
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def _cell(
    view: SweepView, cell: list[Point], x: float, y: float, width: float, low: float, high: float
) -> str:
    box = f'x="{x + 1.5:.1f}" y="{y + 1.5:g}" width="{width - 3:.1f}" height="{_ROW - 3}" rx="3"'
    if not cell:
        return f'<rect class="untried" {box}/>'
    point, middle = cell[0], f'x="{x + width / 2:.1f}" text-anchor="middle"'
    more = f"; the best of {len(cell)} configurations here" if len(cell) > 1 else ""
    if point.finished:
        value = point.mean("mpjpe_cm")
        depth = 1.0 if high - low < 1e-9 else min(max((high - value) / (high - low), 0.0), 1.0)
        opacity = 0.08 + 0.87 * depth
        strong = " deeper" if opacity > 0.7 else " deep" if opacity > 0.5 else ""
        chosen = " chosen" if view.said_of(point.setting, point.params) == "chosen" else ""
        seeds = (
            f'<text class="small value{strong}" {middle} y="{y + 32}">{len(point.finished)} seeds</text>'
            if len(point.finished) > 1
            else ""
        )
        body = (
            f'<rect class="cell" fill-opacity="{opacity:.2f}" {box}/>'
            f'<rect class="edge{chosen}" {box}/>'
            f'<text class="value{strong}" {middle} y="{y + (20 if seeds else 23)}">{value:.2f}</text>{seeds}'
        )
        return mark(point.number, point.label() + more, body)
    trial = point.trials[0]
    value = figure(trial, "mpjpe_cm")
    what = f"{point.setting} · {words(point.params)} · {point.status}"
    if point.status == "stopped" and math.isfinite(value):
        body = (
            f'<rect class="hatched" {box}/><text class="value" {middle} y="{y + 19}">{value:.2f}</text>'
            f'<text class="small" {middle} y="{y + 31}">epoch {trial.epochs}</text>'
        )
        return mark(point.number, f"{what} after epoch {trial.epochs} at {value:.2f} cm{more}", body)
    body = f'<rect class="hatched" {box}/><text class="small" {middle} y="{y + 23}">{escape(point.status)}</text>'
    return mark(point.number, what + more, body)
