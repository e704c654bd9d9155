"""What a network is told of a window: text, and the image and contact point of each given frame."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from trainables.contact_encoder import ContactEncoder
from trainables.image_encoder import ImageEncoder
from trainables.text_encoder import TextEncoder
from trainables.windows import Inputs


@dataclass(frozen=True, kw_only=True)
class ConditionsConfig:
    given: int = 1  # frames whose image and contact point are given: the first, or the first and the last
    width: int = 64  # of the features of encoders that are trained jointly
    image_encoder: str = "conv"
    text_encoder: str = "words"
    contact_encoder: str = "volume"


class Conditions(nn.Module):
    """Text, image and contact features side by side, as the paper concatenates them.

    Interpolation's two frames stand side by side too, each with its image and its contact point. The release adds up
    the image features of both, so that which is first is lost, and gives the contacts of all frames between.
    """

    def __init__(self, config: ConditionsConfig) -> None:
        super().__init__()
        self.text = TextEncoder(config.text_encoder, config.width)
        self.image = ImageEncoder(config.image_encoder, config.width)
        self.contact = ContactEncoder(config.contact_encoder)
        self.of_a_frame = self.image.width + self.contact.width
        self.width = self.text.width + config.given * self.of_a_frame

    def forward(self, inputs: Inputs) -> Tensor:
        """Features (B, self.width), encoded once a window. Nothing here reads a target or a frame that is not given."""
        return torch.cat([self._text(inputs), self._frames(inputs).flatten(1)], dim=-1)

    def each_frame(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """Features of the text (B,1,F) and of every given frame (B,S,F): what the codebook's decoder may be told."""
        return self._text(inputs)[:, None], self._frames(inputs)

    def _text(self, inputs: Inputs) -> Tensor:
        return self.text(inputs.texts, inputs.text_B, inputs.text_BF, inputs.text_known_B)

    def _frames(self, inputs: Inputs) -> Tensor:
        batch, given = inputs.point_known_BS.shape
        image = self.image(inputs.image_BSX.flatten(0, 1), inputs.image_known_BS.flatten())
        contact = self.contact(inputs.point_BS3.flatten(0, 1), inputs.point_known_BS.flatten())
        return torch.cat([image, contact], dim=-1).view(batch, given, -1)
