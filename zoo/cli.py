"""The `zoo` command. Errors are one sentence on stderr and exit code 1."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

import zoo
from zoo.errors import ZooError

EXAMPLES = """\b
Examples:
  zoo ls 'latentact-*-objects'
  zoo pull latentact-world-objects@champion
  zoo predict latentact-world-objects --image hand.png --text "grasp the mug" --contact-point 0.02,-0.05,0.61
  zoo publish ./best-model latentact-world-objects
  zoo promote latentact-world-objects@3

The store is $LATENTACT_ZOO (s3://bucket or file:///folder) and the AWS_* variables; without them, the local stack
that `python -m cluster.local up` started.
"""


class OneSentenceErrors(click.Group):
    """Turns the zoo's own errors into one line and exit code 1; anything else is a defect and keeps its
    traceback.
    """

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ZooError as error:
            raise click.ClickException(str(error)) from error
        except ValueError as error:
            if type(error).__module__.startswith("trainables."):
                raise click.ClickException(str(error)) from error
            raise


@click.group(cls=OneSentenceErrors, epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="latentact-zoo")
def main() -> None:
    """Publish, find and pull LatentAct models by name: latentact-<data>-<setting>@<version or alias>."""


as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@main.command()
@click.argument("pattern", default="*")
@as_json
def ls(pattern: str, as_json: bool) -> None:
    """List models whose name matches PATTERN (wildcards *, ?, [abc])."""
    entries = zoo.ls(pattern)
    if as_json:
        _print_json([vars(entry) for entry in entries])
        return
    if not entries:
        click.echo(f"No model matches '{pattern}'.", err=True)
        return
    rows = [("NAME", "LATEST", "ALIASES", "VAL MPJPE cm", "TEST MPJPE cm")]
    for entry in entries:
        aliases = " ".join(f"{alias}={number}" for alias, number in sorted(entry.aliases.items())) or "-"
        val, test = (_cm(entry.figures.get(f"{part}_mpjpe_cm")) for part in ("val", "test"))
        rows.append((entry.name, str(entry.latest), aliases, val, test))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


@main.command()
@click.argument("name")
@as_json
def pull(name: str, as_json: bool) -> None:
    """Download NAME[@version|@alias] into the cache, verify it, print its folder."""
    folder = zoo.pull(name)
    if as_json:
        _print_json({"folder": str(folder), "digest": folder.name})
    else:
        click.echo(folder)


@main.command()
@click.argument("name")
def card(name: str) -> None:
    """Print the card of NAME[@version|@alias]."""
    click.echo(zoo.card(name))


@main.command()
@click.argument("name")
@as_json
def show(name: str, as_json: bool) -> None:
    """Print version, digest, aliases, tags and files of NAME[@version|@alias]; with --json its config and
    metrics too.
    """
    facts = zoo.show(name)
    if as_json:
        _print_json(facts)
        return
    for key in ("name", "version", "digest", "url", "published_by", "published_at"):
        click.echo(f"{key:<13} {facts[key]}")
    click.echo(f"{'aliases':<13} {' '.join(facts['aliases']) or '-'}")
    for tag, value in sorted(facts["tags"].items()):
        click.echo(f"{'tag':<13} {tag} = {value}")
    for file in facts["files"]:
        click.echo(f"{'file':<13} {file['path']} ({file['size']} bytes)")


@main.command()
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
        _print_json(vars(published))
    else:
        click.echo(f"{published.name}@{published.version}  {published.digest[:12]}  {published.url}")


@main.command()
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
        _print_json(vars(promotion))
    else:
        click.echo(f"{promotion.name}@{promotion.version} is '{alias}'. {promotion.reason}")


@main.command()
@click.argument("name")
def register(name: str) -> None:
    """Show NAME's versions and aliases in MLflow again, after it was down or lost."""
    from zoo import catalogue, registry

    store = zoo.open_store()
    catalogue.exists(name, store=store)
    if not registry.mirror(store, name):
        raise ZooError("No MLflow is configured: set MLFLOW_TRACKING_URI.")
    click.echo(f"MLflow shows {name} as the store holds it.")


@main.command()
@click.argument("name")
@click.option("--image", type=click.Path(exists=True, dir_okay=False), help="RGB image of the first frame.")
@click.option("--text", required=True, help="The action, for example 'grasp the mug'.")
@click.option(
    "--contact-point", metavar="X,Y,Z", help="Metres, in the image's camera (x right, y down, z forward)."
)
@click.option(
    "--last-image",
    type=click.Path(exists=True, dir_okay=False),
    help="Of the last frame, for a model that interpolates.",
)
@click.option("--last-contact-point", metavar="X,Y,Z", help="Likewise, in the first image's camera.")
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="Save the trajectory as a NumPy .npz file."
)
def predict(
    name: str,
    image: str | None,
    text: str,
    contact_point: str | None,
    last_image: str | None,
    last_contact_point: str | None,
    out: Path | None,
) -> None:
    """Predict one second of hand motion and contact with NAME[@version|@alias]."""
    points = {  # read before the model is pulled
        "contact_point": _point(contact_point, "--contact-point"),
        "last_contact_point": _point(last_contact_point, "--last-contact-point"),
    }
    trajectory = zoo.load(name).predict(image=image, text=text, last_image=last_image, **points)
    import numpy as np

    from zoo.loading import contact_by_finger, trajectory_arrays

    arrays = trajectory_arrays(trajectory)
    wrist_m = arrays["joints_m"][:, 0]
    length_cm = 100 * float(np.linalg.norm(np.diff(wrist_m, axis=0), axis=1).sum())
    start, end = (", ".join(f"{value:.3f}" for value in wrist_m[frame]) for frame in (0, -1))
    click.echo(f"frames    {len(wrist_m)} at 30 per second")
    click.echo(f"wrist     from ({start}) to ({end}) m in the image's camera, a path of {length_cm:.1f} cm")
    fingers = contact_by_finger(trajectory)
    threshold = float(trajectory.contact_threshold)
    touching = [f"{finger} {peak:.2f}" for finger, peak in fingers.items() if peak >= threshold]
    best = next(iter(fingers))
    none = f"no finger reaches the threshold {threshold:.2f}; most likely {best} {fingers[best]:.2f}"
    click.echo(f"contact   {', '.join(touching) or none}")
    if out:
        np.savez_compressed(out, allow_pickle=False, **arrays)
        click.echo(f"saved     {out if out.suffix == '.npz' else f'{out}.npz'}")


def _cm(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _point(text: str | None, option: str) -> list[float] | None:
    if text is None:
        return None
    try:
        x, y, z = (float(part) for part in text.split(","))
    except ValueError:
        raise click.BadParameter(f"'{text}' is not X,Y,Z in metres", param_hint=option) from None
    return [x, y, z]


def _print_json(value: Any) -> None:
    json.dump(value, sys.stdout, indent=2, sort_keys=True)
    click.echo()
