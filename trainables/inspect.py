"""Look a data set over before anything is trained on it: python -m trainables.inspect DEST

Counts, ranges, outliers, splits and a contact sheet of rendered clips as one HTML page, and what is wrong in the
terminal. Exits 1 where something is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    import pyarrow as pa

    from trainables.hand import Hand
    from trainables.inspect_figures import Figures
    from trainables.inspect_findings import Finding

EXAMPLES = """
\b
Examples:
  python -m trainables.inspect data/dexycb
  python -m trainables.inspect s3://bucket/holoassist --html holoassist.html
  python -m trainables.inspect data/dexycb --json | jq '.findings[] | select(.severity == "error")'

The page is one file that fetches nothing. An error (against a warning or a note) means that a model would learn
something false; then the exit status is 1.
"""
_MARKS = {"error": "red", "warning": "yellow", "note": "blue"}


@click.command(
    epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.argument("dest")
@click.option(
    "--html", type=click.Path(dir_okay=False, path_type=Path),
    help="Where to write the page; ./NAME-DIGEST.html by default.",
)  # fmt: skip
@click.option("--json", "as_json_", is_flag=True, help="Print everything as JSON in place of the tables.")
@click.option(
    "--window",
    default=30,
    show_default=True,
    type=click.IntRange(min=2),
    help="Frames of a window, at 30 fps.",
)
@click.option("--seed", default=0, show_default=True, type=int, help="Which clips the contact sheet shows.")
def main(dest: str, html: Path | None, as_json_: bool, window: int, seed: int) -> None:
    """Inspect the data set at DEST (a folder or s3://bucket/prefix)."""
    from trainables.clip_format import ClipsError
    from trainables.mano_file import HandFileError

    try:
        found = inspect_clips(dest, html=html, window=window, seed=seed)
    except (ClipsError, HandFileError, OSError) as error:
        raise click.ClickException(str(error)) from error
    if as_json_:
        click.echo(json.dumps(found, indent=1, ensure_ascii=False))
    else:
        _print(found)
    if any(finding["severity"] == "error" for finding in found["findings"]):
        raise SystemExit(1)


def inspect_clips(dest: str, *, html: Path | None = None, window: int = 30, seed: int = 0) -> dict[str, Any]:
    """Look a data set over, write the page, and return what was found (`inspect_page.as_json`).

    Raises ClipsError where the data set cannot be read at all.
    """
    from trainables.clip_folder import open_folder
    from trainables.clip_format import manifest_digest
    from trainables.inspect_page import as_json, page
    from trainables.inspect_sheet import choose, draw_clips

    manifest, hand, figures, findings = look_over(dest, window=window)
    digest = manifest_digest(manifest)
    chosen = choose(figures, findings, digest, seed)
    shown = draw_clips(open_folder(dest), manifest, figures, chosen, hand)
    path = html or Path(f"{re.sub(r'[^A-Za-z0-9._-]+', '-', manifest['name'])}-{digest[:12]}.html")
    about: dict[str, Any] = {"place": dest, "digest": digest, "manifest": manifest, "figures": figures}
    path.parent.mkdir(parents=True, exist_ok=True)
    text = page(**about, findings=findings, shown=shown, hand=hand)
    path.write_text(text, encoding="utf-8")
    return as_json(**about, findings=findings, written=str(path))


def look_over(
    dest: str | Path, *, window: int = 30
) -> tuple[dict[str, Any], Hand | None, Figures, list[Finding]]:
    """(manifest, the data's hand where it is the loaded one, figures, findings, the gravest first).

    Raises ClipsError where the data set cannot be read at all.
    """
    from trainables.clip_folder import open_folder
    from trainables.clip_format import ClipsError
    from trainables.clip_reader import read_manifest, shard_tables
    from trainables.hand import load_hand
    from trainables.inspect_figures import gather
    from trainables.inspect_findings import SEVERITIES
    from trainables.inspect_hand import HandCheck

    manifest, folder, loaded = read_manifest(dest), open_folder(dest), load_hand()
    hand = loaded if loaded.name == manifest["hand"] else None
    frames = sum(shard["frames"] for shard in manifest["shards"])
    tables = _progress(shard_tables(folder, manifest), len(manifest["shards"]), folder.url)
    figures = gather(tables, frames, HandCheck(hand) if hand else None, window, folder.url)
    if not len(figures):
        raise ClipsError(f"{folder.url}, field transl_m: no clip holds a frame; prepare the data set again.")
    found = _findings(figures, manifest, loaded.name)
    return manifest, hand, figures, sorted(found, key=lambda finding: SEVERITIES.index(finding.severity))


def _findings(figures: Figures, manifest: dict[str, Any], loaded: str) -> list[Finding]:
    from trainables.inspect_findings import Finding, clip_findings
    from trainables.inspect_splits import manifest_findings, split_findings

    found = [
        *clip_findings(figures),
        *split_findings(figures, manifest),
        *manifest_findings(figures, manifest),
    ]
    if loaded != manifest["hand"]:
        found.append(
            Finding(
                severity="note", check="another hand model", field="hand",
                what=f"the data's hand is {manifest['hand']}, and {loaded} is loaded: its joints were not compared",
                remedy="set MANO_PATH to MANO_RIGHT.pkl" if manifest["hand"] == "mano" else "unset MANO_PATH",
            )
        )  # fmt: skip
    return found


def _progress(tables: Iterable[pa.Table], total: int, where: str) -> Iterable[pa.Table]:
    """The tables as they come, with a bar on a terminal where there are many."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    quiet = total < 4 or not console.is_terminal
    return track(tables, f"reading {where}", total, console=console, transient=True, disable=quiet)


def _print(found: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from trainables.inspect_page import duration, share

    console = Console(width=None if Console().is_terminal else 120, highlight=False)
    console.print(
        f"[bold]{escape(found['name'])}[/] {found['digest'][:12]}: {found['clips']:,} clips, {found['frames']:,} frames, "
        f"{duration(found['seconds'])}, hand {escape(found['hand'])}, schema {found['schema']}"
    )
    table = Table(box=None, pad_edge=False)
    for name in ("setting", "part"):
        table.add_column(name)
    for name in ("groups", "clips", "frames", "time", "windows", "contact", "starts in it"):
        table.add_column(name, justify="right")
    rows = [{"setting": "all", "part": "", "groups": ""} | found, *found["splits"]]
    for row in rows:
        table.add_row(
            escape(row["setting"]), row["part"], str(row["groups"]), f"{row['clips']:,}", f"{row['frames']:,}",
            duration(row["seconds"]), f"{row['windows']:,}", share(row["contact_frames"]), share(row["contact_windows"]),
        )  # fmt: skip
    console.print(table)
    for finding in found["findings"]:
        colour = _MARKS[finding["severity"]]
        examples = ", ".join(f"{name} ({value})" for name, value in finding["examples"][:3])
        examples += ", ..." if finding["count"] > 3 else ""
        console.print(
            f"[{colour}]{finding['severity']}[/] [bold]{finding['check']}[/] ({escape(finding['field'])}): "
            f"{escape(finding['what'])}: {finding['count']:,}. {escape(examples)}"
        )
        if finding["severity"] != "note":
            console.print(f"  [dim]remedy: {escape(finding['remedy'])}[/]")
    if not found["findings"]:
        console.print("nothing found")
    console.print(f"page: {escape(found['page'])}", soft_wrap=True)


if __name__ == "__main__":
    main()
