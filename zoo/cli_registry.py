"""MLflow as a view of the zoo: `zoo register`."""

from __future__ import annotations

import click

import zoo
from zoo.errors import ZooError


@click.command()
@click.argument("name")
def register(name: str) -> None:
    """Show NAME's versions and aliases in MLflow again, after it was down or lost."""
    from zoo import catalogue, registry

    store = zoo.open_store()
    catalogue.exists(name, store=store)
    if not registry.mirror(store, name):
        raise ZooError("No MLflow is configured: set MLFLOW_TRACKING_URI.")
    click.echo(f"MLflow shows {name} as the store holds it.")
