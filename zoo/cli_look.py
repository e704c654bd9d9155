"""What a zoo holds: `zoo ls`, `show`, `card`, `diff`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import zoo
from zoo.cli_output import (
    as_json,
    complete_name,
    complete_reference,
    count_bar,
    model_argument,
    print_json,
    print_table,
)

if TYPE_CHECKING:
    from zoo.catalogue import Entry, Version

FIGURES = {
    "VAL cm": "val_mpjpe_cm",
    "TEST cm": "test_mpjpe_cm",
    "TEST F1": "test_contact_f1",
}  # title -> figure


@click.command(short_help="List models, by name, figures and tags.")
@click.argument("pattern", default="*", shell_complete=complete_name)
@click.option(
    "--where", multiple=True, metavar="CONDITION", help="FIELD, < <= > >= = or !=, VALUE; may be repeated."
)
@click.option("--sort", metavar="FIELD", help="Smallest first; with a - in front, largest first.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Show the first N.")
@click.option("--versions", is_flag=True, help="List every version, not every model.")
@as_json
def ls(
    pattern: str, where: tuple[str, ...], sort: str | None, limit: int | None, versions: bool, as_json: bool
) -> None:
    """List models whose name matches PATTERN (wildcards *, ?, [abc]).

    \b
    zoo ls
    zoo ls 'latentact-*-objects' --where 'test_mpjpe_cm<6' --where 'val_contact_f1>=0.4'
    zoo ls --where 'tag.team=ours' --sort test_mpjpe_cm --limit 5
    zoo ls latentact-world-objects --versions --sort -at

    Figures and tags are those of the champion, or of the newest version where there is no champion. A field is a
    figure (val_mpjpe_cm), a tag (tag.team), or one of name, team, data, setting, mode, kind, version, versions, by, at.
    """
    chosen: dict[str, Any] = {"where": where, "sort": sort, "limit": limit}
    found: Sequence[Entry | Version]
    if versions:
        with count_bar("versions") as report:
            found = zoo.versions(pattern, report=report, **chosen)
    else:
        found = zoo.ls(pattern, **chosen)
    if as_json:
        print_json([asdict(item) for item in found])
    elif found:
        _print_listing(found)
    elif where or pattern != "*":
        click.echo(
            f"No model matches '{pattern}'{' and the conditions' if where else ''}: `zoo ls` lists them all.", err=True
        )  # fmt: skip
    else:
        click.echo(
            f"The zoo at {zoo.open_store().url} is empty: publish a model with `zoo publish FOLDER NAME`, or run a sweep.",
            err=True,
        )


@click.command(short_help="Print a model's card, or make a page of it.")
@model_argument
@click.option(
    "--html",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the card with figures and gallery as one HTML file.",
)
@click.option(
    "--data",
    metavar="CLIPS",
    help="With --html: draw the gallery from the data set that the model was tested on.",
)
@as_json
def card(name: str, html: Path | None, data: str | None, as_json: bool) -> None:
    """Print the card of NAME[@version|@alias]; with --json its metadata and its text apart.

    \b
    zoo card latentact-world-objects
    zoo card latentact-world-objects@3 --json
    zoo card latentact-world-objects@champion --html card.html
    zoo card latentact-dexycb-subjects --html card.html --data data/dexycb

    With --html nothing is printed but where the page is. It opens without a network, and shows the best, the median, the
    worst and some random test clips. Of data sets that others license the bundle names these clips alone: with
    --data they are predicted here, from your copy and with the hand file of MANO_PATH.
    """
    if html is not None:
        page = _card_page(name, html, data)
        click.echo(f"card      {page} ({page.stat().st_size / 1e6:.1f} MB)")
        return
    if data is not None:
        raise click.UsageError("--data draws a gallery, which only a page shows: give --html FILE too.")
    text = zoo.card(name)
    if not as_json:
        click.echo(text)
        return
    from zoo import model_card

    print_json({"metadata": model_card.metadata(text), "text": model_card.body(text)})


def _card_page(name: str, path: Path, data: str | None) -> Path:
    """Write the page whole or not at all."""
    from zoo.card_html import card_html
    from zoo.trajectory_files import write_whole

    if not path.absolute().parent.is_dir():
        raise click.BadParameter(
            f"there is no folder {path.absolute().parent}; make it first.", param_hint="--html"
        )
    write_whole(path, card_html(name, data=data, say=lambda line: click.echo(line, err=True)).encode())
    return path


@click.command(short_help="Print all about one version.")
@model_argument
@as_json
def show(name: str, as_json: bool) -> None:
    """Print version, digest, aliases, figures, tags and files of NAME[@version|@alias]; with --json its config and
    metrics too.

    \b
    zoo show latentact-world-objects@champion
    zoo show latentact-world-objects@3 --json
    """
    facts = zoo.show(name)
    if as_json:
        print_json(facts)
        return
    for key in ("name", "version", "digest", "url", "published_by", "published_at"):
        click.echo(f"{key:<13} {facts[key]}")
    click.echo(f"{'aliases':<13} {' '.join(facts['aliases']) or '-'}")
    for figure, value in sorted(facts["figures"].items()):
        click.echo(f"{'figure':<13} {figure} = {value:.4g}")
    for tag, value in sorted(facts["tags"].items()):
        click.echo(f"{'tag':<13} {tag} = {value}")
    for file in facts["files"]:
        click.echo(f"{'file':<13} {file['path']} ({file['size']} bytes)")


@click.command(short_help="Put two versions side by side.")
@click.argument("a", shell_complete=complete_reference)
@click.argument("b", shell_complete=complete_reference)
@as_json
def diff(a: str, b: str, as_json: bool) -> None:
    """Put two versions side by side: config, figures, gate clips, tensors, files and card, where they differ.

    \b
    zoo diff latentact-world-objects@champion latentact-world-objects@4
    zoo diff latentact-world-objects@3 latentact-world-tasks@1 --json

    The gate is asked about B as a candidate against A. Of the weights only the headers are read. Figures on test
    are shown and not compared.
    """
    found = zoo.diff(a, b)
    if as_json:
        print_json(found.to_json())
        return
    titles = [f"{side['name']}@{side['version']}" for side in (found.a, found.b)]
    if found.a["name"] == found.b["name"]:
        click.echo(found.a["name"])
        titles = [title.removeprefix(found.a["name"]) for title in titles]
    if found.a == found.b:
        titles[1] += " again"  # a title for each column
    figures = [
        (name, _number(pair["a"]), _number(pair["b"]), _number(pair["difference"], "+"))
        for name, pair in found.figures.items()
    ]
    if figures:
        print_table(("FIGURE", *titles, "B - A"), figures, numbers=(*titles, "B - A"))
    click.echo(f"gate      {found.gate['sentence']}")
    few, many = sorted(found.parameters)
    click.echo(f"weights   {few:,} parameters{' in both' if few == many else f' and {many:,}'}")
    parts = {"CONFIG": found.config, "CARD": found.card, "TENSOR": found.tensors, "FILE": found.files}
    for title, pairs in parts.items():
        if pairs:
            click.echo()
            print_table(
                (title, *titles), [(name, _text(one), _text(two)) for name, (one, two) in pairs.items()]
            )


def _print_listing(found: Sequence[Entry | Version]) -> None:
    from zoo.catalogue import Entry

    rows = []
    for item in found:
        figures = [_number(item.figures.get(figure)) for figure in FIGURES.values()]
        if isinstance(item, Entry):
            aliases = " ".join(f"{alias}={number}" for alias, number in sorted(item.aliases.items()))
            rows.append([item.name, str(item.latest), aliases or "-", *figures])
        else:
            aliases = " ".join(item.aliases) or ("collected" if item.collected else "-")
            rows.append([f"{item.name}@{item.version}", item.at[:10], aliases, *figures])
    second = "NEWEST" if isinstance(found[0], Entry) else "PUBLISHED"
    print_table(("NAME", second, "ALIASES", *FIGURES), rows, numbers=("NEWEST", *FIGURES))


def _number(value: float | None, sign: str = "") -> str:
    return "-" if value is None else f"{value:{sign}.2f}"


def _text(value: object) -> str:
    return "-" if value is None else str(value)
