"""Sixteen processes publish and promote at once, and another collects garbage, on a real S3 server.

    python -m tests.benchmarks.zoo_races                  # 500 rounds
    python -m tests.benchmarks.zoo_races --rounds 20
    LATENTACT_ZOO=s3://bucket/prefix python -m tests.benchmarks.zoo_races

After each round everything is read again without the zoo's code: exactly one winner, no version lost, none damaged, no
alias on nothing, histories without a gap (tests/zoo_races.py). Without LATENTACT_ZOO the store is a SeaweedFS of
its own, removed afterwards.
"""

from __future__ import annotations

import os
import statistics
import time
import uuid

import click

from tests.object_server import own_zoo
from tests.zoo_races import race
from zoo.store import open_store


@click.command()
@click.option("--rounds", default=500, show_default=True)
@click.option("--processes", default=16, show_default=True)
def main(rounds: int, processes: int) -> None:
    with own_zoo(server=not os.environ.get("LATENTACT_ZOO")) as folder:
        url = f"{os.environ['LATENTACT_ZOO'].rstrip('/')}/races-{uuid.uuid4().hex[:8]}"
        began = time.monotonic()
        figures = race(open_store(url), folder, rounds=rounds, processes=processes, said=click.echo)
        took_s = time.monotonic() - began
    quartiles = statistics.quantiles(figures.seconds, n=4)
    click.echo(
        f"{figures.rounds} rounds of {processes} processes in {took_s:.0f} s (a round: median {quartiles[1]:.1f} s, "
        f"quartiles {quartiles[0]:.1f} to {quartiles[2]:.1f}): one winner in each, {figures.versions} versions, none lost "
        f"or damaged; {figures.moves} moves of the champion on record, {figures.lost} promotions gave up and said so."
    )
    for state, count in sorted(figures.collected.items()):
        click.echo(f"collector: {count} x {state}")


if __name__ == "__main__":
    main()
