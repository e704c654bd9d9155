"""Put models into a zoo and let them take a name: `zoo publish`, `promote`."""

from __future__ import annotations

from pathlib import Path

import click

import zoo
from zoo.cli_output import as_json, print_json


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("name")
@click.option("--tag", "tags", multiple=True, metavar="KEY=VALUE", help="A tag; may be repeated.")
@as_json
def publish(folder: Path, name: str, tags: tuple[str, ...], as_json: bool) -> None:
    """Publish FOLDER as the next version of NAME; the same bytes keep their version."""
    pairs = [tag.partition("=") for tag in tags]
    if bad := [key for key, equals, _ in pairs if not equals or not key]:
        raise click.BadParameter(f"'{bad[0]}' is not KEY=VALUE", param_hint="--tag")
    published = zoo.publish(name, folder, tags={key: value for key, _, value in pairs})
    if as_json:
        print_json(vars(published))
    else:
        click.echo(f"{published.name}@{published.version}  {published.digest[:12]}  {published.url}")


@click.command()
@click.argument("name")
@click.option("--alias", default="champion", show_default=True, help="The alias to move.")
@click.option("--force", metavar="REASON", help="Overrule the gate; the reason is kept in the alias's log.")
@as_json
def promote(name: str, alias: str, force: str | None, as_json: bool) -> None:
    """Let NAME@VERSION take an alias, if the gate finds it better than the holder."""
    if "@" not in name:
        raise click.BadParameter(f"say which version: {name}@3", param_hint="NAME")
    promotion = zoo.promote(name, alias=alias, force=force)
    if as_json:
        print_json(vars(promotion))
    else:
        click.echo(f"{promotion.name}@{promotion.version} is '{alias}'. {promotion.reason}")
