"""Predictors that need no training data: a hand that stays as it is. A model that does not beat them does not transfer.

All of them keep hand, camera and contact of one frame over the whole window. They differ in what that frame is:
`mean_pose`, the mean of the model's own training windows, put on the given contact point, and `own_first_frame`, the
first frame that the model predicts, know what the model knows. `true_first_frame` is told the truth at the window's
beginning, which no model here is: an oracle.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from trainables.evaluate import Predict
from trainables.latentact import LatentAct
from trainables.motion import CHANNELS, joints_first, to_own
from trainables.windows import Batch

# Name -> what it is, for a table's reader.
STILL_HANDS = {
    "mean_pose": "the mean of the model's training windows, put on the given contact point; predicts no contact",
    "own_first_frame": "what the model predicts for the first frame",
    "true_first_frame": "told the true hand and contact at the window's beginning: an oracle, and no rival",
}


@dataclass(frozen=True, kw_only=True)
class StillForecast:
    """What is scored, B windows; metres, `ref` in the window's first camera, else in each frame's own."""

    joints_ref_BTJ3: Tensor
    joints_BTJ3: Tensor
    transl_BT3: Tensor
    camera_rot_BT33: Tensor
    camera_transl_BT3: Tensor
    contact_logits_BTV: Tensor


def still_hand(name: str, model: LatentAct) -> Predict:
    """The predictor of that name, one of STILL_HANDS."""

    def mean_pose(truth: Batch) -> StillForecast:
        anchor_B13 = model.motion.anchor(truth)
        pose = model.motion.decode(anchor_B13.new_zeros(len(truth), 1, CHANNELS), anchor_B13)
        joints_B1J3 = joints_first(model.hand, pose)
        _, transl_B13 = to_own(pose, model.hand)
        first = {
            "joints_ref_BTJ3": joints_B1J3,
            # Row vectors times R = R^T times column vectors: back into the frame's own camera.
            "joints_BTJ3": (joints_B1J3 - pose.camera_transl_BT3[:, :, None]) @ pose.camera_rot_BT33,
            "transl_BT3": transl_B13,
            "camera_rot_BT33": pose.camera_rot_BT33,
            "camera_transl_BT3": pose.camera_transl_BT3,
            "contact_logits_BTV": torch.full_like(truth.contact_BTV[:, :1], -torch.inf),
        }
        return _still(first, truth)

    def own_first_frame(truth: Batch) -> StillForecast:
        return _still(vars(model.forecast(truth)), truth)

    def true_first_frame(truth: Batch) -> StillForecast:
        touched_BTV = truth.contact_BTV * truth.contact_known_BT[..., None]
        return _still(vars(truth) | {"contact_logits_BTV": torch.logit(touched_BTV)}, truth)

    return {
        "mean_pose": mean_pose,
        "own_first_frame": own_first_frame,
        "true_first_frame": true_first_frame,
    }[name]


def _still(first: dict[str, Any], truth: Batch) -> StillForecast:
    """The first frame of each of the fields for as long as the window lasts."""
    frames = truth.transl_BT3.shape[1]
    fields = {name: first[name][:, :1] for name in StillForecast.__dataclass_fields__}
    return StillForecast(**{name: v.expand(-1, frames, *v.shape[2:]) for name, v in fields.items()})
