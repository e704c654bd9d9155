"""What a user says, made into the inputs of one window."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from trainables.conditions import ConditionsConfig
from trainables.frozen_encoders import IMAGE_WIDTHS, TEXT_WIDTHS, load_image_encoder, load_text_encoder
from trainables.image_encoder import IMAGE_SIZE
from trainables.windows import Inputs

Picture = Image.Image | np.ndarray | str | os.PathLike[str] | None


class PromptError(ValueError):
    """An input to a model is not usable; the text says which and what to do."""


def inputs_of(
    config: ConditionsConfig, text: str, images: list[Picture], points: list[Any], device: torch.device
) -> Inputs:
    """Inputs of one window.

    Args:
        text: the action, "verb noun"; "" = unknown.
        images: one a given frame: RGB, as a PIL image, a uint8 array (H,W,3) or a path; None = unknown.
        points: one a given frame: (3,) metres in the first image's camera; None = unknown.

    Raises:
        PromptError: an input has the wrong type, shape or range.
        EncoderError: the frozen encoder that the model was trained with cannot be loaded.
    """
    if not isinstance(text, str):
        raise PromptError(
            f"text is {type(text).__name__}; pass the action as a string, such as 'lift the mug'"
        )
    known_S = torch.tensor([image is not None for image in images])
    if config.image_encoder in IMAGE_WIDTHS:
        image_SX = torch.zeros(len(images), IMAGE_WIDTHS[config.image_encoder])
        if known_S.any():
            encode = load_image_encoder(config.image_encoder)
            image_SX[known_S] = encode([_pixels(image) for image in images if image is not None])
    else:
        image_SX = torch.stack([_small(image) for image in images])
    text_BF = load_text_encoder(config.text_encoder)([text]) if config.text_encoder in TEXT_WIDTHS else None
    return Inputs(
        texts=[text],
        text_B=torch.zeros(1, dtype=torch.int64, device=device),
        text_BF=None if text_BF is None else text_BF.to(device),
        text_known_B=torch.tensor([bool(text.strip())], device=device),
        image_BSX=image_SX[None].to(device),
        image_known_BS=known_S[None].to(device),
        point_BS3=torch.stack([_point_m(point) for point in points])[None].to(device),
        point_known_BS=torch.tensor([[point is not None for point in points]], device=device),
    )


def _pixels(image: Picture) -> np.ndarray:
    """RGB pixels uint8 (H,W,3)."""
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise PromptError(f"image is {image.dtype} {image.shape}; pass RGB pixels as uint8 (H,W,3)")
        return image
    if isinstance(image, Image.Image):
        return np.array(ImageOps.exif_transpose(image).convert("RGB"))
    if not isinstance(image, str | os.PathLike):
        raise PromptError(
            f"image is {type(image).__name__}; pass a path, a PIL image or uint8 pixels (H,W,3)"
        )
    try:
        with Image.open(image) as opened:
            # Phones write pictures as the sensor saw them, and beside them how to turn them.
            return np.array(ImageOps.exif_transpose(opened).convert("RGB"))
    except OSError as error:
        raise PromptError(
            f"image {os.fspath(image)} cannot be read: {error}; pass a PNG or JPEG file"
        ) from error


def _small(image: Picture) -> Tensor:
    """Pixels (64,64,3) uint8 of an image, padded to a square with centred zeros and resized; black for None."""
    if image is None:
        return torch.zeros(IMAGE_SIZE, IMAGE_SIZE, 3, dtype=torch.uint8)
    picture = Image.fromarray(_pixels(image))
    side = max(picture.size)
    canvas = Image.new("RGB", (side, side))
    canvas.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
    return torch.from_numpy(np.array(canvas.resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BILINEAR)))


def _point_m(value: Any) -> Tensor:
    if value is None:
        return torch.zeros(3)
    point = torch.as_tensor(value, dtype=torch.float32)
    if point.shape != (3,) or not point.isfinite().all():
        raise PromptError(
            f"contact_point is {value!r}; pass three finite numbers, metres in the image's camera"
        )
    return point
