"""A zoo that holds one small model with random weights and known words, and photos to ask it about."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import torch
from click.testing import CliRunner, Result
from PIL import Image, ImageDraw
from zoo_bundles import metrics

import zoo
from trainables.hand import load_hand
from trainables.latentact import LatentAct
from trainables.model_folder import save_model
from trainables.trial_config import TrialConfig
from zoo.cli import main

OBJECTS, INTERPOLATE = "latentact-world-objects", "latentact-world-objects-interpolate"
WORDS = ("the", "push", "grasp", "mug", "left")
TEXT, POINT_M = "push the mug left", [0.02, 0.01, 0.45]
POINT = "0.02,0.01,0.45"
WIDTH_PX, HEIGHT_PX = 320, 240


def publish(folder: Path, *, mode: str = "forecast", hand: str = "") -> None:
    """Publish the model as OBJECTS or INTERPOLATE, version 1; `hand` says that another one was trained with."""
    torch.manual_seed(0)
    trial = TrialConfig(setting="objects", mode=mode, method="transformer", width=16, condition_width=16)
    shape = trial.model(data="world", data_digest="d" * 64, hand=load_hand().name, encoders={})
    bundle = folder / f"bundle-{mode}-{hand}"
    save_model(LatentAct(replace(shape, words=WORDS), load_hand()), bundle)
    if hand:
        config = json.loads((bundle / "config.json").read_text())
        config["model"]["hand"] = hand
        (bundle / "config.json").write_text(json.dumps(config))
    (bundle / "metrics.json").write_text(json.dumps(metrics([3.0] * 6)))
    (bundle / "card.md").write_text("# A small model\n")
    zoo.publish(OBJECTS if mode == "forecast" else INTERPOLATE, bundle)


def scene() -> Image.Image:
    """A table with a mug, drawn: no two quarters of it are alike."""
    picture = Image.new("RGB", (WIDTH_PX, HEIGHT_PX), (196, 178, 150))
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, 0, WIDTH_PX, 90), fill=(120, 140, 160))
    draw.ellipse((180, 100, 250, 180), fill=(170, 40, 50))
    draw.ellipse((40, 150, 90, 200), fill=(40, 90, 60))
    return picture


def photo(folder: Path, name: str = "photo.jpg", *, orientation: int = 1, focal_35_mm: int = 0) -> Path:
    """The scene as a file. orientation: as EXIF has it, the pixels being turned so that the picture is upright again."""
    turned = {
        1: None,
        3: Image.Transpose.ROTATE_180,
        6: Image.Transpose.ROTATE_90,
        8: Image.Transpose.ROTATE_270,
    }
    turn = turned[orientation]
    picture = scene() if turn is None else scene().transpose(turn)
    exif = Image.Exif()
    exif[0x0112] = orientation
    if focal_35_mm:
        exif.get_ifd(0x8769)[0xA405] = focal_35_mm
    picture.save(folder / name, exif=exif)
    return folder / name


def ask(*args: object, name: str = f"{OBJECTS}@1") -> Result:
    return CliRunner().invoke(main, ["predict", name, *map(str, args)])


def sentence(result: Result, *, code: int) -> str:
    """The one line of an error; there is no traceback."""
    assert result.exit_code == code, (result.output, result.exception)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    said = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert len(said) == 1 and "Traceback" not in result.output, result.output
    return said[0]
