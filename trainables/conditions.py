"""What a network is told of a window: text, first-frame image and contact point, encoded once a window."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trainables.contact_encoder import FEATURES, ContactEncoder
from trainables.image_encoder import ImageEncoder
from trainables.text_encoder import TextEncoder
from trainables.windows import Inputs


class Conditions(nn.Module):
    """Text, image and contact features side by side, as the paper concatenates them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.text = TextEncoder(width)
        self.image = ImageEncoder(width)
        self.contact = ContactEncoder()
        self.width = 2 * width + FEATURES + 3

    def forward(self, inputs: Inputs) -> Tensor:
        """Features (B, self.width). Nothing here reads a target or a frame after the first."""
        text = self.text(inputs.texts, inputs.text_B)
        image = self.image(inputs.image_BHW3, inputs.image_known_B)
        contact = self.contact(inputs.point_B3, inputs.point_known_B)
        return torch.cat([text, image, contact], dim=-1)
