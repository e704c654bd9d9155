"""A whole data set as a handful of contiguous tensors.

Suffixes: C clips, F frames of all clips end to end, I images, J 21 joints, V 778 vertices, X 98 bytes of 778 bits.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainables.clip_format import VERTICES


@dataclass(frozen=True, kw_only=True)
class Clips:
    """A data set at 30 fps. Metres, rotations as axis-angle or matrices, each frame in its own camera.

    Where something is unknown its `_known` entry is False and the numbers are a harmless placeholder (camera:
    identity, contact point: zero), never NaN.
    """

    name: str
    hand: str
    digest: str
    manifest: dict[str, Any]
    clip_ids: list[str]
    groups: dict[str, list[str | None]]  # column -> its value for each clip
    texts: list[str]
    offsets_C1: Tensor  # int64 (C+1): clip c is frames offsets[c] to offsets[c+1]
    global_orient_F3: Tensor
    hand_pose_F45: Tensor
    betas_C10: Tensor
    transl_F3: Tensor
    camera_rot_F33: Tensor  # frame's camera -> first frame's camera of its clip
    camera_transl_F3: Tensor
    camera_known_F: Tensor  # bool
    joints_FJ3: Tensor
    contact_FX: Tensor  # uint8 (F, 98): eight vertices a byte, the first in the highest bit; see contact_FV
    contact_known_F: Tensor  # bool
    point_F3: Tensor
    point_known_F: Tensor  # bool
    image_F: Tensor  # int64: latest image at or before the frame inside its clip, -1 where there is none
    images_I: Tensor  # uint8 (I, H, W, 3)
    hand_free_F: Tensor  # int64: latest hand-free image, as image_F
    hand_free_I: Tensor  # uint8, as images_I: pictures from which the hand was removed
    text_F: Tensor  # int64: index into texts
    # Features that came with the data, by the encoders that manifest["features"] names; (0, 0) where there are none.
    image_IF: (
        Tensor  # of the images; where there are no pictures, images_I is empty and image_F points in here
    )
    hand_free_IF: Tensor
    text_XF: Tensor  # of `texts`

    def __len__(self) -> int:
        return len(self.clip_ids)

    @property
    def frames(self) -> int:
        return len(self.transl_F3)

    @property
    def contact_FV(self) -> Tensor:
        """The contact maps of all frames, uint8 (F, 778), 0 or 1. Unpacked at every call: for few frames."""
        return unpack_contact(self.contact_FX)

    @property
    def device(self) -> torch.device:
        return self.transl_F3.device

    def to(self, device: str | torch.device) -> Clips:
        """The same data set with every tensor on `device`."""
        tensors = {
            f.name: getattr(self, f.name) for f in fields(self) if isinstance(getattr(self, f.name), Tensor)
        }
        return replace(self, **{name: tensor.to(device) for name, tensor in tensors.items()})


@functools.cache
def _words(device: torch.device) -> Tensor:
    """The eight bytes 0 or 1 that each byte's bits stand for, as one int64, (256,)."""
    bits = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)
    return torch.from_numpy(bits.view(np.int64)[:, 0].copy()).to(device)


def unpack_contact(contact_NX: Tensor) -> Tensor:
    """Bits (N, 98) as uint8 (N, 778), 0 or 1.

    By a table of eight bytes at once: a third of the time of shifting and masking, and rows of 98 bytes are gathered
    faster than rows of 778.
    """
    words_NX = _words(contact_NX.device)[contact_NX.long()]
    return words_NX.view(torch.uint8)[:, :VERTICES]
