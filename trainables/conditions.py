"""What a network is told of a window: text, first-frame image and contact point, encoded once a window."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trainables.contact_encoder import FEATURES, ContactEncoder
from trainables.image_encoder import ImageEncoder
from trainables.noise import SampleNoise
from trainables.text_encoder import TextEncoder
from trainables.windows import Inputs


class Conditions(nn.Module):
    """Text, image and contact features side by side, as the paper concatenates them."""

    def __init__(self, width: int, point_jitter_m: float) -> None:
        super().__init__()
        self.point_jitter_m = point_jitter_m
        self.text = TextEncoder(width)
        self.image = ImageEncoder(width)
        self.contact = ContactEncoder()
        self.width = 2 * width + FEATURES + 3

    def forward(self, inputs: Inputs, noise: SampleNoise | None = None) -> Tensor:
        """Features (B, self.width). Nothing here reads a target or a frame after the first.

        In training (`noise`) the point is moved by `point_jitter_m`. Motion is measured from the true point, so this
        is the whole window moved through space: it keeps a network from learning the places of its training hands.
        """
        text = self.text(inputs.texts, inputs.text_B)
        image = self.image(inputs.image_BHW3, inputs.image_known_B)
        point_B3 = inputs.point_B3
        if noise is not None and self.point_jitter_m:
            point_B3 = point_B3 + self.point_jitter_m * noise.normal((3,), point_B3)
        contact = self.contact(point_B3, inputs.point_known_B)
        return torch.cat([text, image, contact], dim=-1)
