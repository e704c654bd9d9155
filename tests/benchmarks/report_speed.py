"""How long the report of a large sweep takes, from the ledger to the page, and how large the page is.

    python -m tests.benchmarks.report_speed --trials 1000

The trials are made up, their events are real: written to a ledger in a new folder and read back as a finished sweep's are.
Bars: 20 s for 1,000 trials with all that is read for them, and 3 MB.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path

import click

from sweeps.ledger import Ledger
from sweeps.plan import SweepPlan
from sweeps.report import SweepView, view_of, write_report
from sweeps.space import Axis
from tests.made_up_sweep import AXES, SETTINGS, made_up_plan, made_up_sweep
from zoo.store import open_store


@click.command()
@click.option("--trials", default=1000, show_default=True, help="Trials of the sweep, at least.")
@click.option("--out", type=click.Path(path_type=Path), help="Where to leave the page.")
def main(trials: int, out: Path | None) -> None:
    """Write a made-up sweep to a ledger, and time its report."""
    # Of all different configurations, which is the most that a page can be asked to show.
    sizes = max(trials // len(SETTINGS) // len(AXES[1].choices), 1)
    axes = (Axis("codes", "choice", choices=tuple(range(64, 64 + 16 * sizes, 16))), AXES[1])
    made = made_up_sweep(axes=axes, slots=16)
    with tempfile.TemporaryDirectory() as folder:
        plan = write(made, folder)
        print(
            f"{len(made.trials)} trials of {len(made.settings)} settings, {sum(len(t.history) for t in made.trials)} epochs"
        )
        began = time.perf_counter()
        view = view_of(Ledger(open_store(f"file://{folder}"), plan.name), plan)
        # The notes were written now, the trials began long ago.
        view = replace(view, notes=made.notes)
        read = time.perf_counter()
        page = write_report(view)
        written = time.perf_counter()
    print(
        f"read {read - began:.2f} s, written {written - read:.2f} s, together {written - began:.2f} s (bar 20)"
    )
    print(f"page {len(page.encode()) / 1e6:.2f} MB (bar 3)")
    if out is not None:
        out.write_text(page)


def write(made: SweepView, folder: str) -> SweepPlan:
    """The sweep's events, as its driver writes them."""
    ledger = Ledger(open_store(f"file://{folder}"), made.name, "driver")
    for trial in made.trials:
        ledger.started(trial.identity, trial.setting, trial.phase, trial.params, 1)
        ledger.ended(trial)
    for note in made.notes:
        ledger.note(note["kind"], **{k: v for k, v in note.items() if k not in ("kind", "session", "at_s")})
    for setting, report in made.reports.items():
        ledger.published(setting, dict(report))
    ledger.compact()
    return made_up_plan(name=made.name, axes=made.axes)


if __name__ == "__main__":
    main()
