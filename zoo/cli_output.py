"""What the commands have in common: how they print, and that a NAME can be completed."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def complete_reference(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Names, versions and aliases of the store, for a shell that completes a NAME."""
    from zoo.completion import references

    return references(incomplete)


def complete_name(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Names of the store, for a shell that completes a PATTERN or a NAME without a version."""
    from zoo.completion import references

    return references(incomplete.partition("@")[0])


model_argument = click.argument("name", shell_complete=complete_reference)


@contextmanager
def count_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar with the time left on stderr, where that is a terminal. Yields what is to be called with how many are done,
    of how many.
    """
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(what, total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)


def print_json(value: Any) -> None:
    """JSON on standard output, its fields in order."""
    json.dump(value, sys.stdout, indent=2, sort_keys=True)
    click.echo()


def print_table(titles: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: Sequence[str] = ()) -> None:
    """A table. `numbers` are the titles of columns that are set to the right.

    On a terminal it fits the width, long cells folded. Elsewhere every row is one line and nothing is cut, for grep
    and awk.
    """
    if sys.stdout.isatty():
        _print_rich(titles, rows, numbers)
        return
    lines = [titles, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = [
            cell.rjust(width) if title in numbers else cell.ljust(width)
            for cell, width, title in zip(line, widths, titles, strict=True)
        ]
        click.echo("  ".join(cells).rstrip())


def _print_rich(titles: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[str]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for i, title in enumerate(titles):
        right = title in numbers
        table.add_column(
            title, justify="right" if right else "left", no_wrap=right, overflow="fold",
            style="cyan" if i == 0 else None,
        )  # fmt: skip
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))  # Text: names in brackets are no markup
    Console().print(table)
