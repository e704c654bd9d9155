"""A comparison in words: for the terminal, as Markdown, as JSON, and its errors per clip."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from sweeps.comparison_table import METRICS, Comparison, Readings, Row, untrained_keys
from sweeps.ledger import TrialRecord
from sweeps.readings import trial_key
from trainables.intervals import Interval
from trainables.significance import smallest_p

_DIGITS = {"mpjpe_cm": 2, "contact_f1": 3}


def print_comparison(comparison: Comparison) -> None:
    """The table, an interval and a p-value below the figure they belong to; its notes are in the Markdown."""
    console = Console(width=140, force_terminal=False, highlight=False, emoji=False)
    table = Table(
        title=_title(comparison), box=box.ASCII, title_justify="left", show_lines=True, padding=(0, 1, 0, 0)
    )
    minus = f"minus\n{comparison.plan.reference}"
    figures = ["MPJPE cm\n(95%)", f"{minus}\n(95%, p)", "contact F1\n(95%)", f"{minus}\n(95%, p)"]
    for column in ["rank", "method", *figures, "epochs", "train s", "parameters", "seeds"]:
        table.add_column(column, justify="left" if column == "method" else "right", no_wrap=True)
    for row in comparison.rows:
        rank, name, mpjpe, mpjpe_minus, mpjpe_p, f1, f1_minus, f1_p, *rest, _ = _cells(comparison, row)
        below = [
            mpjpe,
            "\n".join(filter(None, [mpjpe_minus, mpjpe_p and f"p {mpjpe_p}"])),
            f1,
            "\n".join(filter(None, [f1_minus, f1_p and f"p {f1_p}"])),
        ]
        table.add_row(rank, name, *(cell.replace(" (", "\n(", 1) for cell in below), *rest)
    console.print(table)


def markdown(comparison: Comparison) -> str:
    """The table and its notes."""
    columns = _columns(comparison)
    lines = [f"**{_title(comparison)}**", "", f"| {' | '.join(columns)} |", "| --- " * len(columns) + "|"]
    lines += [f"| {' | '.join(_cells(comparison, row))} |" for row in comparison.rows]
    return "\n".join([*lines, "", *(f"- {note}" for note in notes(comparison))]) + "\n"


def to_json(comparison: Comparison) -> dict[str, Any]:
    """All of it as plain values; the errors per clip are kept beside it."""
    plan = comparison.plan
    return {
        "schema": 1,
        "name": plan.name,
        "setting": comparison.setting,
        "plan": plan.record(),
        "hand": comparison.hand,
        "groups": comparison.groups,
        "clips": comparison.clips,
        "windows": comparison.windows,
        "missing": list(comparison.missing),
        "rows": [
            {
                "name": row.name,
                "rank": row.rank,
                "oracle": row.oracle,
                "seeds": list(row.seeds),
                "epochs": row.epochs,
                "seconds": None if row.seconds is None else round(row.seconds, 3),
                "seconds_are_least": row.seconds_are_least,
                "parameters": row.parameters,
                "chosen": row.chosen,
                "contact_threshold": row.errors.contact_threshold,
                **{m: row.figures[m].to_json() for m in METRICS},
                "difference": {m: interval.to_json() for m, interval in row.differences.items()},
                "p": dict(row.p),
                "p_holm": dict(row.p_corrected),
            }
            for row in comparison.rows
        ],
        "notes": notes(comparison),
    }


def files(comparison: Comparison, trials: Sequence[TrialRecord], readings: Readings) -> dict[str, str]:
    """Everything to be kept of a comparison, by path: the table twice, and what it was made from."""
    texts = {
        "comparison.md": markdown(comparison),
        "comparison.json": json.dumps(to_json(comparison), indent=1),
    }
    plan = comparison.plan
    for name in plan.contenders:
        own = [
            {"params": trial.params, "identity": trial.identity, **readings[key]}
            for trial in trials
            if trial.params["contender"] == name
            and (key := trial_key(trial.identity, trial.epochs)) in readings
        ]
        texts[f"errors/{name.replace(' ', '-')}.json"] = json.dumps(own)
    for name in plan.untrained:
        keys = zip(plan.fold_numbers(), untrained_keys(plan, comparison.setting, name), strict=True)
        own = [{"fold": fold, **readings[key]} for fold, key in keys if key in readings]
        texts[f"errors/{name.replace(' ', '-')}.json"] = json.dumps(own)
    return texts


def notes(comparison: Comparison) -> list[str]:
    """What the table does not say by itself."""
    plan, rows = comparison.plan, comparison.rows
    group = rows[0].errors.group if rows else "group"
    held_out = f"each held out once in {plan.folds} folds" if plan.folds else "the test part"
    stand_in = "" if comparison.hand == "mano" else f" Made with the stand-in hand {comparison.hand}."
    look_ahead = " (the window's first contact: a declared look ahead)" if plan.protocol == "goal" else ""
    found = [
        (
            f"{_counted(comparison.groups, 'group')} ({group}), {held_out}; {comparison.clips} clips, {comparison.windows} windows. "
            f"Protocol {plan.protocol}{look_ahead}, mode {plan.mode}, data {plan.data_name} {plan.data_digest[:16]}."
            f"{stand_in}"
        ),
        (
            "End to end, codes from the indexer. Validation windows chose each trial's epoch and contact threshold; test was "
            "read once for each trial. Seeds are averaged per window."
        ),
        (
            f"Differences are minus {plan.reference} on the same windows: below zero is better in MPJPE, above zero in "
            f"F1. {_statistics(comparison)}"
        ),
        (
            "Every trained row has the same number of epochs in all: one without codebook or indexer has theirs on top of its "
            "predictor's. Seconds are of training with its validation, on average, a shared codebook counted in each row."
        ),
    ]
    if oracles := [row.name for row in rows if row.oracle]:
        found.append(
            f"Oracle, told the true codes of the future: no forecast, and not ranked: {', '.join(oracles)}."
        )
    found += [
        f"{row.name}: weights chosen on validation windows: {row.chosen}." for row in rows if row.chosen
    ]
    found += [
        f"{row.name}: another sweep has continued a trial beyond this budget; the row has its longer training."
        for row in rows
        if row.longer
    ]
    if unequal := [row.name for row in rows if row.seeds and len(row.seeds) < plan.seeds]:
        found.append(f"Fewer seeds than asked for, for a trial failed: {', '.join(unequal)}.")
    if comparison.missing:
        found.append(f"Without a complete seed, so without a row: {', '.join(comparison.missing)}.")
    return found


def _statistics(comparison: Comparison) -> str:
    if comparison.groups < 2:
        return (
            "One held-out group allows no interval and no test: choose more with another --split or --folds."
        )
    return (
        "Intervals (95%) resample held-out groups and clips within them. p: exchange of both predictors in whole groups, "
        f"corrected (Holm) for the rows of the column; of {comparison.groups} groups no p is below "
        f"{_p(smallest_p(comparison.groups))} before the correction."
    )


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _title(comparison: Comparison) -> str:
    plan = comparison.plan
    return f"{plan.data_name} {comparison.setting}: {plan.kind} on test, protocol {plan.protocol}, mode {plan.mode}"


def _columns(comparison: Comparison) -> list[str]:
    minus = f"minus {comparison.plan.reference} (95%)"
    figures = ["MPJPE cm (95%)", minus, "p", "contact F1 (95%)", minus, "p"]
    return ["rank", "method", *figures, "epochs", "train s", "parameters", "seeds", "groups, clips"]


def _cells(comparison: Comparison, row: Row) -> list[str]:
    cells = ["oracle" if row.oracle else str(row.rank), row.name]
    for metric in METRICS:
        digits = _DIGITS[metric]
        difference = row.differences.get(metric)
        cells += [
            _interval(row.figures[metric], digits),
            _interval(difference, digits, "+") if difference else "",
            _p(row.p_corrected[metric]) if metric in row.p_corrected and comparison.groups > 1 else "",
        ]
    seconds = "" if row.seconds is None else f"{'>' if row.seconds_are_least else ''}{row.seconds:.0f}"
    groups = f"{row.figures['mpjpe_cm'].groups}, {row.figures['mpjpe_cm'].clips}"
    return [*cells, row.epochs, seconds, _count(row.parameters), str(len(row.seeds) or ""), groups]


def _interval(interval: Interval, digits: int, sign: str = "") -> str:
    number = f"{sign}.{digits}f"
    if not math.isfinite(interval.estimate):
        return "unknown"
    if not math.isfinite(interval.low):
        return f"{interval.estimate:{number}} (no interval)"
    return f"{interval.estimate:{number}} ({interval.low:{number}} to {interval.high:{number}})"


def _p(value: float) -> str:
    return f"{value:.3f}" if value >= 0.001 else f"{value:.0e}"


def _count(parameters: int) -> str:
    if not parameters:
        return ""
    return f"{parameters / 1e6:.2f} M" if parameters >= 1e5 else f"{parameters:,}"
