"""What a zoo holds: `zoo ls`, `show`, `card`."""

from __future__ import annotations

import click

import zoo
from zoo.cli_output import as_json, print_json


@click.command()
@click.argument("pattern", default="*")
@as_json
def ls(pattern: str, as_json: bool) -> None:
    """List models whose name matches PATTERN (wildcards *, ?, [abc])."""
    entries = zoo.ls(pattern)
    if as_json:
        print_json([vars(entry) for entry in entries])
        return
    if not entries:
        click.echo(f"No model matches '{pattern}'.", err=True)
        return
    rows = [("NAME", "LATEST", "ALIASES", "VAL MPJPE cm", "TEST MPJPE cm")]
    for entry in entries:
        aliases = " ".join(f"{alias}={number}" for alias, number in sorted(entry.aliases.items())) or "-"
        val, test = (_cm(entry.figures.get(f"{part}_mpjpe_cm")) for part in ("val", "test"))
        rows.append((entry.name, str(entry.latest), aliases, val, test))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


@click.command()
@click.argument("name")
def card(name: str) -> None:
    """Print the card of NAME[@version|@alias]."""
    click.echo(zoo.card(name))


@click.command()
@click.argument("name")
@as_json
def show(name: str, as_json: bool) -> None:
    """Print version, digest, aliases, tags and files of NAME[@version|@alias]; with --json its config and
    metrics too.
    """
    facts = zoo.show(name)
    if as_json:
        print_json(facts)
        return
    for key in ("name", "version", "digest", "url", "published_by", "published_at"):
        click.echo(f"{key:<13} {facts[key]}")
    click.echo(f"{'aliases':<13} {' '.join(facts['aliases']) or '-'}")
    for tag, value in sorted(facts["tags"].items()):
        click.echo(f"{'tag':<13} {tag} = {value}")
    for file in facts["files"]:
        click.echo(f"{'file':<13} {file['path']} ({file['size']} bytes)")


def _cm(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
