"""What an import of DexYCB reports: fit of the hand, agreement of its contacts with the joints, windows by phase."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from trainables.dexycb_recording import CONTACT_DISTANCE_M, PHASES
from trainables.hand import Hand
from trainables.import_run import Made, Summed, median_p95
from trainables.recorded_clips import Fitted

NEAR_JOINT_M = 0.015  # skin over a joint's centre (up to 10 mm) and the contact radius (5 mm)
_OUTCOMES = ("hits", "false alarms", "misses")


def tally(made: Made, hand: Hand, fitted: Fitted, *, window: int) -> None:
    """Add what the report says about one clip to what its unit has made."""
    joint_mm, bone_mm = fitted.errors_mm()
    made.sample("joint_error_mm", joint_mm)
    made.sample("bone_length_change_mm", bone_mm)
    recording, clip = fitted.recording, fitted.clip
    if recording.joint_distance_m is not None:
        _agreement(made, hand, clip.contact_bits, recording.joint_distance_m)
    touching = np.any(clip.contact_bits, axis=1)
    starts = len(recording) - window + 1
    made.counts["frames"] += len(recording)
    made.counts["windows"] += starts
    made.counts["frames with contact"] += int(touching.sum())
    made.counts["windows that start in contact"] += int(touching[:starts].sum())
    edges = [*clip.text_start, len(recording)]
    for text, begin, end in zip(clip.text, edges[:-1], edges[1:], strict=True):
        phase = text.split(" the ")[0]
        made.counts[f"frames: {phase}"] += end - begin
        made.counts[f"windows: {phase}"] += max(0, min(end, starts) - begin)


def report_of(summed: Summed) -> dict[str, Any]:
    """Figures for the manifest, rounded."""
    counts = summed.counts
    return {
        "mirrored": counts["left hands mirrored"],
        "cut_to_their_longest_part_without_a_jump": counts["cut to the longest part without a jump"],
        "inverse_kinematics": {
            name: median_p95(summed.samples[name]) for name in ("joint_error_mm", "bone_length_change_mm")
        },
        "contact_agreement": {
            "near_joint_m": NEAR_JOINT_M,
            **_precision_recall(counts, "joint"),
            **_precision_recall(counts, "frame"),
        },
        "share_of_frames_with_contact": round(counts["frames with contact"] / counts["frames"], 3),
        "share_of_windows_that_start_in_contact": round(
            counts["windows that start in contact"] / counts["windows"], 3
        ),
        "frames_by_phase": {phase: counts[f"frames: {phase}"] for phase in PHASES},
        "windows_by_phase_at_their_start": {phase: counts[f"windows: {phase}"] for phase in PHASES},
    }


def joint_segments(hand: Hand) -> np.ndarray:
    """Which joint (0..20, OpenPose order) each of the 778 vertices is nearest to in the rest pose, (778,)."""
    zero = torch.zeros(1, 48)
    with torch.no_grad():
        arguments = (zero[:, :3], zero[:, 3:], zero[:, :10], zero[:, :3])
        distance = torch.cdist(hand.vertices(*arguments)[0], hand.joints(*arguments)[0])
    return distance.argmin(1).numpy()


def _agreement(
    made: Made, hand: Hand, contact: NDArray[np.bool_], joint_distance_m: NDArray[np.float64]
) -> None:
    """Counts contact (T, 778) against measured distances of joints (T, 21) to the object, by joint and by frame.

    A joint is predicted to touch where some contact vertex belongs to its segment, and taken to touch truly where
    its centre is nearer to the object than NEAR_JOINT_M. A frame is predicted to touch where any vertex does, and
    truly does where any joint centre is nearer than CONTACT_DISTANCE_M.
    """
    member = np.eye(21, dtype=np.float32)[joint_segments(hand)]  # (778, 21)
    for name, predicted, true in (
        ("joint", contact.astype(np.float32) @ member > 0, joint_distance_m < NEAR_JOINT_M),
        ("frame", np.any(contact, axis=1), np.any(joint_distance_m < CONTACT_DISTANCE_M, axis=1)),
    ):
        outcomes = (predicted & true, predicted & ~true, ~predicted & true)
        for outcome, where in zip(_OUTCOMES, outcomes, strict=True):
            made.counts[f"{name} {outcome}"] += int(where.sum())


def _precision_recall(counts: Any, name: str) -> dict[str, float]:
    """Three decimals; 0 where nothing was predicted or nothing was there."""
    hits, false, missed = (counts[f"{name} {outcome}"] for outcome in _OUTCOMES)
    return {
        f"{name}_precision": round(hits / max(hits + false, 1), 3),
        f"{name}_recall": round(hits / max(hits + missed, 1), 3),
    }
