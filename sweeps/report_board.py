"""The report's leaderboard: one row a configuration, with the interval of every trial that has one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from sweeps.ledger import TrialRecord
from sweeps.redacted import redacted
from sweeps.report_chart import Ruler
from sweeps.report_front import front
from sweeps.report_view import Point, SweepView
from sweeps.report_words import UNKNOWN, figure, finite, metric_name, told
from sweeps.selection import plain, words

# Rows a setting that are shown at once, and those that are kept behind a fold.
SHOWN, FOLDED = 16, 200
# Metrics that have a column where any trial knows them.
_COLUMNS = ("contact_f1", "parameters", "latency_ms")
# A line of the plot is as high as a line of the table's text.
_PLOT_WIDTH, _PLOT_LINE = 150, 22.5


@dataclass(frozen=True)
class BoardRow:
    """`cells` follow the board's columns; `intervals` is one line for each trial that has one; `badges` are "chosen" or "tied",
    and "front" where the sweep has several objectives."""

    number: int
    rank: str
    badges: list[str]
    params: list[str]
    mpjpe: str
    spread: str
    intervals: list[str]
    plot: Markup
    cells: list[str]
    seeds: str
    epochs: str
    status: str
    title: str


@dataclass(frozen=True)
class Board:
    """A setting's leaderboard; `answer` is what was found out, in one sentence."""

    setting: str
    answer: str
    decided: bool
    scale: str  # of the plots
    fields: list[str]
    columns: list[str]
    rows: list[BoardRow]
    folded: list[BoardRow]
    left_out: int
    lines: list[str]
    tests: list[dict[str, str]]


def boards(view: SweepView) -> list[Board]:
    """One for each setting, in the plan's order."""
    return [_board(view, setting) for setting in view.settings]


def _board(view: SweepView, setting: str) -> Board:
    report, verdict = view.reports.get(setting, {}), view.verdict(setting)
    points = view.points[setting]
    known = [m for m in _COLUMNS if any(math.isfinite(figure(t, m)) for t in view.settings[setting])]
    intervals = report.get("val") or {}
    ruler = _plot_ruler(points, intervals)
    on_front = {p.number for p in front(points, view.objectives)} if len(view.objectives) > 1 else set()
    place = {point.key: str(i) for i, point in enumerate((p for p in points if p.finished), 1)}
    rows = [
        _row(view, point, place.get(point.key, ""), _badges(view, point, on_front), known, intervals, ruler)
        for point in points[: SHOWN + FOLDED]
    ]
    # What never finished is of less interest, however few there are.
    shown = min(SHOWN, max(sum(1 for row in rows if row.rank), 1))
    return Board(
        setting=setting,
        answer=_answer(view, setting),
        decided=bool(verdict.get("reason")),
        scale="" if ruler.steps or not place else f"{ruler.low:.2f} to {ruler.high:.2f} cm",
        fields=view.fields,
        columns=[metric_name(metric) for metric in known],
        rows=rows[:shown],
        folded=rows[shown:],
        left_out=max(len(points) - SHOWN - FOLDED, 0),
        lines=[redacted(str(text)) for text in report.get("lines") or []],
        tests=_tests(verdict),
    )


def _answer(view: SweepView, setting: str) -> str:
    """The verdict's sentence or, before there is one, how things stand."""
    if reason := view.verdict(setting).get("reason"):
        return str(reason)
    finished = [point for point in view.points[setting] if point.finished]
    if not finished:
        return "No trial has finished: nothing can be said yet."
    best = finished[0]
    seeds = "one seed" if len(best.finished) == 1 else f"{len(best.finished)} seeds"
    return (
        f"No verdict yet. The best of {len(finished)} finished so far is {words(best.params)} with "
        f"{told('mpjpe_cm', best.mean('mpjpe_cm'))} ({seeds}); no test has compared it with the others."
    )


