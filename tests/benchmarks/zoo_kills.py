"""Publish, promote, pull, gc and import are killed at random moments, on a real S3 server, and then done again.

    python -m tests.benchmarks.zoo_kills                         # 200 kills
    python -m tests.benchmarks.zoo_kills --kills 20 --seed 7
    python -m tests.benchmarks.zoo_kills --kind gc --kind pull

After each kill the store and the cache are read without the zoo's code: no half bundle is visible, nothing in the cache
is damaged; and the same command then completes (tests/zoo_kills.py). The store is a SeaweedFS of its own, or with
--files a folder; both are removed afterwards.
"""

from __future__ import annotations

import time

import click

from tests.object_server import own_zoo
from tests.zoo_kills import KINDS, Range


@click.command()
@click.option("--kills", default=200, show_default=True)
@click.option("--seed", default=0, show_default=True, help="Of the moments and of what is done.")
@click.option("--kind", "kinds", multiple=True, type=click.Choice(KINDS), default=KINDS, show_default=True)
@click.option("--files", is_flag=True, help="In a folder, not on an S3 server.")
def main(kills: int, seed: int, kinds: tuple[str, ...], files: bool) -> None:
    with own_zoo(server=not files) as folder:
        url = f"file://{folder}/zoo" if files else "s3://zoo/kills"
        began = time.monotonic()
        figures = Range(url, folder, seed).shoot(kills, kinds, click.echo)
        took_s = time.monotonic() - began
    click.echo(
        f"{figures.kills.total()} kills in {took_s:.0f} s ({', '.join(f'{n} {kind}' for kind, n in figures.kills.items())}; "
        f"{figures.whole} of whole `python -m zoo` processes; {figures.too_late} more came too late): all well after each, "
        f"each command completed when it was repeated; {figures.versions} versions and {figures.blobs} blobs, all whole."
    )
    for remains, count in sorted(figures.remains.items()):
        click.echo(f"left behind by kills: {count} x {remains}")


if __name__ == "__main__":
    main()
