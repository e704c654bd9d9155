"""Fetch models from a zoo: `zoo pull`."""

from __future__ import annotations

import click

import zoo
from zoo.cli_output import as_json, model_argument, print_json


@click.command()
@model_argument
@as_json
def pull(name: str, as_json: bool) -> None:
    """Download NAME[@version|@alias] into the cache, verify it, print its folder.

    What is in the cache already is not downloaded again, and a download that broke off goes on where it stopped.
    LATENTACT_OFFLINE=1 forbids every request.

    \b
    Examples:
      zoo pull latentact-world-objects
      zoo pull latentact-world-objects@3 --json
    """
    folder = zoo.pull(name)
    if as_json:
        print_json({"folder": str(folder), "digest": folder.name})
    else:
        click.echo(folder)
