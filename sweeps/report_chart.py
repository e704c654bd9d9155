"""What the report's charts are made of: inline SVG whose colours are the page's own."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, TypeVar

from markupsafe import Markup

from sweeps.report_words import short
from sweeps.selection import plain
from trainables.inspect_charts import nice_ticks

# So few different values stand side by side at equal distances, whatever lies between them.
_FEW = 8
# So many lines of a chart are drawn thinner.
CROWDED = 60
T = TypeVar("T")


@dataclass(frozen=True)
class Card:
    """A chart with its heading and what must be said beside it."""

    title: str
    chart: Markup
    note: str = ""


@dataclass(frozen=True)
class Ruler:
    """Where values lie along an axis, as a share of its length: at equal steps, or between two numbers."""

    steps: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 1.0
    log: bool = False
    reverse: bool = False
    whole: bool = False  # no labels between whole numbers

    @classmethod
    def over(
        cls, values: Iterable[Any], *, log: bool = False, few: bool = False, reverse: bool = False
    ) -> Ruler:
        """One that reaches from the least to the greatest value; `few` may set few values at equal steps."""
        known = [v for v in values if not isinstance(v, float) or math.isfinite(v)]
        different = set(known)
        if any(isinstance(v, bool | str) or v is None for v in different) or (few and len(different) <= _FEW):
            numeric = all(isinstance(v, int | float) for v in different)
            return cls(steps=tuple(sorted(different, key=None if numeric else str)), reverse=reverse)
        if not known:
            return cls(reverse=reverse)
        low, high = float(min(known)), float(max(known))
        whole = all(isinstance(v, int) for v in known)
        log = log and low > 0
        if high - low < 1e-9 * max(abs(high), 1e-9):
            pad = abs(low) * 0.05 or 0.5
            low, high = low - pad, high + pad
        return cls(low=low, high=high, log=log, reverse=reverse, whole=whole)

    def at(self, value: Any) -> float:
        """0 at the beginning, 1 at the end; what lies beyond is held at the end it passed."""
        if self.steps:
            share = (self.steps.index(value) + 0.5) / len(self.steps)
        elif self.log:
            bounded = min(max(float(value), self.low), self.high)
            share = math.log(bounded / self.low) / math.log(self.high / self.low)
        else:
            share = min(max((float(value) - self.low) / (self.high - self.low), 0.0), 1.0)
        return 1 - share if self.reverse else share

    def ticks(self, about: int = 4) -> list[tuple[float, str]]:
        """Places with their labels."""
        if self.steps:
            return [(self.at(step), plain(step)) for step in self.steps]
        values = nice_ticks(self.low, self.high, about)
        if self.log and self.high >= 8 * self.low:
            first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
            series = (1, 3) if self.high < 500 * self.low else (1,)
            grid = [f * 10.0**e for e in range(first, last + 1) for f in series]
            values = [v for v in grid if self.low * 0.999 <= v <= self.high * 1.001]
        return [(self.at(v), short(v)) for v in values if not self.whole or v == int(v)]


@dataclass(frozen=True)
class Frame:
    """A chart's field: x to the right, y upwards, with grid, labels and units."""

    x: Ruler
    y: Ruler
    x_unit: str
    y_unit: str
    width: float = 360
    height: float = 210
    left: float = 46
    right: float = 12
    top: float = 22
    bottom: float = 36
    inset: float = 0  # between the grid's edge and the outermost values

    def across(self, value: Any) -> float:
        return self._x(self.x.at(value))

    def up(self, value: Any) -> float:
        return self._y(self.y.at(value))

    def _x(self, share: float) -> float:
        return self.left + self.inset + (self.width - self.left - self.right - 2 * self.inset) * share

    def _y(self, share: float) -> float:
        return (
            self.height
            - self.bottom
            - self.inset
            - (self.height - self.top - self.bottom - 2 * self.inset) * share
        )

    def svg(self, drawn: Sequence[str], spoken: str) -> Markup:
        """The chart; `spoken` is what somebody hears who cannot see it."""
        return svg(self.width, self.height, [*self.grid(), *drawn], spoken)

    def grid(self) -> list[str]:
        """Lines, labels and units."""
        foot = self.height - self.bottom
        grid = []
        for place, label in self.y.ticks(4):
            y = self._y(place)
            grid.append(
                f'<line class="grid" x1="{self.left}" x2="{self.width - self.right}" y1="{y:.1f}" y2="{y:.1f}"/>'
            )
            grid.append(f'<text x="{self.left - 6}" y="{y + 4:.1f}" text-anchor="end">{escape(label)}</text>')
        for place, label in self.x.ticks(5):
            x = self._x(place)
            grid.append(f'<text x="{x:.1f}" y="{foot + 15}" text-anchor="middle">{escape(label)}</text>')
        grid.append(f'<text class="unit" x="4" y="12">{escape(self.y_unit)}</text>')
        grid.append(
            f'<text class="unit" x="{self.width - self.right}" y="{self.height - 4}" text-anchor="end">{escape(self.x_unit)}</text>'
        )
        return grid


def svg(width: float, height: float, drawn: Iterable[str], spoken: str) -> Markup:
    """A picture that takes the keyboard's focus, so that the arrows step through its marks."""
    label = escape(spoken, quote=True)
    return Markup(
        f'<svg viewBox="0 0 {width:g} {height:g}" class="steps" tabindex="0" role="group" aria-label="{label}">'
        f"{''.join(drawn)}</svg>"
    )


def mark(number: int, title: str, body: str, kind: str = "") -> str:
    """Something that has a tooltip and lights up with all that belongs to the same configuration."""
    chosen = f' class="{kind}"' if kind else ""
    return f'<g data-t="{number}"{chosen}><title>{escape(title)}</title>{body}</g>'


def line(points: Sequence[tuple[float, float]]) -> str:
    """An SVG path through points, in tenths of a unit."""
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)


def few(points: Sequence[T], most: int) -> list[T]:
    """At most so many of them, evenly spread, the first and the last included."""
    if len(points) <= most:
        return list(points)
    return [points[round(i * (len(points) - 1) / (most - 1))] for i in range(most)]


def thinned(ranked: Sequence[T], most: int) -> list[T]:
    """At most so many: the best tenth of the places for the best, the others evenly from the rest."""
    best = max(most // 10, 1)
    return [*ranked[:best], *few(ranked[best:], most - best)] if len(ranked) > most else list(ranked)
