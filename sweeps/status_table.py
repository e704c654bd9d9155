"""What `python -m sweeps ls` and `status` print."""

from __future__ import annotations

import shlex
import time
from datetime import UTC, datetime
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from sweeps.again import planned_with
from sweeps.errors import SweepError
from sweeps.ledger import TrialRecord
from sweeps.live import clock, describe, log_line
from sweeps.prices import describe_cost
from sweeps.selection import plain
from sweeps.status import SweepState, rank

_SHORT = {"finished": "fin", "stopped": "stop", "failed": "fail", "unfinished": "open"}


def ls_rows(states: list[SweepState]) -> list[tuple[str, ...]]:
    """A heading, and a row a sweep."""
    rows = [("NAME", "KIND", "DATA", *map(str.upper, _SHORT.values()), "BEST VAL MPJPE cm", "LAST", "DRIVER")]
    for state in states:
        best = state.best()
        shown = ", ".join(
            f"{setting} {best[setting].mpjpe_cm:.2f}" if setting in best else f"{setting} -"
            for setting in state.trials
        )
        counts = map(str, state.counts().values())
        rows.append(
            (state.name, state.kind or "-", state.record["data"], *counts, shown, _ago(state), _driver(state))
        )
    return rows


def print_status(state: SweepState, *, rows: int) -> None:
    """Everything about one sweep, with at most `rows` trials a setting, on 100 columns."""
    console = Console(width=100, force_terminal=False, highlight=False, emoji=False, markup=False)
    for line in _heading(state):
        console.print(line)
    for setting, trials in state.trials.items():
        console.print()
        console.print(_table(state, setting, trials, rows) if trials else f"{setting}: no trial yet")
        if len(trials) > rows:
            console.print(f"and {len(trials) - rows} more (--all shows them)")
        for line in state.reports.get(setting, {}).get("lines", []):
            console.print(line, soft_wrap=True)
    if failed := [trial for trial in state.every if trial.status == "failed"]:
        console.print(f"\nFailed ({len(failed)}):")
        for trial in failed[:rows]:
            console.print(f"  {trial.setting} {describe(trial.params)}: {trial.reason}", soft_wrap=True)
    console.print("\nNext:")
    for line in _next(state, failed=len(failed)):
        console.print(f"  {line}", soft_wrap=True)


def _ago(state: SweepState) -> str:
    """When it was last heard of: `12 s ago`, `3 min ago`, `5 h ago`, then the day."""
    last_s = state.last_s()
    seconds = time.time() - last_s
    if not last_s:
        return "-"
    for limit_s, unit_s, unit in ((60, 1, "s"), (3600, 60, "min"), (86400, 3600, "h")):
        if seconds < limit_s:
            return f"{max(0, int(seconds)) // unit_s} {unit} ago"
    return f"{datetime.fromtimestamp(last_s, UTC):%Y-%m-%d}"


def _driver(state: SweepState) -> str:
    if state.driver.state == "silent":
        return f"silent {clock(state.driver.silent_s())}"
    return "running" if state.driver.state == "running" else "-"


def _heading(state: SweepState) -> list[str]:
    record, driver = state.record, state.driver
    told = [
        f"{name} {record[name]}"
        for name in (
            "search",
            "stopping",
            "trials",
            "epochs",
            "seeds",
            "workers",
            "protocol",
            "mode",
            "folds",
        )
        if name in record
    ]
    device = state.session().get("device", "cpu")
    spent = f"{describe_cost(state.worker_seconds(own=True), device, state.price())} in trials that ended"
    if (reused_s := state.worker_seconds(own=False)) > 0:
        spent += f"; {describe_cost(reused_s, device, None)} were spent before, by others"
    lines = [
        f"{state.name}: {state.kind or 'sweep'} on {record['data']} ({record['data_digest'][:12]})",
        f"Plan:    {', '.join(told)}",
        f"Trials:  {', '.join(f'{n} {status}' for status, n in state.counts().items())}; last event {_ago(state)}",
        f"Spent:   {spent}",
    ]
    if driver.state == "running":
        where = log_line(driver.live, "", "") if driver.live else "it is starting"
        lines.append(f"Driver:  running ({driver.holder}): {where}")
    elif driver.state == "silent":
        lines.append(
            f"Driver:  {driver.holder} has been silent for {clock(driver.silent_s())} and has not left: it was killed, "
            "or its network is down"
        )
    else:
        lines.append("Driver:  nobody runs it" + (f"; {reason}" if (reason := state.stop_reason()) else ""))
    return lines


def _table(state: SweepState, setting: str, trials: list[TrialRecord], rows: int) -> Table:
    shown = rank(trials)[:rows]
    fields = list(dict.fromkeys(name for trial in shown for name in trial.params))
    # A driver that is not heard any more runs nothing.
    live = state.driver.live if state.driver.live and state.driver.state == "running" else {"running": []}
    running = {trial["identity"]: trial for trial in live["running"]}
    table = Table(title=f"{setting}: validation", box=box.ASCII, title_justify="left")
    for column in (*fields, "MPJPE cm", "F1", "epochs", "seconds"):
        table.add_column(column, justify="right", overflow="fold")
    table.add_column("status", overflow="fold")
    for trial in shown:
        table.add_row(
            *("-" if (value := trial.params.get(field)) is None else plain(value) for field in fields),
            _figure(trial.metrics.get("mpjpe_cm"), 2),
            _figure(trial.metrics.get("contact_f1"), 3),
            str(trial.epochs),
            f"{trial.seconds:.0f}",
            _status(state, trial, running.get(trial.identity)),
        )
    return table


def _status(state: SweepState, trial: TrialRecord, running: dict[str, Any] | None) -> str:
    if running is not None:
        return (
            f"{running['stage']} {running['epoch']}/{running['epochs']}" if running["epochs"] else "starting"
        )
    notes: list[str] = [trial.status]
    if trial.status != "unfinished" and trial.sweep != state.name:
        notes.append(f"by {trial.sweep}")
    if trial.reason and trial.status in ("finished", "stopped"):
        notes.append(trial.reason)
    return ", ".join(notes)


def _next(state: SweepState, *, failed: int) -> list[str]:
    if state.driver.state == "running":
        return [f"python -m sweeps watch {state.name}", f"python -m sweeps stop {state.name}"]
    lines = []
    if state.counts()["unfinished"] or state.reports.keys() != state.trials.keys():
        try:
            lines.append(f"{shlex.join(planned_with(state, retry_failed=False))}   # goes on where it was")
        except SweepError as error:
            lines.append(str(error))
    if failed:
        lines.append(f"python -m sweeps retry {state.name}   # how its failed trials are tried again")
    return lines or ["Nothing is left to do."]


def _figure(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
