"""Frozen encoders drawn at random, in files as the hub serves them: the real networks, without their weights."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from trainables.torchvision_import import import_torchvision


def deit_file(folder: Path, seed: int = 0) -> Path:
    """DeiT-base as timm's repository on the hub has it, head included."""
    import_torchvision()
    import timm

    torch.manual_seed(seed)
    return _saved(timm.create_model("deit_base_patch16_224").state_dict(), folder / "model.safetensors")


def clip_file(folder: Path, seed: int = 0) -> Path:
    """CLIP ViT-B/32 as open_clip's repository on the hub has it, both towers."""
    import_torchvision()
    import open_clip

    torch.manual_seed(seed)
    network = open_clip.CLIP(**open_clip.get_model_config("ViT-B-32-quickgelu"))
    return _saved(network.state_dict(), folder / "open_clip_model.safetensors")


def _saved(weights: dict[str, Tensor], path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: value.contiguous() for name, value in weights.items()}, path)
    return path
