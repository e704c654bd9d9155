"""What only the data's own hand model can tell: whether the parameters give the joints, and which finger touches."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from trainables.clip_format import VERTICES
from trainables.hand import FINGERS, Hand

Array = NDArray[Any]
_FRAMES_A_CLIP = 5  # evenly spaced, whose joints are compared


class HandCheck:
    """A data set's rows against the hand model that they were written with.

    fingers: name -> its vertices.
    """

    def __init__(self, hand: Hand) -> None:
        self.hand = hand
        finger_V = hand.finger_V.numpy()
        self.fingers = {name: np.flatnonzero(finger_V == i) for i, name in enumerate(FINGERS)}

    def errors(
        self,
        flat: dict[str, Array],
        betas_C: Array,
        packed_F: Array,
        touches_F: Array,
        first_C: Array,
        frames_C: Array,
    ) -> dict[str, Array]:
        """joint_error_mm: the median joint error of each clip, (C,). centroid_off_mm: how far the stored contact point
        is from the mean of the touching vertices, in the clip's middle frame with contact, NaN without."""
        count = np.minimum(frames_C, _FRAMES_A_CLIP)
        clip = np.repeat(np.arange(len(frames_C)), count)
        step = np.arange(len(clip)) - np.repeat(np.cumsum(count) - count, count)
        rows = first_C[clip] + step * (frames_C[clip] - 1) // np.maximum(count[clip] - 1, 1)
        with torch.no_grad():
            joints = self.hand.joints(*_arguments(flat, betas_C, rows, clip)).numpy()
        error_mm = 1000 * np.linalg.norm(joints - flat["joints_m"][rows], axis=-1)
        cuts = np.cumsum(count)[:-1]
        made = {"joint_error_mm": np.array([np.median(part) for part in np.split(error_mm, cuts)])}
        made["centroid_off_mm"] = self._centroids(flat, betas_C, packed_F, touches_F, first_C, frames_C)
        return made

    def _centroids(
        self,
        flat: dict[str, Array],
        betas_C: Array,
        packed_F: Array,
        touches_F: Array,
        first_C: Array,
        frames_C: Array,
    ) -> Array:
        off_mm = np.full(len(frames_C), np.nan)
        touching = [np.flatnonzero(touches_F[a : a + n]) for a, n in zip(first_C, frames_C, strict=True)]
        clip = np.array([c for c, found in enumerate(touching) if len(found)], dtype=np.int64)
        if not len(clip):
            return off_mm
        rows = np.array([first_C[c] + touching[c][len(touching[c]) // 2] for c in clip])
        with torch.no_grad():
            vertices = self.hand.vertices(*_arguments(flat, betas_C, rows, clip)).numpy()
        bits = np.unpackbits(packed_F[rows], axis=1, count=VERTICES)[..., None]
        centre = (vertices * bits).sum(1) / bits.sum(1)
        off_mm[clip] = 1000 * np.linalg.norm(centre - flat["contact_point_m"][rows], axis=-1)
        return off_mm


def _arguments(flat: dict[str, Array], betas_C: Array, rows: Array, clip: Array) -> tuple[torch.Tensor, ...]:
    return tuple(
        torch.from_numpy(np.ascontiguousarray(values))
        for values in (
            flat["global_orient"][rows],
            flat["hand_pose"][rows],
            betas_C[clip],
            flat["transl_m"][rows],
        )
    )
