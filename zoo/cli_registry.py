"""MLflow as a view of the zoo: `zoo registry rebuild`."""

from __future__ import annotations

from dataclasses import asdict

import click

import zoo
from zoo.cli_output import as_json, count_bar, print_json
from zoo.errors import RegistryError


@click.group()
def registry() -> None:
    """MLflow's model registry, which shows what the store holds."""


@registry.command()
@click.argument("pattern", default="*")
@click.option("--dry-run", is_flag=True, help="Change nothing; say what would be changed.")
@as_json
def rebuild(pattern: str, dry_run: bool, as_json: bool) -> None:
    """Make MLflow show the models that match PATTERN as the store holds them, after it was down or lost.

    \b
    zoo registry rebuild
    zoo registry rebuild 'latentact-world-*' --dry-run

    Versions, aliases, tags and descriptions; what agrees is left alone.
    """
    with count_bar("models") as report:
        rebuilt = zoo.rebuild_registry(pattern, dry_run=dry_run, progress=report)
    if as_json:
        print_json([asdict(one) for one in rebuilt])
    else:
        for one in rebuilt:
            for change in one.changes:
                click.echo(f"would {change}" if dry_run else change)
        changed = sum(bool(one.changes) for one in rebuilt)
        click.echo(f"{len(rebuilt)} models, of which {changed} {'would be' if dry_run else 'were'} changed.")
    if failed := [one for one in rebuilt if one.error]:
        raise RegistryError(f"{len(failed)} of {len(rebuilt)} models could not be shown. {failed[0].error}")
