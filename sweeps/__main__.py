"""`python -m sweeps`: look at the sweeps of a store, follow one, stop one, try its failed trials again."""

from __future__ import annotations

import json
import shlex
import sys
from typing import Any

import click

from sweeps.errors import SweepError
from zoo.errors import ZooError

EXAMPLES = """\b
Examples:
  python -m sweeps ls
  python -m sweeps ls 'codebook-size-*' --json
  python -m sweeps status codebook-size-world-1a2b3c4d
  python -m sweeps costs codebook-size-world-1a2b3c4d
  python -m sweeps watch codebook-size-world-1a2b3c4d
  python -m sweeps stop codebook-size-world-1a2b3c4d
  python -m sweeps retry codebook-size-world-1a2b3c4d --submit http://127.0.0.1:8265

The store is $LATENTACT_ZOO (s3://bucket or file:///folder) and the AWS_* variables; without them, the local stack
that `python -m cluster.local up` started. Nothing else is needed: these commands run on any machine.
"""


class OneSentenceErrors(click.Group):
    """What was refused on purpose is one line and exit code 1; anything else is a defect and keeps its traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (SweepError, ZooError) as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=OneSentenceErrors, epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Sweeps and comparisons: what they came to, how they go, and how they are ended and taken up again."""


def _example(text: str) -> str:
    return f"\b\nExample:\n  {text}"


as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@main.command(epilog=_example("python -m sweeps ls '*-dexycb-*' --json"))
@click.argument("pattern", default="*")
@as_json
def ls(pattern: str, as_json: bool) -> None:
    """List sweeps whose name matches PATTERN (wildcards *, ?, [abc]), the one last heard of first."""
    from sweeps.status import facts, read_sweeps
    from zoo.store import open_store

    states = read_sweeps(open_store(), pattern)
    if as_json:
        _print_json([facts(state, trials=False) for state in states])
        return
    if not states:
        click.echo(f"No sweep matches '{pattern}'.", err=True)
        return
    from sweeps.status_table import ls_rows

    rows = ls_rows(states)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


@main.command(epilog=_example("python -m sweeps status codebook-size-world-1a2b3c4d --all"))
@click.argument("name")
@click.option("--all", "everything", is_flag=True, help="Every trial, not only the first 20 of each setting.")
@as_json
def status(name: str, everything: bool, as_json: bool) -> None:
    """Show NAME in depth: its trials, what was spent, what failed and why, and what to do next."""
    from sweeps.status import facts, read_sweep
    from zoo.store import open_store

    state = read_sweep(open_store(), name)
    if as_json:
        _print_json(facts(state, trials=True))
        return
    from sweeps.status_table import print_status

    print_status(state, rows=len(state.every) if everything else 20)


@main.command(name="costs", epilog=_example("python -m sweeps costs codebook-size-world-1a2b3c4d --json"))
@click.argument("name")
@as_json
def show_costs(name: str, as_json: bool) -> None:
    """Show what NAME cost: hours and price of each type of node, idle ones included, and of its trials."""
    from sweeps.costs import costs, print_costs
    from sweeps.status import read_sweep
    from zoo.store import open_store

    told = costs(read_sweep(open_store(), name))
    _print_json(told) if as_json else print_costs(told)


@main.command(epilog=_example("python -m sweeps watch codebook-size-world-1a2b3c4d"))
@click.argument("name")
def watch(name: str) -> None:
    """Follow NAME until it ends: a table on a terminal, its lines elsewhere. Ctrl-C ends the watching alone.

    The exit code is 0 when the sweep has ended, and 1 when nobody runs it or its driver falls silent.
    """
    from sweeps import watch as watching
    from sweeps.status import require
    from zoo.store import open_store

    store = open_store()
    require(store, name)
    sys.exit(watching.watch(store, name))


@main.command(epilog=_example("python -m sweeps stop codebook-size-world-1a2b3c4d"))
@click.argument("name")
def stop(name: str) -> None:
    """Ask NAME's driver to end it, and wait until its running trials are parked; the same sweep can go on later."""
    from sweeps import watch as watching
    from sweeps.status import require
    from zoo.store import open_store

    store = open_store()
    require(store, name)
    sys.exit(watching.stop(store, name))


@main.command(
    epilog=_example("python -m sweeps retry codebook-size-world-1a2b3c4d --submit http://127.0.0.1:8265")
)
@click.argument("name")
@click.option(
    "--submit", "address", metavar="ADDRESS", help="Run it as a job on the Ray cluster at this address."
)
def retry(name: str, address: str | None) -> None:
    """Print the command that tries NAME's failed trials again (and goes on with what else is left), or submit it."""
    from sweeps.again import planned_with, submit
    from sweeps.status import read_sweep
    from zoo.store import open_store

    state = read_sweep(open_store(), name)
    if state.driver.state == "running":
        raise SweepError(
            f"{name} is running ({state.driver.holder}); try its failed trials again when it has ended."
        )
    failed = state.counts()["failed"]
    if not failed:
        click.echo(f"No trial of {name} has failed; the command goes on with what is left.", err=True)
    command = planned_with(state, retry_failed=bool(failed))
    if address is None:
        click.echo(shlex.join(command))
    else:
        sys.exit(submit(command, address))


def _print_json(value: Any) -> None:
    json.dump(value, sys.stdout, indent=2, sort_keys=True)
    click.echo()


if __name__ == "__main__":
    main(prog_name="python -m sweeps")