def _row(
    view: SweepView,
    point: Point,
    rank: str,
    badges: list[str],
    known: list[str],
    intervals: Mapping[str, Any],
    ruler: Ruler,
) -> BoardRow:
    finished = point.finished
    spans = []
    for trial in _by_seed(point):
        low, high = _bounds(intervals.get(trial.identity))
        if math.isfinite(low):
            seed = f"seed {plain(trial.params.get('seed', 0))}: " if len(finished) > 1 else ""
            spans.append(f"{seed}{low:.2f} to {high:.2f}")

    seeds = str(len(finished))
    if 0 < len(finished) < len(point.trials):
        seeds += f" of {len(point.trials)}"
    return BoardRow(
        number=point.number,
        rank=rank,
        badges=badges,
        params=[plain(point.params[name]) if name in point.params else UNKNOWN for name in view.fields],
        mpjpe=told("mpjpe_cm", point.figure("mpjpe_cm"), unit=False),
        spread=told("mpjpe_cm", point.spread("mpjpe_cm"), unit=False),
        intervals=spans,
        plot=_plot(point, intervals, ruler),
        cells=[told(metric, point.figure(metric), unit=False) for metric in known],
        seeds=seeds if finished else UNKNOWN,
        epochs=str(max(trial.epochs for trial in point.trials)),
        status=point.status,
        title=point.label(),
    )


def _badges(view: SweepView, point: Point, on_front: set[int]) -> list[str]:
    said = view.said_of(point.setting, point.params)
    return [*([said] if said else []), *(["front"] if point.number in on_front else [])]


def _by_seed(point: Point) -> list[TrialRecord]:
    return sorted(point.finished, key=lambda trial: trial.params.get("seed", 0))


def _bounds(interval: Any) -> tuple[float, float]:
    if not isinstance(interval, Mapping):
        return math.nan, math.nan
    return finite(interval.get("low")), finite(interval.get("high"))


def _plot_ruler(points: list[Point], intervals: Mapping[str, Any]) -> Ruler:
    """One scale for the plots of a setting, so that they can be compared down the column."""
    values = []
    for point in points:
        for trial in point.finished:
            values += [
                v
                for v in (figure(trial, "mpjpe_cm"), *_bounds(intervals.get(trial.identity)))
                if math.isfinite(v)
            ]
    return Ruler.over(values)


def _plot(point: Point, intervals: Mapping[str, Any], ruler: Ruler) -> Markup:
    """A dot and a bar for each finished trial of a configuration, on its setting's scale."""
    drawn = []
    for i, trial in enumerate(_by_seed(point)):
        y, x = _PLOT_LINE * (i + 0.5), 4 + (_PLOT_WIDTH - 8) * ruler.at(figure(trial, "mpjpe_cm"))
        low, high = _bounds(intervals.get(trial.identity))
        if math.isfinite(low):
            x0, x1 = (4 + (_PLOT_WIDTH - 8) * ruler.at(v) for v in (low, high))
            drawn.append(f'<line class="rod" x1="{x0:.1f}" x2="{x1:.1f}" y1="{y}" y2="{y}"/>')
        drawn.append(f'<circle class="dot" cx="{x:.1f}" cy="{y}" r="3"/>')
    height = _PLOT_LINE * max(len(point.finished), 1)
    return Markup(
        f'<svg class="plot" viewBox="0 0 {_PLOT_WIDTH} {height}" aria-hidden="true" style="width:{_PLOT_WIDTH}px">'
        f"{''.join(drawn)}</svg>"
    )


def _tests(verdict: Mapping[str, Any]) -> list[dict[str, str]]:
    """The verdict's comparisons as text: column -> cell."""
    rows = []
    for test in verdict.get("tests") or []:
        if isinstance(test, Mapping):
            rows.append({str(name).replace("_", " "): _cell(value) for name, value in test.items()})
    return rows


def _cell(value: Any) -> str:
    if isinstance(value, Mapping):
        if "estimate" in value:
            estimate, (low, high) = finite(value["estimate"]), _bounds(value)
            if not math.isfinite(estimate):
                return UNKNOWN
            span = f" ({low:+.3f} to {high:+.3f})" if math.isfinite(low) else ""
            return f"{estimate:+.3f}{span}"
        return ", ".join(f"{name} {_cell(one)}" for name, one in value.items())
    if isinstance(value, float):
        return f"{value:.3g}" if math.isfinite(value) else UNKNOWN
    return UNKNOWN if value is None else str(value)
