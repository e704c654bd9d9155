"""Figures of a card's page: metrics as dots on a line with their intervals, validation beside test."""

from __future__ import annotations

import math
from collections.abc import Mapping
from html import escape
from typing import Any

_WIDTH, _LEFT, _RIGHT, _ROW = 760, 150, 160, 42
_HEADINGS = {"cm": "Errors, cm: smaller is better", "share": "Contact, share: larger is better"}
_WORDS = {
    "mpjpe_cm": "MPJPE",
    "mpjpe_ra_cm": "root-aligned",
    "mpjpe_pa_cm": "Procrustes, a frame",
    "mpjpe_pa_trajectory_cm": "Procrustes, a window",
    "mpjpe_pa_first_cm": "Procrustes, frame 1",
    "mpjpe_own_cm": "in own cameras",
    "transl_cm": "translation",
    "contact_f1": "F1",
    "contact_ap": "average precision",
}


def metric_chart(val: Mapping[str, Any], test: Mapping[str, Any], unit: str) -> str:
    """An SVG of the metrics of one unit, "cm" or "share" (of contact); "" where none is known."""
    names = [name for name in test if _is_of(name, unit) and _known(test[name])]
    if not names:
        return ""
    every = [bound for part in (val, test) for name in names for bound in _bounds(part.get(name))]
    top = 1.0 if unit == "share" else _nice(max(every))
    height = 30 + _ROW * len(names) + 26
    drawn = [f'<text class="name" x="0" y="14">{_HEADINGS[unit]}</text>']
    drawn += [
        f'<text class="val" x="{_WIDTH - 130}" y="14">● val</text>',
        f'<text class="test" x="{_WIDTH - 64}" y="14">● test</text>',
    ]
    for step in range(5):
        x = _across(top * step / 4, top)
        drawn.append(f'<path class="grid" d="M{x:.1f} 26V{height - 22}"/>')
        drawn.append(f'<text x="{x:.1f}" y="{height - 6}" text-anchor="middle">{top * step / 4:g}</text>')
    for row, name in enumerate(names):
        y = 30 + _ROW * row
        drawn.append(f'<text class="name" x="0" y="{y + 24}">{escape(_words(name))}</text>')
        for part, kind, shift in ((val, "val", 12), (test, "test", 28)):
            drawn += _rod(part.get(name), kind, y + shift, top, "cm" if unit == "cm" else "")
    spoken = ", ".join(f"{_words(name)} {test[name]['estimate']:.3g} on test" for name in names)
    return f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(spoken)}">{"".join(drawn)}</svg>'


def _rod(interval: Any, kind: str, y: float, top: float, unit: str) -> list[str]:
    if not _known(interval):
        return []
    low, estimate, high = (interval.get(bound) for bound in ("low", "estimate", "high"))
    drawn = [f'<circle class="{kind}" cx="{_across(estimate, top):.1f}" cy="{y}" r="4"/>']
    digits, words = (2 if unit else 3), f"{estimate:.2f}" if unit else f"{estimate:.3f}"
    if _finite(low) and _finite(high):
        drawn.append(f'<path class="rod {kind}" d="M{_across(low, top):.1f} {y}H{_across(high, top):.1f}"/>')
        words += f" ({low:.{digits}f} to {high:.{digits}f})"
    drawn.append(f'<text class="{kind}" x="{_WIDTH - _RIGHT + 8}" y="{y + 4}">{words}</text>')
    return drawn


def _across(value: float, top: float) -> float:
    return _LEFT + (_WIDTH - _LEFT - _RIGHT) * min(max(value / top, 0.0), 1.0)


def _is_of(name: str, unit: str) -> bool:
    """Contact by finger, and what the camera did, are left to the card's tables."""
    return name in _WORDS and name.endswith("_cm") == (unit == "cm")


def _words(name: str) -> str:
    return _WORDS[name]


def _known(interval: Any) -> bool:
    return isinstance(interval, dict) and _finite(interval.get("estimate"))


def _bounds(interval: Any) -> list[float]:
    if not _known(interval):
        return []
    return [interval[bound] for bound in ("low", "estimate", "high") if _finite(interval.get(bound))]


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _nice(value: float) -> float:
    """The least of 1, 2, 4, 6, 8, 12, 20, 40, .. times a power of ten that is not below `value`."""
    power = 10.0 ** math.floor(math.log10(max(value, 1e-9)))
    return next(step * power for step in (1, 2, 4, 6, 8, 10) if step * power >= value * 0.9999)
