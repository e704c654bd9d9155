"""First-frame RGB image -> feature: a small convolutional encoder, trained jointly."""

from __future__ import annotations

import itertools

from torch import Tensor, nn

from trainables.transformer import learned

IMAGE_SIZE = 64


class ImageEncoder(nn.Module):
    """Four strided convolutions over 64x64 pixels; an unknown image is a learned feature."""

    def __init__(self, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = (3, 16, 32, 64, 64)
        for before, after in itertools.pairwise(channels):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.ReLU()]
        # The 4x4 map is kept, not pooled: where things are in the image is what it adds to the text.
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(64 * 4 * 4, width))
        self.unknown = learned(width)

    def forward(self, image_BHW3: Tensor, known_B: Tensor) -> Tensor:
        """Features (B, width) of uint8 images (B,64,64,3)."""
        if not known_B.any():
            return self.unknown.expand(len(known_B), -1)
        x = image_BHW3.permute(0, 3, 1, 2).to(self.unknown.dtype) / 127.5 - 1.0
        return self.layers(x).where(known_B[:, None], self.unknown)
