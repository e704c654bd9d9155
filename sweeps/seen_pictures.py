"""Another data set's pictures, made into those that a model takes, and its frozen features, checked to be the same."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from trainables.clips import Clips
from trainables.frozen_encoders import CAME_WITH_THE_DATA
from trainables.image_encoder import IMAGE_SIZE
from trainables.latentact import LatentAct, check_encoders
from trainables.windows import Windows


def as_the_model_sees(clips: Clips, model: LatentAct) -> tuple[Clips, list[str]]:
    """The clips with pictures of the model's size where it takes pixels, and a sentence on what was changed."""
    if model.config.predictor.conditions.image_encoder != "conv":
        return clips, []
    if len(clips.images_I) == 0 and len(clips.image_IF):
        none_F = torch.full_like(clips.image_F, -1)
        said = "These data hold features of their pictures and not the pictures, which the model takes: it gets none."
        return replace(clips, image_F=none_F), [said]
    side = clips.images_I.shape[1]
    if side == IMAGE_SIZE or not len(clips.images_I) + len(clips.hand_free_I):
        return clips, []
    images_I, hand_free_I = _resized(clips.images_I), _resized(clips.hand_free_I)
    said = f"Pictures were brought from {side} to the model's {IMAGE_SIZE} pixels a side."
    return replace(clips, images_I=images_I, hand_free_I=hand_free_I), [said]


def check_features(model: LatentAct, windows: Windows) -> list[str]:
    """A sentence on each frozen encoder of which it is not known whether its features are those trained with.

    Raises EncoderError where it is known that they are not.
    """
    unsure = []
    used = windows.features.digests if windows.features else {}
    for name, trained in model.config.encoders.items():
        if CAME_WITH_THE_DATA in (trained, used[name]):
            whose = "these" if used[name] == CAME_WITH_THE_DATA else "the training"
            unsure.append(
                f"Features by {name} came with {whose} data: it is not known if both are of the same weights."
            )
        else:
            check_encoders({name: trained})
    return unsure


def _resized(images_I: Tensor) -> Tensor:
    """uint8 (I,H,H,3) -> (I,64,64,3)."""
    rows = [images_I.new_zeros(0, IMAGE_SIZE, IMAGE_SIZE, 3)]
    for some in images_I.split(256):
        pixels = some.permute(0, 3, 1, 2).float()
        small = torch.nn.functional.interpolate(pixels, size=IMAGE_SIZE, mode="bilinear", antialias=True)
        rows.append(small.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1))
    return torch.cat(rows)
