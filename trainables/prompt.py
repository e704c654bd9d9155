"""What a user says, made into the inputs of windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from trainables.conditions import ConditionsConfig
from trainables.frozen_encoders import IMAGE_WIDTHS, TEXT_WIDTHS, load_image_encoder, load_text_encoder
from trainables.image_encoder import IMAGE_SIZE
from trainables.photo import PhotoError, Picture, photo_pixels
from trainables.text_encoder import words_of
from trainables.windows import Inputs

FARTHEST_M = 5.0  # a hand that is filmed is nearer; a point beyond was given in another unit


class PromptError(ValueError):
    """An input to a model is not usable; the text says which and what to do."""


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """What a model is asked.

    text: the action, "verb noun", for example "lift the mug"; "" = unknown.
    image: RGB, as a PIL image, a uint8 array (H,W,3) or a path; padded to a square and resized. None = unknown.
    contact_point: (3,) metres in the image's camera (x right, y down, z forward). None = unknown.
    last_image, last_contact_point: of the last frame, for a model that interpolates; the point in the first image's
        camera.
    """

    text: str
    image: Picture = None
    contact_point: Any = None
    last_image: Picture = None
    last_contact_point: Any = None


@dataclass(frozen=True, kw_only=True)
class ReadPrompt:
    """A prompt that was found usable: pictures opened (None = unknown), points (3,) metres, one a given frame."""

    text: str
    pixels: list[np.ndarray | None]
    points_m: list[Tensor | None]


def read_prompt(config: ConditionsConfig, prompt: Prompt) -> ReadPrompt:
    """Raises PromptError: an input has the wrong type, shape or range."""
    if not isinstance(prompt.text, str):
        raise PromptError(
            f"text is {type(prompt.text).__name__}; pass the action as a string, such as 'lift the mug'"
        )
    if prompt.text.strip() and not words_of(prompt.text):
        raise PromptError(
            f"text {prompt.text!r} has no word in Latin letters; say the action in English, such as 'lift the mug'"
        )
    points = {"contact_point": prompt.contact_point, "last_contact_point": prompt.last_contact_point}
    points_m = [_point_m(value, name) for name, value in points.items()]
    if points_m[0] is not None and points_m[0][2] <= 0:
        raise PromptError(
            f"contact_point {prompt.contact_point} lies behind the camera; its third number is the distance before the "
            "camera, in metres and above zero"
        )
    try:
        pixels = [
            None if image is None else photo_pixels(image) for image in (prompt.image, prompt.last_image)
        ]
    except PhotoError as error:
        raise PromptError(str(error)) from error
    if config.image_encoder not in IMAGE_WIDTHS:  # a batch of photos need not be kept at full size
        pixels = [None if image is None else _small(image) for image in pixels]
    return ReadPrompt(text=prompt.text, pixels=pixels[: config.given], points_m=points_m[: config.given])


def inputs_of(config: ConditionsConfig, prompts: Sequence[ReadPrompt], device: torch.device) -> Inputs:
    """Inputs of windows, one a prompt, each frozen encoder asked once.

    Raises EncoderError: the frozen encoder that the model was trained with cannot be loaded.
    """
    pixels = [image for prompt in prompts for image in prompt.pixels]
    points = [point for prompt in prompts for point in prompt.points_m]
    image_known = torch.tensor([image is not None for image in pixels])
    if config.image_encoder in IMAGE_WIDTHS:
        image_NX = torch.zeros(len(pixels), IMAGE_WIDTHS[config.image_encoder])
        if image_known.any():
            encode = load_image_encoder(config.image_encoder)
            image_NX[image_known] = encode([image for image in pixels if image is not None])
    else:
        black = np.zeros((IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)
        image_NX = torch.from_numpy(np.stack([black if image is None else image for image in pixels]))
    texts = list(dict.fromkeys(prompt.text for prompt in prompts))
    text_B = torch.tensor([texts.index(prompt.text) for prompt in prompts])
    text_BF = (
        load_text_encoder(config.text_encoder)(texts)[text_B] if config.text_encoder in TEXT_WIDTHS else None
    )
    shape = (len(prompts), config.given)
    return Inputs(
        texts=texts,
        text_B=text_B.to(device),
        text_BF=None if text_BF is None else text_BF.to(device),
        text_known_B=torch.tensor([bool(prompt.text.strip()) for prompt in prompts], device=device),
        image_BSX=image_NX.unflatten(0, shape).to(device),
        image_known_BS=image_known.view(shape).to(device),
        point_BS3=torch.stack([torch.zeros(3) if point is None else point for point in points])
        .view(*shape, 3)
        .to(device),
        point_known_BS=torch.tensor([point is not None for point in points]).view(shape).to(device),
    )


def _point_m(value: Any, name: str) -> Tensor | None:
    """A point (3,) in metres, None where it is unknown. Raises PromptError."""
    if value is None:
        return None
    try:
        point = torch.as_tensor(value, dtype=torch.float32)
    except (TypeError, ValueError, RuntimeError):
        point = torch.empty(0)
    if point.shape != (3,) or not point.isfinite().all():
        raise PromptError(f"{name} is {value!r}; pass three finite numbers, metres in the image's camera")
    if (away_m := float(point.norm())) > FARTHEST_M:
        raise PromptError(
            f"{name} {value} lies {away_m:,.0f} m away, and hands within {FARTHEST_M:.0f} m; the numbers are metres: "
            "divide millimetres by 1000, centimetres by 100"
        )
    return point


def _small(pixels: np.ndarray) -> np.ndarray:
    """Pixels (64,64,3) uint8 of an image, padded to a square with centred zeros and resized."""
    picture = Image.fromarray(pixels)
    side = max(picture.size)
    canvas = Image.new("RGB", (side, side))
    canvas.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
    return np.array(canvas.resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BILINEAR))
