"""What a sweep came to, as the end of the job's log shows it."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from sweeps.ledger import TrialRecord
from sweeps.plan import SweepPlan
from sweeps.selection import rank


def print_leaderboard(
    plan: SweepPlan, setting: str, trials: list[TrialRecord], report: dict[str, Any] | None, store_url: str
) -> None:
    """One table a setting, best first: finished trials by the mean of their seeds, then those stopped early."""
    console = Console(width=100, force_terminal=False, highlight=False, emoji=False)
    table = Table(
        title=f"{plan.data_name} {setting}: validation, protocol {plan.protocol}",
        box=box.ASCII,
        title_justify="left",
    )
    for column in ("rank", "codes", "depth", "seed", "MPJPE cm (95%)", "F1", "epochs", "status", "seconds"):
        table.add_column(column, justify="left" if column == "status" else "right", no_wrap=True)
    intervals = (report or {}).get("val", {})
    configurations = rank(trials)
    for place, configuration in enumerate(configurations, 1):
        for trial in configuration.trials:
            _add(table, str(place), trial, intervals.get(trial.identity))
        if len(configuration.trials) > 1:
            mean = f"{configuration.mpjpe_cm:.2f} sd {configuration.spread_cm:.2f}"
            table.add_row(
                "", str(configuration.codes), str(configuration.depth), "mean", mean, "", "", "", ""
            )
    rest = [trial for trial in trials if trial.status != "finished"]
    for trial in sorted(rest, key=lambda t: (t.status, -t.epochs)):
        _add(table, "", trial, None)
    console.print(table)
    for line in (report or {}).get("lines", []):
        console.print(line, soft_wrap=True)


def _add(table: Table, place: str, trial: TrialRecord, interval: dict[str, Any] | None) -> None:
    figure = f"{trial.mpjpe_cm:.2f}" if "mpjpe_cm" in trial.metrics else "-"
    if interval and interval["low"] is not None:
        figure += f" ({interval['low']:.2f}-{interval['high']:.2f})"
    table.add_row(
        place,
        str(trial.params["codes"]),
        str(trial.params["depth"]),
        str(trial.params["seed"]),
        figure,
        f"{trial.metrics['contact_f1']:.3f}" if "contact_f1" in trial.metrics else "-",
        str(trial.epochs),
        trial.status,
        f"{trial.seconds:.0f}",
    )
