"""Fetch models from a zoo: `zoo pull`."""

from __future__ import annotations

import click

import zoo
from zoo.cli_output import as_json, print_json


@click.command()
@click.argument("name")
@as_json
def pull(name: str, as_json: bool) -> None:
    """Download NAME[@version|@alias] into the cache, verify it, print its folder."""
    folder = zoo.pull(name)
    if as_json:
        print_json({"folder": str(folder), "digest": folder.name})
    else:
        click.echo(folder)
