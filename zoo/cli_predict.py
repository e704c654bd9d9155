"""Let a model of the zoo predict: `zoo predict`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from zoo.cli_output import as_json, model_argument
from zoo.errors import InputError

FORMATS = ("npz", "gif", "mp4", "html")


class Numbers(click.ParamType):
    """Finite numbers separated by commas."""

    def __init__(self, metavar: str, unit: str) -> None:
        self.name, self.unit, self.count = metavar, unit, metavar.count(",") + 1

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        return self.name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[float]:
        from zoo.batch_table import numbers

        try:
            return numbers(value, self.count, self.name)
        except InputError:
            self.fail(f"'{value}' is not {self.name} in {self.unit}", param, ctx)


POINT = Numbers("X,Y,Z", "metres")
PICTURE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command(short_help="Predict one second of hand motion and contact.")
@model_argument
@click.option("--image", type=PICTURE, help="RGB image of the first frame.")
@click.option("--text", help="The action, for example 'grasp the mug'.")
@click.option(
    "--contact",
    "--contact-point",
    "contact",
    type=POINT,
    help="Where the hand will touch: metres, in the image's camera (x right, y down, z forward).",
)
@click.option(
    "--contact-pixel",
    type=Numbers("X,Y", "pixels"),
    help="The same as a pixel of the upright image, with --depth.",
)
@click.option("--depth", type=float, metavar="METRES", help="Of the contact pixel, along the camera's axis.")
@click.option(
    "--camera",
    type=Numbers("FX,FY,CX,CY", "pixels"),
    help="Of the upright image. Default: --focal-px, else EXIF, else 55 degrees of view.",
)
@click.option("--focal-px", type=float, metavar="PIXELS", help="Focal length, where only that is known.")
@click.option(
    "--click", "clicks", is_flag=True, help="Open a page of this machine to click the contact point on."
)
@click.option("--last-image", type=PICTURE, help="Of the last frame, for a model that interpolates.")
@click.option(
    "--last-contact",
    "--last-contact-point",
    "last_contact",
    type=POINT,
    help="Likewise, in the first image's camera.",
)
@click.option(
    "--batch",
    type=click.Path(exists=True, path_type=Path),
    metavar="FOLDER",
    help="Predict every line of its inputs.csv or inputs.jsonl, or with --text every image.",
)
@click.option(
    "--data", metavar="CLIPS", help="Predict the clips of a data set: a folder or s3://bucket/prefix."
)
@click.option("--split", metavar="SETTING", help="Of the clips.  [default: the model's]")
@click.option(
    "--part",
    type=click.Choice(["train", "val", "gate", "test"]),
    help="Of the split.  [default: val]",
)
@click.option("--limit", type=click.IntRange(min=1), help="At most so many clips.")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda, cuda:1, ...")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="PLACE",
    help="A folder; or a file that ends in .npz, .gif, .mp4 or .html.  [default: a new folder here]",
)
@click.option(
    "--format",
    "formats",
    type=click.Choice(FORMATS),
    multiple=True,
    help="What to write, again for each.  [default: npz, gif, html; of a batch or a click npz, html]",
)
@as_json
def predict(**options: Any) -> None:
    """Predict one second of hand motion and contact with NAME[@version|@alias].

    \b
    zoo predict latentact-world-objects --image photo.jpg --text "grasp the mug" --contact 0.02,0.01,0.45
    zoo predict latentact-world-objects --image photo.jpg --text "grasp the mug" --contact-pixel 810,640 --depth 0.45
    zoo predict latentact-world-objects --image photo.jpg --text "grasp the mug" --click
    zoo predict latentact-world-objects --batch photos --out predictions      # photos/inputs.csv: image,text,contact
    zoo predict latentact-world-objects --data clips --split objects --part val --limit 20

    Writes trajectory.npz (the hand's parameters, joints and vertices in metres in the image's camera, the contact of
    every vertex), trajectory.gif and viewer.html, which opens in any browser. --format mp4 needs PyAV.

    With --json the wrist's path of one prediction is printed point by point, and its files are written only where --out
    says so. Of a batch the exit code is 1 where a line failed; the others are predicted all the same.
    """
    from zoo import predict_runs
    from zoo.predict_options import PredictOptions

    asked = PredictOptions(**options)
    asked.check()
    if asked.batch or asked.data:
        predict_runs.many(asked)
    elif asked.clicks:
        predict_runs.clicks(asked)
    else:
        predict_runs.one(asked)
