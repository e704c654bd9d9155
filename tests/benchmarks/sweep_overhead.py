"""What a trial costs beyond its training, and how long the cluster stands idle, from the ledger of a sweep that has run.

    python -m tests.benchmarks.sweep_overhead STORE NAME [--slots 2]

Overhead of a trial: from the end of the trial before it on its slot to its own end, less the seconds of its epochs
(training and validation; a codebook and an indexer that it trained itself among them). The first trial of a slot pays for
the start of workers and the reading of data, and stands apart. Idle: the share of slots x time, from the first trial's
start to the last one's end, in which no epoch was under way.
"""

from __future__ import annotations

import argparse
import statistics

from sweeps.ledger import Ledger, TrialRecord
from zoo.store import open_store


def overheads_s(trials: list[TrialRecord]) -> tuple[list[float], list[float]]:
    """Of each slot's first trial, and of every later one."""
    first, later = [], []
    for slot in {t.slot for t in trials}:
        before = None
        for trial in sorted((t for t in trials if t.slot == slot), key=lambda t: t.began_s):
            held_s = trial.ended_s - (before.ended_s if before else trial.began_s)
            (later if before else first).append(held_s - sum(trial.stage_seconds.values()))
            before = trial
    return first, later


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("store")
    parser.add_argument("name")
    parser.add_argument("--slots", type=int, default=2)
    options = parser.parse_args()
    ledger = Ledger(open_store(options.store), options.name)
    epochs = (ledger.plan_record() or {})["epochs"]
    settings, _ = ledger.read(lambda setting, params: epochs)
    trials = [
        t
        for of_setting in settings.values()
        for t in of_setting.values()
        if t.status in ("finished", "stopped") and t.sweep == options.name
    ]
    first, later = overheads_s(trials)
    wall_s = max(t.ended_s for t in trials) - min(t.began_s for t in trials)
    trained_s = sum(sum(t.stage_seconds.values()) for t in trials)
    held_s = sum(t.ended_s - t.began_s for t in trials)
    lengths = sorted(sum(t.stage_seconds.values()) for t in trials)
    print(
        f"{len(trials)} trials of {lengths[0]:.0f} to {lengths[-1]:.0f} s (median {statistics.median(lengths):.0f} s)"
    )
    print(f"first trial of a slot: {', '.join(f'{s:.1f}' for s in first)} s beyond its training")
    quarters = statistics.quantiles(later, n=20)
    print(
        f"later ones: median {statistics.median(later):.2f} s (5 to 95%: {quarters[0]:.2f} to {quarters[-1]:.2f} s)"
    )
    print(f"idle: {1 - trained_s / (options.slots * wall_s):.1%} without an epoch under way, ", end="")
    print(
        f"{1 - held_s / (options.slots * wall_s):.1%} without a trial; {wall_s:.0f} s on {options.slots} slots"
    )


if __name__ == "__main__":
    main()
