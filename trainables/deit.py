"""DeiT-base (Touvron et al. 2021) by timm, its head removed: the paper's image features, 768 numbers an image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from trainables.encoder_weights import fill, read_weights, weights_digest, weights_file
from trainables.torchvision_import import import_torchvision

VARIABLE = "DEIT_WEIGHTS"
REPOSITORY = "timm/deit_base_patch16_224.fb_in1k"
FILES = ("model.safetensors", "pytorch_model.bin")


class DeiT(nn.Module):
    """Features of pictures: padded to a square with centred zeros, resized to 224 x 224, ImageNet mean and deviation."""

    def __init__(self) -> None:
        super().__init__()
        import_torchvision()
        import timm

        path = weights_file(VARIABLE, repository=REPOSITORY, names=FILES, instead="choose image_encoder=conv")
        weights = read_weights(path)
        self.network = timm.create_model("deit_base_patch16_224", pretrained=False, num_classes=0)
        without_head = {name: value for name, value in weights.items() if not name.startswith("head.")}
        fill(
            self.network,
            without_head,
            path=path,
            variable=VARIABLE,
            what="DeiT-base (timm deit_base_patch16_224)",
        )
        self.digest = weights_digest(self.network)
        # timm's own transform of this network, but for the crop: the paper shows it the whole picture.
        settings = timm.data.resolve_data_config({"crop_pct": 1.0}, model=self.network)
        self._transform = timm.data.create_transform(**settings, is_training=False)
        self.eval()

    @torch.no_grad()
    def forward(self, images: Sequence[NDArray[np.uint8]]) -> Tensor:
        """Features (N, 768) of RGB images, uint8 (H, W, 3)."""
        pixels = torch.stack([self._transform(padded_to_square(image)) for image in images])
        return self.network(pixels.to(next(self.network.parameters()).device))


def padded_to_square(image: NDArray[np.uint8]) -> Image.Image:
    """The picture in the middle of a black square."""
    height, width = image.shape[:2]
    picture, side = Image.fromarray(image), max(height, width)
    if height == width:
        return picture
    canvas = Image.new("RGB", (side, side))
    canvas.paste(picture, ((side - width) // 2, (side - height) // 2))
    return canvas
