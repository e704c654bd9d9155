"""What a sweep came to, as the end of the job's log shows it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from sweeps.ledger import TrialRecord
from sweeps.plan import SweepPlan
from sweeps.selection import Configuration, params_key, plain, rank, words

WIDTH = 100
# Of the configurations the best, of what did not finish what came farthest: all of it is in the report.
_SHOWN, _REST_SHOWN = 30, 12
# More searched fields than this share one column.
_FIELD_COLUMNS = 3
_FIGURES = ("seeds", "MPJPE cm (95%)", "sd cm", "F1", "parameters", "latency ms", "epochs", "train s")
# Left out one after the other, from the last, where the table would be too wide.
_OPTIONAL = ("parameters", "sd cm", "epochs", "train s")
_METRICS = ("contact_f1", "parameters", "latency_ms")
_ORDER = {"stopped": 0, "unfinished": 1, "failed": 2}
_WORDY = ("result", "front", "configuration")

Row = dict[str, str]  # a cell by the name of its column


def print_leaderboard(
    plan: SweepPlan, setting: str, trials: list[TrialRecord], report: dict[str, Any] | None, store_url: str
) -> None:
    """One table a setting, a row a configuration: finished ones best first, by the mean of their seeds, then the rest.

    Below it the verdict's sentence and the report's lines or, where there is no report, where the best one lies.
    """
    console = Console(width=WIDTH, force_terminal=False, highlight=False, emoji=False, markup=False)
    report = report or {}
    configurations = rank(trials)
    rest = sorted((t for t in trials if t.status != "finished"), key=lambda t: (_ORDER[t.status], -t.epochs))
    front = _front(plan, trials)
    rows = [
        _finished(plan, place, configuration, report, front)
        for place, configuration in enumerate(configurations[:_SHOWN], 1)
    ]
    rows += [_unfinished(plan, trial) for trial in rest[:_REST_SHOWN]]
    title = f"{plan.data_name} {setting}: validation, protocol {plan.protocol}"
    console.print(_table(title, plan, rows, console) if rows else f"{title}\nNo trial has begun.")
    if hidden := configurations[_SHOWN:]:
        console.print(f"... and {len(hidden)} more that finished, down to {hidden[-1].mpjpe_cm:.2f} cm")
    if others := Counter(trial.status for trial in rest[_REST_SHOWN:]):
        console.print(f"... and {', '.join(f'{count} {status}' for status, count in others.items())} more")
    if front:
        metrics = ", ".join(objective.metric for objective in plan.objectives)
        console.print(f"Front:       no other is better in all of {metrics}", soft_wrap=True)
    if report.get("verdict"):
        console.print(f"Verdict:     {report['verdict']['reason']}", soft_wrap=True)
    for line in report.get("lines", []):
        console.print(line, soft_wrap=True)
    if configurations and not report:
        best = configurations[0].trials[0].identity
        console.print(f"Checkpoint:  {store_url}/trials/{best}", soft_wrap=True)


def _front(plan: SweepPlan, trials: Sequence[TrialRecord]) -> set[str]:
    """The configurations on the Pareto front; none where there is one objective.

    From the search alone: a second seed would give a configuration a second chance.
    """
    if len(plan.objectives) < 2:
        return set()
    from sweeps.pareto import front

    searched = [trial for trial in trials if trial.status == "finished" and trial.phase == "search"]
    return {params_key(trial.params) for trial in front(searched, plan.objectives)}


def _finished(
    plan: SweepPlan, place: int, configuration: Configuration, report: Mapping[str, Any], front: set[str]
) -> Row:
    trials, key = configuration.trials, configuration.key
    verdict = report.get("verdict") or {}
    # Of the seeds' average where a verdict was made from it, of a single training its own.
    alone = report.get("val", {}).get(trials[0].identity) if len(trials) == 1 else None
    interval = verdict.get("figures", {}).get(key) or alone
    return {
        "rank": str(place),
        "result": _result(key, verdict),
        "front": "yes" if key in front else "",
        **_fields(plan, configuration.params),
        "seeds": str(len(trials)),
        "MPJPE cm (95%)": f"{configuration.mpjpe_cm:.2f}{_bounds(interval)}",
        "sd cm": f"{configuration.spread_cm:.2f}" if len(trials) > 1 else "",
        **_figures(plan, {name: configuration.mean(name) for name in _METRICS}),
        "epochs": str(max(trial.epochs for trial in trials)),
        "train s": f"{sum(trial.seconds for trial in trials):.0f}",
    }


def _unfinished(plan: SweepPlan, trial: TrialRecord) -> Row:
    seed = trial.params.get("seed", plan.seed)
    return {
        "result": trial.status if seed == plan.seed else f"{trial.status} (seed {seed})",
        **_fields(plan, trial.params),
        "MPJPE cm (95%)": _number(trial.mpjpe_cm, ".2f"),
        **_figures(plan, trial.metrics),
        "epochs": str(trial.epochs),
        "train s": f"{trial.seconds:.0f}",
    }


def _figures(plan: SweepPlan, metrics: Mapping[str, float]) -> Row:
    f1, parameters, latency_ms = (metrics.get(name, math.nan) for name in _METRICS)
    row = {"F1": _number(f1, ".3f"), "parameters": _count(parameters)}
    if "latency_ms" in {objective.metric for objective in plan.objectives}:
        row["latency ms"] = _number(latency_ms, ".1f")
    return row


def _fields(plan: SweepPlan, params: Mapping[str, Any]) -> Row:
    searched = {axis.field: params[axis.field] for axis in plan.axes if axis.field in params}
    if len(plan.axes) > _FIELD_COLUMNS:
        return {"configuration": words(searched)}
    return {name: plain(value) for name, value in searched.items()}


def _result(key: str, verdict: Mapping[str, Any]) -> str:
    """What the verdict says of a configuration; "finished" where it was not compared."""
    if key == verdict.get("winner"):
        return "chosen"
    if key in verdict.get("tied", ()):
        return "tied"
    return "worse" if key in verdict.get("figures", ()) else "finished"


def _table(title: str, plan: SweepPlan, rows: Sequence[Row], console: Console) -> Table:
    """The columns that have something to say, as many as there is room for."""
    fields = ["configuration"] if len(plan.axes) > _FIELD_COLUMNS else [axis.field for axis in plan.axes]
    columns = ["rank", "result", "front", *fields, *_FIGURES]
    columns = [column for column in columns if any(row.get(column) for row in rows)]
    for left_out in [None, *reversed(_OPTIONAL)]:
        columns = [column for column in columns if column != left_out]
        table = Table(title=title, box=box.ASCII, title_justify="left", padding=(0, 1, 0, 0))
        for column in columns:
            # A long list of fields is broken before a figure is left out.
            shape: dict[str, Any] = {"max_width": 30} if column == "configuration" else {"no_wrap": True}
            side: Any = "left" if column in _WORDY else "right"
            table.add_column(column.replace("_", "\n").replace(" ", "\n", 1), justify=side, **shape)
        for row in rows:
            table.add_row(*(row.get(column, "") for column in columns))
        if console.measure(table, options=console.options.update(width=10 * WIDTH)).maximum <= WIDTH:
            break
    return table


def _bounds(interval: Mapping[str, Any] | None) -> str:
    if not interval or interval["low"] is None or interval["high"] is None:
        return ""
    return f" ({interval['low']:.2f}-{interval['high']:.2f})"


def _number(value: float, form: str) -> str:
    return f"{value:{form}}" if math.isfinite(value) else "-"


def _count(parameters: float) -> str:
    if not math.isfinite(parameters):
        return "-"
    return f"{parameters / 1e6:.2f} M" if parameters >= 1e5 else f"{parameters:.0f}"
