"""Small charts as inline SVG: text stays text, and colours are the page's own, light or dark."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

_WIDTH, _HEIGHT = 360, 176
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 12, 8, 34
BINS = 36


def histogram(values: NDArray[Any], unit: str, *, counted: str = "clips", marks: Sequence[float] = ()) -> str:
    """A histogram of the finite values. What lies outside the middle 99.8 % is counted in words, so that one wild value
    does not flatten the rest; `marks` are limits, drawn where they fall inside."""
    values = np.asarray(values, dtype=np.float64)
    values = values[np.isfinite(values)]
    if not len(values):
        return '<p class="none">nothing to show</p>'
    low, high = np.percentile(values, [0.1, 99.9]) if len(values) > 500 else (values.min(), values.max())
    if high - low < 1e-9 * max(abs(high), 1):
        low, high = low - max(abs(low) * 0.05, 0.5), high + max(abs(high) * 0.05, 0.5)
    counts, edges = np.histogram(values, bins=BINS, range=(low, high))
    beyond = int(((values < low) | (values > high)).sum())
    ticks = nice_ticks(low, high, 5)
    bars = []
    for count, begin, end in zip(counts, edges[:-1], edges[1:], strict=True):
        x0, x1 = _across(begin, low, high), _across(end, low, high)
        y = _up(count, counts.max())
        bars.append(
            f'<rect class="bar" x="{x0 + 0.5:.1f}" y="{y:.1f}" width="{max(x1 - x0 - 1, 0.5):.1f}" '
            f'height="{_HEIGHT - _BOTTOM - y:.1f}"><title>{begin:.4g} to {end:.4g} {escape(unit)}: {count:,} {counted}'
            "</title></rect>"
        )
    for mark in marks:
        if low <= mark <= high:
            x = _across(mark, low, high)
            bars.append(
                f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{_HEIGHT - _BOTTOM}"/>'
            )
    labels = [
        f'<text x="{_across(t, low, high):.1f}" y="{_HEIGHT - _BOTTOM + 14}" text-anchor="middle">{t:.6g}</text>'
        for t in ticks
    ]
    note = f" ({beyond:,} beyond)" if beyond else ""
    labels.append(
        f'<text class="unit" x="{_WIDTH - _RIGHT}" y="{_HEIGHT - 4}" text-anchor="end">{escape(unit)}{note}</text>'
    )
    spoken = (
        f"{counted} by {unit}: median {np.median(values):.3g}, from {values.min():.3g} to {values.max():.3g}"
    )
    return _chart(spoken, counts.max(), bars + labels)


def bars(names: Sequence[str], values: Sequence[float], unit: str, *, share: bool = False) -> str:
    """Horizontal bars with their values beside them."""
    step, left, right = 24, 92, 60
    top = max([*values, 1e-12])
    rows = []
    for i, (name, value) in enumerate(zip(names, values, strict=True)):
        y, width = 6 + i * step, (_WIDTH - left - right) * value / top
        told = f"{value:.1%}" if share else f"{value:.4g}"
        rows.append(
            f'<text x="{left - 8}" y="{y + 12}" text-anchor="end">{escape(name)}</text>'
            f'<rect class="bar" x="{left}" y="{y}" width="{width:.1f}" height="16" rx="2"/>'
            f'<text x="{left + width + 6:.1f}" y="{y + 12}">{told}</text>'
        )
    height = 12 + step * len(names) + 14
    rows.append(
        f'<text class="unit" x="{_WIDTH - _RIGHT}" y="{height - 4}" text-anchor="end">{escape(unit)}</text>'
    )
    return _svg(height, unit, rows)


def boxes(names: Sequence[str], columns: Sequence[NDArray[Any]], unit: str) -> str:
    """For each column a line from its 1st to its 99th percentile, a box over the middle half and its median."""
    five = [
        np.nanpercentile(column, [1, 25, 50, 75, 99]) if len(column) else np.zeros(5) for column in columns
    ]
    low, high = float(np.min(five)), float(np.max(five))
    low, high = (low - 0.5, high + 0.5) if high - low < 1e-9 else (low, high)
    slot = (_WIDTH - _LEFT - _RIGHT) / max(len(names), 1)

    def up(value: float) -> float:
        return _TOP + (_HEIGHT - _TOP - _BOTTOM) * (high - value) / (high - low)

    drawn = []
    for tick in nice_ticks(low, high, 4):
        drawn.append(
            f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{up(tick):.1f}" y2="{up(tick):.1f}"/>'
        )
        drawn.append(f'<text x="{_LEFT - 6}" y="{up(tick) + 4:.1f}" text-anchor="end">{tick:.6g}</text>')
    for i, (name, (a, b, c, d, e)) in enumerate(zip(names, five, strict=True)):
        x, half = _LEFT + slot * (i + 0.5), slot * 0.3
        drawn.append(
            f'<line class="rod" x1="{x:.1f}" x2="{x:.1f}" y1="{up(a):.1f}" y2="{up(e):.1f}"/>'
            f'<rect class="bar" x="{x - half:.1f}" y="{up(d):.1f}" width="{2 * half:.1f}" height="{max(up(b) - up(d), 1):.1f}">'
            f"<title>{escape(name)}: median {c:.3g}, middle half {b:.3g} to {d:.3g}, 1 % to 99 % {a:.3g} to {e:.3g}</title></rect>"
            f'<line class="median" x1="{x - half:.1f}" x2="{x + half:.1f}" y1="{up(c):.1f}" y2="{up(c):.1f}"/>'
            f'<text x="{x:.1f}" y="{_HEIGHT - _BOTTOM + 14}" text-anchor="middle">{escape(name)}</text>'
        )
    drawn.append(
        f'<text class="unit" x="{_WIDTH - _RIGHT}" y="{_HEIGHT - 4}" text-anchor="end">{escape(unit)}</text>'
    )
    return _svg(_HEIGHT, unit, drawn)


def nice_ticks(low: float, high: float, about: int) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten apart) inside low..high."""
    step = (high - low) / max(about, 1)
    power = 10.0 ** math.floor(math.log10(step))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= step * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(i * step, 12) + 0.0 for i in range(first, last + 1)]


def _across(value: float, low: float, high: float) -> float:
    return _LEFT + (_WIDTH - _LEFT - _RIGHT) * (value - low) / (high - low)


def _up(count: float, most: float) -> float:
    return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * count / max(most, 1)


def _chart(spoken: str, most: float, drawn: list[str]) -> str:
    grid = []
    for tick in nice_ticks(0, max(float(most), 1), 3):
        if tick == int(tick):
            y = _up(tick, most)
            grid.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
            grid.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{_short(tick)}</text>')
    return _svg(_HEIGHT, spoken, grid + drawn)


def _short(count: float) -> str:
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if count >= 10 * size or (count >= size and count % size == 0):
            return f"{count / size:g}{letter}"
    return f"{count:g}"


def _svg(height: float, spoken: str, drawn: list[str]) -> str:
    return f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(spoken, quote=True)}">{"".join(drawn)}</svg>'
