"""Keep a zoo in order: `zoo gc`."""

from __future__ import annotations

import re

import click

import zoo
from zoo.cli_output import as_json, print_json

UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class Duration(click.ParamType):
    """90s, 30m, 24h or 7d; in seconds."""

    name = "duration"

    def convert(self, value: str | float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", value)
        if match is None:
            self.fail(f"'{value}' is no length of time: write 90s, 30m, 24h or 7d", param, ctx)
        return float(match[1]) * UNITS_S[match[2]]


@click.command()
@click.argument("pattern", default="*")
@click.option("--delete", is_flag=True, help="Take it away; without this, only say what would go.")
@click.option(
    "--grace", type=Duration(), default="24h", show_default=True, help="Leave alone what is younger."
)
@click.option(
    "--keep-last", type=click.IntRange(min=1), metavar="N",
    help="Also old versions: all but the newest N that are not, and never were, under an alias.",
)  # fmt: skip
@as_json
def gc(pattern: str, delete: bool, grace: float, keep_last: int | None, as_json: bool) -> None:
    """Find what interrupted publishing left behind, and with --delete take it away.

    \b
    zoo gc                                      what would go
    zoo gc --delete
    zoo gc 'latentact-world-*' --keep-last 5    old versions, too

    Versions that have a number stay, unless --keep-last says otherwise; nothing that is being published or
    promoted meanwhile is touched.
    """
    found = zoo.gc(pattern, delete=delete, grace_s=grace, keep_last=keep_last)
    if as_json:
        print_json([vars(item) for item in found])
        return
    for item in found:
        key = re.sub(r"([0-9a-f]{12})[0-9a-f]{52}", r"\1", item.key)
        click.echo(f"{item.state:10}  {key}  ({item.objects} objects)  {item.reason}")
    gone = [item for item in found if item.state == ("gone" if delete else "would go")]
    click.echo(
        f"{len(gone)} of {len(found)} gone." if delete
        else f"{len(gone)} would go: `zoo gc --delete` takes them away." if gone
        else "There is nothing to take away."
    )  # fmt: skip
