"""How good is a trained model on data it was not made for?

    python -m sweeps.evaluate latentact-world-objects@champion --data s3://bucket/dexycb

Without --split all clips of the data set are evaluated: none of them trained the model. What trained it is refused.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import click
from rich import box
from rich.console import Console
from rich.table import Table

from sweeps.command import fail_clearly
from sweeps.errors import SweepError
from zoo import settings as zoo_settings

EXAMPLES = """
\b
Examples:
  python -m sweeps.evaluate latentact-world-objects@champion --data data/dexycb
  python -m sweeps.evaluate latentact-dexycb-subjects@3 --data s3://bucket/ho3d --split objects --part test
  python -m sweeps.evaluate ./checkpoint --data data/arctic --group subject --json > figures.json
  python -m sweeps.evaluate latentact-world-objects --data data/dexycb --protocol goal --out figures.json

Figures are end to end: codes come from the model's indexer, and its contact threshold from its own validation. Beside
the model stand hands that do not move; the one that is told the true first hand knows more than the model. With
MLFLOW_TRACKING_URI the figures are kept as a run of the experiment latentact-cross-data.
"""
_TITLES = {
    "mpjpe_cm": "MPJPE cm",
    "mpjpe_ra_cm": "root-aligned cm",
    "mpjpe_pa_cm": "Procrustes cm",
    "contact_precision": "precision",
    "contact_recall": "recall",
    "contact_f1": "contact F1",
}


@click.command(
    epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120}
)
@click.argument("model")
@click.option("--data", required=True, help="Clips to evaluate on: a folder or s3:// address.")
@click.option("--split", help="A setting of these data.  [default: none, all clips]")
@click.option(
    "--part", type=click.Choice(["test", "val", "all"]), help="[default: test with --split, else all]"
)
@click.option(
    "--protocol", type=click.Choice(["first", "goal"]), help="Contact point given.  [default: the model's]"
)
@click.option(
    "--stride",
    type=click.IntRange(min=1),
    default=4,
    show_default=True,
    help="Frames from one window to the next.",
)
@click.option(
    "--group",
    type=click.Choice(["subject", "scene", "object", "action", "task"]),
    help="Clips that intervals keep together.  [default: the setting's, else the first of subject, scene, object]",
)
@click.option("--device", type=click.Choice(["cpu", "cuda"]), help="[default: cuda where there is one]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON (its fields: sweeps/cross_data.py).")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write the same JSON to a file.")
@fail_clearly
def main(
    model: str,
    data: str,
    split: str | None,
    part: str | None,
    protocol: str | None,
    stride: int,
    group: str | None,
    device: str | None,
    as_json: bool,
    out: Path | None,
) -> int:
    """Evaluate MODEL, NAME[@version|@alias] of the zoo or a local folder, on another data set."""
    part = part or ("test" if split else "all")
    if split is None and part != "all":
        from trainables.clips import read_manifest

        known = ", ".join(sorted(read_manifest(data)["settings"])) or "none, so leave --part out"
        raise SweepError(
            f"--part {part} needs --split: which setting's {part} part? These data have {known}."
        )
    if out is not None and not out.absolute().parent.is_dir():
        raise SweepError(f"--out {out}: there is no folder {out.absolute().parent}; make it first.")
    # A shell that never sourced the local stack's settings finds its store and its MLflow.
    os.environ.update(zoo_settings.environment())

    import torch

    from sweeps.cross_data import Asked, cross_evaluate
    from sweeps.opened_model import open_model

    if device == "cuda" and not torch.cuda.is_available():
        raise SweepError("--device cuda: this machine has none that torch can use; leave --device out.")
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    opened = open_model(model, device=device)
    asked = Asked(
        split=split,
        part=part,
        protocol=protocol or opened.model.config.protocol,
        stride=stride,
        group=group,
    )
    record = cross_evaluate(opened, data, asked, device=device, say=lambda line: click.echo(line, err=True))
    text = json.dumps(record, indent=1)
    if out is not None:
        out.write_text(text + "\n")
    if as_json:
        click.echo(text)
    else:
        print_record(record)
    for line in _kept(record, out):
        click.echo(line, err=as_json)
    return 0


def print_record(record: dict[str, Any]) -> None:
    """The table, then what must be said beside it."""
    console = Console(width=140, force_terminal=False, highlight=False, emoji=False)
    model, data, asked, counts = (record[name] for name in ("model", "data", "asked", "counts"))
    part = f"{asked['split']}, {asked['part']}" if asked["split"] else "all clips"
    table = Table(
        title=f"{model['reference']} on {data['name']} ({part}), protocol {asked['protocol']}, mode {model['mode']}",
        box=box.ASCII,
        title_justify="left",
        show_lines=True,
        padding=(0, 1, 0, 0),
    )
    table.add_column("predictor", no_wrap=True)
    for title in _TITLES.values():
        table.add_column(f"{title}\n(95%)", justify="right", no_wrap=True)
    for name, row in record["predictors"].items():
        figures = [row["metrics"].get(metric, {"estimate": None}) for metric in _TITLES]
        digits = [2 if metric.endswith("_cm") else 3 for metric in _TITLES]
        title = name if name == "model" else f"{name.replace('_', ' ')}, still"
        table.add_row(title, *(_cell(*pair) for pair in zip(figures, digits, strict=True)))
    console.print(table)
    lines = [
        (
            f"{counts['windows']} windows of {counts['clips']} clips in {counts['groups']} groups ({asked['group']}), "
            f"a window every {asked['stride']} frames. Intervals resample groups, and clips within them."
        ),
        (
            f"Data {data['digest'][:16]}; the model's training data: {model['data']} {model['data_digest'][:16]}, "
            f"setting {model['setting']}."
        ),
    ]
    for name, figures in record["difference"].items():
        lines.append(f"{_sentence(name)}, still: {record['predictors'][name]['is']}.")
        difference = _cell(figures["mpjpe_cm"], 2, "+").replace("\n", " ")
        lines[-1] += f" Model minus that: {difference} cm MPJPE, negative is better."
    lines += [f"Note: {warning}" for warning in record["warnings"]]
    for line in lines:
        console.print(line, soft_wrap=True)


def _sentence(name: str) -> str:
    return name.replace("_", " ").capitalize()


def _cell(interval: dict[str, Any], digits: int, sign: str = "") -> str:
    number = f"{sign}.{digits}f"
    if interval["estimate"] is None:
        return "-"
    if interval["low"] is None:
        return f"{interval['estimate']:{number}}\n(no interval)"
    return f"{interval['estimate']:{number}}\n({interval['low']:{number}} to {interval['high']:{number}})"


def _kept(record: dict[str, Any], out: Path | None) -> list[str]:
    """Where the figures went, and that test was read."""
    asked, lines, before = record["asked"], [], ""
    if uri := os.environ.get("MLFLOW_TRACKING_URI"):
        from sweeps.cross_tracking import track
        from sweeps.redacted import redacted

        try:
            address, others = track(uri, record)
            lines.append(f"MLflow: {address}")
            before = f" MLflow knows {others} other evaluation(s) that read it."
        except Exception as error:  # noqa: BLE001 any failure of a view must leave the figures alone
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            click.echo(redacted(f"Warning: MLflow at {uri} does not take records ({reason})."), err=True)
    if out is not None:
        lines.append(f"Figures: {out}")
    if asked["part"] == "test":
        lines.append(
            f"Test read: {record['data']['name']} {asked['split']}. Report it; select nothing by it.{before}"
        )
    return lines


if __name__ == "__main__":
    main()
