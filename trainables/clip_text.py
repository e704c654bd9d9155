"""The text tower of CLIP ViT-B/32 (Radford et al. 2021) by open_clip: the paper's text features, 512 numbers a text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from trainables.encoder_weights import EncoderError, fill, read_weights, weights_digest, weights_file
from trainables.torchvision_import import import_torchvision

VARIABLE = "CLIP_WEIGHTS"
# open_clip's copy of OpenAI's weights, its tag "openai". They were trained with the quick approximation of GELU.
REPOSITORY = "timm/vit_base_patch32_clip_224.openai"
ARCHITECTURE = "ViT-B-32-quickgelu"
FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin", "model.safetensors")
# In OpenAI's own file beside the tensors.
_NOT_WEIGHTS = ("input_resolution", "context_length", "vocab_size")


class ClipText(nn.Module):
    """Text features of unit length. A text is cut after 77 tokens."""

    def __init__(self) -> None:
        super().__init__()
        import_torchvision()
        import open_clip

        path = weights_file(
            VARIABLE,
            repository=REPOSITORY,
            names=FILES,
            instead="choose text_encoder=minilm or text_encoder=words",
        )
        _refuse_another_activation(path)
        weights = read_weights(path)
        # Its own constructor, not create_model, which would warn of weights drawn at random.
        self.network = open_clip.CLIP(**open_clip.get_model_config(ARCHITECTURE))
        del self.network.visual
        own = {
            name: value.float()
            for name, value in weights.items()
            if not name.startswith("visual.") and name not in _NOT_WEIGHTS
        }
        fill(self.network, own, path=path, variable=VARIABLE, what="CLIP ViT-B/32 (open_clip ViT-B-32)")
        self._tokens = open_clip.get_tokenizer(ARCHITECTURE)
        self.digest = weights_digest(self.network)
        self.eval()

    @torch.no_grad()
    def forward(self, texts: Sequence[str]) -> Tensor:
        """Features (N, 512) of texts."""
        tokens = self._tokens(list(texts)).to(self.network.positional_embedding.device)
        return self.network.encode_text(tokens, normalize=True)


def _refuse_another_activation(path: Path) -> None:
    """LAION's CLIPs of this very shape use GELU itself: in this network their features would be wrong unnoticed."""
    config = path.parent / "open_clip_config.json"
    if config.is_file() and not json.loads(config.read_text())["model_cfg"].get("quick_gelu"):
        raise EncoderError(
            f"{config} is of a CLIP without quick_gelu, so these are not OpenAI's weights, which the text encoder "
            f"'clip' stands for: set {VARIABLE} to a file of {REPOSITORY}"
        )
