"""First-frame RGB image -> feature: a small convolutional encoder trained jointly, or a frozen network's feature."""

from __future__ import annotations

import itertools

from torch import Tensor, nn

from trainables.frozen_encoders import IMAGE_WIDTHS
from trainables.transformer import learned

IMAGE_SIZE = 64
IMAGE_ENCODERS = ("conv", *IMAGE_WIDTHS)


class ImageEncoder(nn.Module):
    """An image's feature; an unknown image's is learned.

    Args:
        kind: "conv", trained jointly on 64x64 pixels, or the name of a frozen network, whose features are the input.
        width: of the trained encoder's feature.
    """

    def __init__(self, kind: str, width: int) -> None:
        super().__init__()
        self.width = IMAGE_WIDTHS.get(kind, width)
        self.layers = nn.Identity() if kind in IMAGE_WIDTHS else _convolutions(width)
        self.from_pixels = kind == "conv"
        self.unknown = learned(self.width)

    def forward(self, image_NX: Tensor, known_N: Tensor) -> Tensor:
        """Features (N, width) of uint8 images (N,64,64,3), or of a frozen network's features (N, width)."""
        if not known_N.any():
            return self.unknown.expand(len(known_N), -1)
        x = image_NX.to(self.unknown.dtype)
        if self.from_pixels:
            x = x.permute(0, 3, 1, 2) / 127.5 - 1.0
        return self.layers(x).where(known_N[:, None], self.unknown)


def _convolutions(width: int) -> nn.Module:
    layers: list[nn.Module] = []
    channels = (3, 16, 32, 64, 64)
    for before, after in itertools.pairwise(channels):
        layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.ReLU()]
    # The 4x4 map is kept, not pooled: where things are in the image is what it adds to the text.
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(64 * 4 * 4, width), nn.LayerNorm(width))
