"""Let a model of the zoo predict: `zoo predict`."""

from __future__ import annotations

from pathlib import Path

import click

import zoo
from zoo.cli_output import as_json, model_argument, print_json


@click.command(short_help="Predict one second of hand motion and contact.")
@model_argument
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
@as_json
def predict(
    name: str,
    image: str | None,
    text: str,
    contact_point: str | None,
    last_image: str | None,
    last_contact_point: str | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Predict one second of hand motion and contact with NAME[@version|@alias].

    \b
    zoo predict latentact-world-objects --image hand.png --text "grasp the mug" --contact-point 0.02,-0.05,0.61
    zoo predict latentact-world-objects --text "grasp the mug" --out grasp.npz --json

    With --json the wrist's path is printed point by point, in metres in the image's camera; all joints and the
    contact of every vertex are in the file of --out.
    """
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
    fingers = contact_by_finger(trajectory)
    threshold = float(trajectory.contact_threshold)
    saved = None if out is None else str(out if out.suffix == ".npz" else f"{out}.npz")
    if out:
        np.savez_compressed(out, allow_pickle=False, **arrays)
    if as_json:
        print_json(
            {
                "frames": len(wrist_m), "frames_per_s": 30, "wrist_m": wrist_m.tolist(), "wrist_path_cm": length_cm,
                "contact_by_finger": {finger: float(peak) for finger, peak in fingers.items()},
                "contact_threshold": threshold, "saved": saved,
            }
        )  # fmt: skip
        return
    start, end = (", ".join(f"{value:.3f}" for value in wrist_m[frame]) for frame in (0, -1))
    click.echo(f"frames    {len(wrist_m)} at 30 per second")
    click.echo(f"wrist     from ({start}) to ({end}) m in the image's camera, a path of {length_cm:.1f} cm")
    touching = [f"{finger} {peak:.2f}" for finger, peak in fingers.items() if peak >= threshold]
    best = next(iter(fingers))
    none = f"no finger reaches the threshold {threshold:.2f}; most likely {best} {fingers[best]:.2f}"
    click.echo(f"contact   {', '.join(touching) or none}")
    if saved:
        click.echo(f"saved     {saved}")


def _point(text: str | None, option: str) -> list[float] | None:
    if text is None:
        return None
    try:
        x, y, z = (float(part) for part in text.split(","))
    except ValueError:
        raise click.BadParameter(f"'{text}' is not X,Y,Z in metres", param_hint=option) from None
    return [x, y, z]
