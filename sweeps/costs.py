"""What a sweep cost: its nodes, idle ones included, and its trials; what `python -m sweeps costs NAME` tells."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from sweeps.capacity import Workers
from sweeps.ledger import TrialRecord
from sweeps.node_hours import noted, total_usd
from sweeps.prices import hours_unit
from sweeps.status import SweepState


def costs(state: SweepState) -> dict[str, Any]:
    """All of it as JSON; USD are null where a price is unknown.

    `nodes` are the cluster's while the sweep's drivers ran, whoever used them; `trials` those that this sweep trained, by
    setting; `reused_worker_hours` what others had spent on trials that it found trained.
    """
    nodes = noted(state.notes)
    own = {s: [t for t in trials if t.sweep in ("", state.name)] for s, trials in state.trials.items()}
    workers = Workers.parse(str(state.record["workers"])).least
    said = state.session().get("usd_per_hour")
    labelled = any(node.usd_per_hour is not None for node in nodes)
    price = f"--usd-per-hour {said:g} of a worker" if said is not None else None
    return {
        "name": state.name,
        "device": state.session().get("device", ""),
        "nodes": [
            {"type": n.name, "most": n.most, "hours": n.hours, "usd_per_hour": n.usd_per_hour, "usd": n.usd}
            for n in nodes
        ],
        "nodes_usd": total_usd(nodes),
        "trials": {setting: _of(trials, workers) for setting, trials in own.items()},
        "trials_usd": _of([t for trials in own.values() for t in trials], workers)["usd"],
        "reused_worker_hours": state.worker_seconds(own=False) / 3600,
        "price": price or ("labels of the nodes" if labelled else "unknown"),
    }


def _of(trials: Sequence[TrialRecord], workers: int) -> dict[str, Any]:
    took = [trial for trial in trials if trial.seconds]
    usd = [cost for trial in took if (cost := trial.usd(workers)) is not None]
    types: dict[str, float] = {}
    for trial in took:
        types[trial.node_type] = types.get(trial.node_type, 0.0) + trial.seconds / 3600 * workers
    return {
        "count": len(trials),
        "worker_hours": math.fsum(types.values()),
        "worker_hours_by_node_type": types,
        "failed_worker_hours": math.fsum(t.seconds for t in took if t.status == "failed") / 3600 * workers,
        "usd": math.fsum(usd) if took and len(usd) == len(took) else None,
    }


def print_costs(told: dict[str, Any]) -> None:
    """The same as two tables, on 100 columns."""
    console = Console(width=100, force_terminal=False, highlight=False, emoji=False, markup=False)
    console.print(f"{told['name']}: price from {told['price']}")
    nodes = _table(
        "nodes of the cluster while it ran, idle ones included",
        "node type",
        "most at once",
        "hours",
        "USD/hour",
    )
    for n in told["nodes"]:
        nodes.add_row(
            n["type"], str(n["most"]), f"{n['hours']:.2f}", _usd(n["usd_per_hour"], "g"), _usd(n["usd"])
        )
    nodes.add_row("all", "", f"{sum(n['hours'] for n in told['nodes']):.2f}", "", _usd(told["nodes_usd"]))
    console.print(nodes if told["nodes"] else "nodes: nothing was noted of them")
    trials = _table(
        "trials that it trained", "setting", "trials", hours_unit(told["device"]), "of failed ones", "on"
    )
    for setting, t in told["trials"].items():
        on = ", ".join(f"{name or '?'} {hours:.2f}" for name, hours in t["worker_hours_by_node_type"].items())
        trials.add_row(
            setting,
            str(t["count"]),
            f"{t['worker_hours']:.2f}",
            f"{t['failed_worker_hours']:.2f}",
            on,
            _usd(t["usd"]),
        )
    hours = sum(t["worker_hours"] for t in told["trials"].values())
    count = sum(t["count"] for t in told["trials"].values())
    trials.add_row("all", str(count), f"{hours:.2f}", "", "", _usd(told["trials_usd"]))
    console.print(trials)
    if told["reused_worker_hours"] > 0:
        console.print(
            f"{told['reused_worker_hours']:.2f} hours more were spent before, by others, on trials it reused."
        )


def _table(title: str, name: str, *columns: str) -> Table:
    table = Table(title=title, box=box.ASCII, title_justify="left")
    table.add_column(name, overflow="fold")
    for column in (*columns, "USD"):
        table.add_column(column, justify="right", overflow="fold")
    return table


def _usd(amount: float | None, form: str = ".2f") -> str:
    return "unknown" if amount is None else f"{amount:{form}}"
