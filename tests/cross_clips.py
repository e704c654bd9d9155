"""Clips that no tiny model was trained on, and `python -m sweeps.evaluate` as tests call it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from click.testing import CliRunner, Result

from sweeps.evaluate import main
from tests.made_up_clips import SETTINGS, random_clip
from trainables.clips import Clip, Clips, encode_png, write_clips
from trainables.windows import Windows

PICTURE = encode_png(np.full((64, 64, 3), 90, np.uint8))


def strange_clip(i: int, **changes: Any) -> Clip:
    common = {
        "image_png": [PICTURE, PICTURE], "image_frame": (0, 20),
        "text": ("push left", "push right"), "text_start": (0, 20),
    }  # fmt: skip
    return random_clip(f"strange-{i}", 30 + i, seed=i, **{**common, **changes})


def write(
    folder: Path,
    clips: list[Clip],
    *,
    hand: str = "standin-1",
    radius_m: float = 0.005,
    features: dict[str, dict[str, Any]] | None = None,
) -> Path:
    with write_clips(
        folder, name="strange", hand=hand, source={"seed": 0}, contact_radius_m=radius_m, features=features
    ) as writer:
        for clip in clips:
            writer.add(clip)
        writer.settings = json.loads(json.dumps({"subjects": SETTINGS["subjects"]}))
    return folder


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def record(*arguments: object) -> dict[str, Any]:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def refusal(*arguments: object) -> str:
    result = run(*arguments)
    assert result.exit_code == 1 and result.stderr.splitlines()[-1].startswith("Error: "), result.output
    assert "+---" not in result.stdout
    return result.stderr


def all_windows(clips: Clips, **options: Any) -> Windows:
    return Windows(clips, torch.arange(len(clips)), length=8, stride=4, **options)
