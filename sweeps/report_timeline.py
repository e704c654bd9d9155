"""The timeline of the cluster: a bar a trial on the place where it ran."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from html import escape

from markupsafe import Markup

from sweeps.ledger import TrialRecord
from sweeps.report_chart import mark, svg
from sweeps.report_sessions import Session
from sweeps.report_view import SweepView, trial_label
from sweeps.report_words import moment, time_told

_WIDTH, _RIGHT, _TOP, _FOOT = 1120, 8, 20, 22
_GAP = 18  # between two sessions
# Beyond these a bar is too thin to point at: bars of a kind become one path, without tooltips.
MOST_BARS = 1500
_STEPS_S = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400]


def timeline(view: SweepView, found: Sequence[Session]) -> Markup | None:
    """Sessions beside each other, each on its own stretch of time; None where no time is known."""
    drawn_sessions = [session for session in found if session.trials]
    if not drawn_sessions:
        return None
    slots = sorted({t.slot for s in drawn_sessions for t in s.trials}, key=_natural)
    row = 16 if len(slots) <= 40 else 8 if len(slots) <= 120 else 3
    left = 16 + 6.2 * max(len(_short(slot)) for slot in slots) if row == 16 else 12
    total_s = sum(session.span_s for session in drawn_sessions)
    room = _WIDTH - left - _RIGHT - _GAP * (len(drawn_sessions) - 1)
    foot = _TOP + row * len(slots)
    place = {slot: _TOP + row * i for i, slot in enumerate(slots)}
    drawn: list[str] = []
    if row == 16:
        for slot in slots:
            drawn.append(
                f'<text x="{left - 6:.1f}" y="{place[slot] + 12}" text-anchor="end">{escape(_short(slot))}<title>{escape(slot)}</title></text>'
            )
    bars: list[tuple[TrialRecord, float, float]] = []
    x = left
    for session in drawn_sessions:
        width = room * session.span_s / total_s
        drawn.append(
            f'<rect class="held" x="{x:.1f}" y="{_TOP}" width="{width:.1f}" height="{row * len(slots)}"/>'
        )
        if width > 110 or len(drawn_sessions) == 1:
            drawn.append(f'<text x="{x:.1f}" y="12">from {moment(session.begins_s)}</text>')
        for seconds in _ticks(session.span_s, max(2, int(width / 90))):
            at = x + width * seconds / session.span_s
            drawn.append(f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="{_TOP}" y2="{foot + 4}"/>')
            drawn.append(f'<text x="{at:.1f}" y="{foot + 16}" text-anchor="middle">{_clock(seconds)}</text>')
        for trial in session.trials:
            begin = x + width * (trial.began_s - session.begins_s) / session.span_s
            bars.append((trial, begin, width * (trial.ended_s - trial.began_s) / session.span_s))
        x += width + _GAP
    drawn += _bars(view, bars, place, row)
    spoken = f"timeline: {len(bars)} trials on {len(slots)} places in {len(drawn_sessions)} sessions, {time_told(total_s)} in all"
    return svg(_WIDTH, foot + _FOOT, drawn, spoken)


def _bars(
    view: SweepView,
    bars: Sequence[tuple[TrialRecord, float, float]],
    place: Mapping[str, int],
    row: int,
) -> list[str]:
    height = max(row - 3, 2)
    if len(bars) > MOST_BARS:
        paths: dict[str, list[str]] = {}
        for trial, x, width in bars:
            kind = f"run s{view.colours[trial.setting]} {trial.status}"
            paths.setdefault(kind, []).append(
                f"M{x:.1f} {place[trial.slot] + 1}h{max(width, 0.3):.1f}v{height}H{x:.1f}z"
            )
        return [f'<path class="{kind}" d="{"".join(path)}"/>' for kind, path in paths.items()]
    drawn = []
    for trial, x, width in bars:
        y = place[trial.slot] + 1
        body = f'<rect x="{x:.1f}" y="{y}" width="{max(width - 0.6, 0.6):.1f}" height="{height}" rx="1.5"/>'
        if trial.status == "failed" and row == 16:
            body += f'<path class="cross" d="M{x + 3:.1f} {y + 3}l7 7m0-7l-7 7"/>'
        title = f"{trial_label(trial)} · {time_told(trial.ended_s - trial.began_s)} on {_short(trial.slot)} from {moment(trial.began_s)}"
        drawn.append(
            mark(view.number(trial), title, body, f"run s{view.colours[trial.setting]} {trial.status}")
        )
    return drawn


def _ticks(span_s: float, about: int) -> list[float]:
    step = next((s for s in _STEPS_S if span_s / s <= about), 86400 * math.ceil(span_s / 86400 / about))
    return [float(step * i) for i in range(int(span_s / step) + 1)]


def _clock(seconds: float) -> str:
    if seconds == 0:
        return "0"
    for unit, word in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= unit and seconds % unit == 0:
            return f"{seconds / unit:g} {word}"
    minutes, rest = divmod(int(seconds), 60)
    return (
        f"{minutes // 60}:{minutes % 60:02d} h"
        if minutes >= 60
        else f"{minutes}:{rest:02d} min"
        if minutes
        else f"{rest} s"
    )


def _short(slot: str) -> str:
    name = f"place {slot}" if slot.isdigit() else slot
    return name if len(name) <= 22 else f"…{name[-21:]}"


def _natural(slot: str) -> list[tuple[int, str]]:
    """node-2 before node-10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", slot)]
