"""The models that this machine keeps: `zoo cache ls`, `info`, `prune`."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from typing import Any

import click

from zoo.cli_output import as_json, print_json

EXAMPLES = """\b
Examples:
  zoo cache ls
  zoo cache prune --max-size 20GB --dry-run
  zoo cache prune --older-than 30d
"""
BYTES = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
SECONDS = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


class _Quantity(click.ParamType):
    """A number with a unit, in the least unit."""

    def __init__(self, name: str, units: dict[str, int], example: str) -> None:
        self.name, self._units, self._example = name, units, example

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) ?([A-Za-z]*)", str(value))
        units = {unit.lower(): factor for unit, factor in self._units.items()}
        if match is None or match[2].lower() not in units:
            self.fail(
                f"'{value}' is not a {self.name}: give a number and {', '.join(filter(None, self._units))}, for "
                f"example {self._example}.",
                param,
                ctx,
            )
        return float(match[1]) * units[match[2].lower()]


@click.group(epilog=EXAMPLES)
def cache() -> None:
    """Look at the models that this machine keeps, and make room.

    They lie in $LATENTACT_ZOO_CACHE, by default $LATENTACT_HOME/cache.
    """


@cache.command("ls")
@as_json
def ls(as_json: bool) -> None:
    """List the versions in the cache, the one pulled last first.

    \b
    Example: zoo cache ls --json
    """
    from zoo.pruning import cached

    versions = cached()
    if as_json:
        print_json([_facts(version) for version in versions])
        return
    if not versions:
        click.echo("The cache holds no model.", err=True)
    for version in versions:
        when = datetime.fromtimestamp(version.used_at).strftime("%Y-%m-%d %H:%M")
        names = " ".join(version.references) or "-"
        click.echo(f"{version.digest[:12]}  {when}  {_readable(version.size):>9}  {names}")


@cache.command("info")
@as_json
def info(as_json: bool) -> None:
    """Print where the cache is, how much it holds, and whether it can be written.

    \b
    Example: zoo cache info
    """
    from zoo.cache import cache as folder
    from zoo.pruning import cached, size

    held = size()
    facts = {
        "folder": str(folder()),
        "versions": len(cached()),
        "bytes": held,
        "writable": os.access(folder(), os.W_OK) if folder().exists() else True,
    }
    if as_json:
        print_json(facts)
        return
    click.echo(f"folder    {facts['folder']}{'' if facts['writable'] else '  (read-only for you)'}")
    click.echo(f"versions  {facts['versions']}")
    click.echo(f"size      {_readable(held)}")


@cache.command("prune")
@click.option(
    "--max-size", "max_bytes", type=_Quantity("size", BYTES, "20GB"), help="Keep at most so much, as 20GB."
)
@click.option(
    "--older-than", "older_than_s", type=_Quantity("time", SECONDS, "30d"),
    help="Remove versions not pulled for so long, as 30d.",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Say what would be removed, and remove nothing.")
@as_json
def prune(max_bytes: float | None, older_than_s: float | None, dry_run: bool, as_json: bool) -> None:
    """Remove the models that were not pulled for longest, and what broken downloads left.

    A version pulled within the last ten minutes stays in any case. Without a limit only leftovers go.

    \b
    Examples:
      zoo cache prune --max-size 20GB
      zoo cache prune --older-than 30d --dry-run
    """
    from zoo.pruning import prune

    done = prune(
        max_bytes=None if max_bytes is None else int(max_bytes), older_than_s=older_than_s, dry_run=dry_run
    )
    if as_json:
        print_json(
            {
                "removed": [_facts(version) for version in done.versions],
                "freed_bytes": done.freed,
                "left_bytes": done.left,
                "kept_recent": done.kept_recent,
                "dry_run": dry_run,
            }
        )
        return
    for version in done.versions:
        click.echo(
            f"{version.digest[:12]}  {_readable(version.size):>9}  {' '.join(version.references) or '-'}"
        )
    click.echo(
        f"{'Would free' if dry_run else 'Freed'} {_readable(done.freed)} ({len(done.versions)} versions); "
        f"{_readable(done.left)} {'would stay' if dry_run else 'stay'}."
    )
    if done.kept_recent:
        click.echo(f"{done.kept_recent} versions were pulled within the last ten minutes and stay.", err=True)


def _facts(version: Any) -> dict[str, Any]:
    return {
        "digest": version.digest,
        "references": list(version.references),
        "bytes": version.size,
        "used_at": datetime.fromtimestamp(version.used_at, UTC).isoformat(timespec="seconds"),
    }


def _readable(size: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
