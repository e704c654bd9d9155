"""The losses of the three stages. Every mean is over what is known, counted over the whole global batch."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from trainables.collective import global_sum
from trainables.hand import Hand
from trainables.motion import Pose, joints_first, known_channels, vertices_first
from trainables.windows import Batch

CONTACT_POSITIVE_WEIGHT = 5.0
HAND_CHANNELS = 64  # the channels after these describe the camera


def known_mean(loss: Tensor, known: Tensor) -> Tensor:
    """Mean of `loss` where `known` (broadcast from the left), 0 where nothing is known.

    The release divides by all elements, known or not; here masked elements leave the denominator too.
    """
    weight = known.to(loss.dtype).expand_as(loss)
    return (loss * weight).sum() / global_sum(weight.sum()).clamp_min(1.0)


def reconstruction_loss(motion_BTC: Tensor, target_BTC: Tensor, batch: Batch) -> Tensor:
    """Smooth L1 on normalised motion vectors: over all channels, and half of it again for hand and camera each."""
    loss_BTC = F.smooth_l1_loss(motion_BTC, target_BTC, reduction="none")
    known_BTC = known_channels(batch.camera_known_BT)
    hand, camera = loss_BTC[..., :HAND_CHANNELS], loss_BTC[..., HAND_CHANNELS:]
    split = known_mean(hand, known_BTC[..., :HAND_CHANNELS]) + known_mean(
        camera, known_BTC[..., HAND_CHANNELS:]
    )
    return known_mean(loss_BTC, known_BTC) + 0.5 * split


def contact_loss(logits_BTV: Tensor, batch: Batch) -> Tensor:
    """Binary cross-entropy on the contact map, contacts weighted five times."""
    weight = torch.tensor(CONTACT_POSITIVE_WEIGHT, device=logits_BTV.device, dtype=logits_BTV.dtype)
    target_BTV = batch.contact_BTV.to(logits_BTV.dtype)
    loss_BTV = F.binary_cross_entropy_with_logits(logits_BTV, target_BTV, pos_weight=weight, reduction="none")
    return known_mean(loss_BTV, batch.contact_known_BT[..., None])


def joint_loss(pose: Pose, batch: Batch, hand: Hand, frames: slice) -> Tensor:
    """Mean distance of joints in the window's first camera over `frames`, in units of 5 cm: the headline error."""
    part = pose[frames]
    return _distance(joints_first(hand, part), batch.joints_ref_BTJ3[:, frames], batch, frames)


def vertex_loss(pose: Pose, target: Pose, batch: Batch, hand: Hand, frames: slice) -> Tensor:
    """The same over every fourth of the 778 vertices; the true ones are the hand model's of the true pose."""
    with torch.no_grad():
        true_BTV3 = vertices_first(hand, target[frames])[:, :, ::4]
    return _distance(vertices_first(hand, pose[frames])[:, :, ::4], true_BTV3, batch, frames)


def _distance(points_BTN3: Tensor, true_BTN3: Tensor, batch: Batch, frames: slice) -> Tensor:
    distance_BTN = (points_BTN3 - true_BTN3).square().sum(-1).add(1e-8).sqrt()
    return known_mean(distance_BTN, batch.camera_known_BT[:, frames, None]) / 0.05


def code_loss(logits_BTQK: Tensor, index_BTQ: Tensor) -> Tensor:
    """Cross-entropy of code indices, mean over frames and quantizers."""
    loss = F.cross_entropy(logits_BTQK.flatten(0, 2), index_BTQ.flatten(), reduction="none")
    return known_mean(loss, torch.ones_like(loss))
