"""Kills parts of a cluster under sweep after sweep, and compares what they come to with sweeps and trials left in peace.

    python -m tests.benchmarks.chaos_run --kills 100

Takes about 15 s a kill on two cores. Ends with 1 where something was lost, doubled or different.
"""

from __future__ import annotations

import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import nullcontext
from pathlib import Path

import click

from tests.chaos import Chaos, Outcome, Solo, chaos, ranking

_A_SWEEP = 5


@click.command()
@click.option("--kills", default=100, show_default=True)
@click.option("--seed", default=0, show_default=True, help="Of what is killed, and when.")
@click.option("--minutes", default=0.0, help="Begin no further sweep after so long.  [default: all kills]")
@click.option(
    "--folder", type=click.Path(path_type=Path), help="An empty one, where logs are kept.  [default: nowhere]"
)
def main(kills: int, seed: int, minutes: float, folder: Path | None) -> None:
    """Run it, a line a sweep, and say what was found."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what it has started ends with it
    begun = time.monotonic()
    with (
        nullcontext(folder) if folder else tempfile.TemporaryDirectory(prefix="chaos-") as place,
        chaos(Path(place), seed) as run,
    ):
        solo = Solo(run.data)
        peace = run.sweep("grid", "peace", 0)
        bad = _tell(run, peace, 0, solo.differences(peace))
        number = 0
        while len(run.kills) < kills and (not minutes or time.monotonic() - begun < 60 * minutes):
            number += 1
            kind, before = ("grid", "tpe")[number % 2], len(run.kills)
            outcome = run.sweep(kind, f"{kind}-{number}", min(_A_SWEEP, kills - before))
            found = solo.differences(outcome)
            if kind == "grid" and ranking(outcome) != ranking(peace):
                found.append(f"ranking {ranking(outcome)}, undisturbed {ranking(peace)}")
            bad += _tell(run, outcome, len(run.kills) - before, found)
        for (what, victim), count in sorted(Counter((k.kind, k.victim) for k in run.kills).items()):
            click.echo(f"{count:4} {what} {victim}")
        minutes_taken = (time.monotonic() - begun) / 60
        click.echo(
            f"{len(run.kills)} kills over {number} sweeps in {minutes_taken:.1f} min: {bad} sweeps with a fault"
        )
    sys.exit(1 if bad else 0)


def _tell(run: Chaos, outcome: Outcome, kills: int, differences: list[str]) -> int:
    """Print a sweep's line and its faults; 1 where there are any."""
    again = sum(count - 1 for count in outcome.trained.values())
    statuses = Counter(trial.status for trial in outcome.trials.values())
    click.echo(
        f"{outcome.name}: {kills} kills, {outcome.seconds:.0f} s, {dict(statuses)}, {again} epochs trained again"
    )
    for struck in run.kills[len(run.kills) - kills :]:
        click.echo(f"    {struck.at_s:6.1f} s {struck.kind} {struck.victim}")
    for status, words in outcome.ends:
        click.echo(f"    driver ended with {status}: {words}")
    for reason in outcome.failed:
        click.echo(f"    {reason}")
    faults = outcome.problems + differences
    for fault in faults:
        click.echo(f"    FAULT {fault}")
    sys.stdout.flush()
    return int(bool(faults))


if __name__ == "__main__":
    main()
