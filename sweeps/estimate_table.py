"""What `--dry-run` prints of an estimate: a table a setting, then time, cost and where they come from."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table

from sweeps.estimate import Estimate, SettingEstimate
from sweeps.live import clock
from sweeps.plan import Plan
from sweeps.prices import hours_unit
from sweeps.timings import Span

_UNKNOWN = "?"


def print_estimate(plan: Plan, estimate: Estimate) -> None:
    """On 100 columns."""
    console = Console(width=100, force_terminal=False, highlight=False, emoji=False)
    title = f"{plan.name}: what is left to train, {hours_unit(estimate.device)}"
    table = Table(title=title, box=box.ASCII, title_justify="left")
    for column in ("setting", "trials", "ended", "by others", "codebooks", "epochs"):
        table.add_column(column, justify="left" if column == "setting" else "right", no_wrap=True)
    for column in ("from scratch", "with reuse", "and early stops"):
        table.add_column(column, justify="right", no_wrap=column == "and early stops")
    for setting in estimate.settings:
        codebooks = f"{setting.codebooks}" + (f" ({setting.on_shelf} there)" if setting.on_shelf else "")
        counts = [setting.trials, setting.ended, setting.reused, codebooks, setting.epochs]
        table.add_row(setting.setting, *map(str, counts), *_hours(estimate, setting))
    if len(estimate.settings) > 1:
        table.add_row("all", "", "", "", "", "", *_hours(estimate, None))
    console.print(table, markup=False)
    for line in _lines(estimate):
        console.print(line, markup=False)


def _hours(estimate: Estimate, setting: SettingEstimate | None) -> list[str]:
    """A cell each kind; of all settings together where none is given."""
    kinds = ("naive", "reusing", "stopping")
    spans = [estimate.total(kind) if setting is None else getattr(setting, kind) for kind in kinds]
    naive, reusing, stopping = (span and estimate.worker_hours(span) for span in spans)
    shown = [_UNKNOWN if span is None else _amount(span.mean) for span in (naive, reusing)]
    return [*shown, _UNKNOWN if stopping is None else _range(stopping)]


def _lines(estimate: Estimate) -> list[str]:
    left, naive, wall = estimate.total("stopping"), estimate.total("naive"), estimate.wall_s()
    lines = []
    if left is None or wall is None:
        lines.append(
            "Time:     no trial like these was ever timed on this data: run one first (`--trials 1`)."
        )
    else:
        least, mean, most = (clock(seconds) for seconds in (wall.least, wall.mean, wall.most))
        lines.append(f"Time:     about {mean} ({least} to {most}), {estimate.slots} trials at once.")
        lines.append(
            f"Basis:    epochs of {estimate.timed} trials on this data, each stage from least to most."
        )
    if estimate.usd_per_hour is None:
        lines.append("Cost:     unknown; give --usd-per-hour, or set $LATENTACT_USD_PER_HOUR.")
    elif left is not None and naive is not None:
        price = estimate.usd_per_hour
        usd, whole = (estimate.worker_hours(span).times(price, price, price) for span in (left, naive))
        lines.append(
            f"Cost:     {_range(usd)} USD at {price:g} an hour of a worker; {_amount(whole.mean)} USD from scratch."
        )
    if estimate.kept < 1:
        how = "did so far" if estimate.measured else "does with many trials; with few it stops fewer"
        lines.append(
            f"Stopping: spares {1 - estimate.kept:.0%} of the search's predictor epochs, as it {how}. The most counts none."
        )
    if not estimate.exact:
        lines.append("Points:   the search chooses them as it goes; evenly spread ones stand for them here.")
    return lines


def _range(span: Span) -> str:
    return f"{_amount(span.mean)} ({_amount(span.least)}-{_amount(span.most)})"


def _amount(value: float) -> str:
    return f"{value:.2f}" if value < 100 else f"{value:.0f}"
