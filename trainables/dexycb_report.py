"""What an import of DexYCB reports: fit of the hand, agreement of its contacts with the joints, counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from trainables.clips import Clip
from trainables.dexycb_recording import CONTACT_DISTANCE_M, Recording
from trainables.hand import Hand
from trainables.inverse_kinematics import fit_errors_mm

NEAR_JOINT_M = 0.015  # skin over a joint's centre (up to 10 mm) and the contact radius (5 mm)


class Tally:
    """What the report says about the clips, collected one clip at a time."""

    def __init__(self, hand: Hand, phases: Sequence[str], window: int) -> None:
        self._phases, self._window = phases, window
        self._joint_mm: list[np.ndarray] = []
        self._bone_mm: list[np.ndarray] = []
        self._agreement = Agreement(hand)
        self._frames: Counter[str] = Counter()
        self._windows: Counter[str] = Counter()
        self._touching_frames = self._touching_windows = 0

    def add(self, recording: Recording, clip: Clip, fitted_TJ3: torch.Tensor) -> None:
        """One clip, the recording it was made of, and the joints of the fitted hand (T, 21, 3) in metres."""
        joint, bone = fit_errors_mm(fitted_TJ3, torch.from_numpy(recording.joints_m).float())
        self._joint_mm.append(joint.numpy().ravel())
        self._bone_mm.append(bone.numpy().ravel())
        self._agreement.add(clip.contact_bits, recording.joint_distance_m)
        touching = np.any(clip.contact_bits, axis=1)
        self._touching_frames += int(touching.sum())
        self._touching_windows += int(touching[: len(recording) - self._window + 1].sum())
        edges = [*clip.text_start, len(recording)]
        for text, begin, end in zip(clip.text, edges[:-1], edges[1:], strict=True):
            phase = text.split(" the ")[0]
            self._frames[phase] += end - begin
            self._windows[phase] += max(0, min(end, len(recording) - self._window + 1) - begin)

    def summary(self) -> dict[str, Any]:
        """Figures for the manifest, rounded."""
        joint, bone = np.concatenate(self._joint_mm), np.concatenate(self._bone_mm)
        frames, windows = self._frames.total(), self._windows.total()
        return {
            "inverse_kinematics": {
                "joint_error_mm": _median_p95(joint),
                "bone_length_change_mm": _median_p95(bone),
            },
            "contact_agreement": self._agreement.summary(),
            "share_of_frames_with_contact": round(self._touching_frames / frames, 3),
            "share_of_windows_that_start_in_contact": round(self._touching_windows / windows, 3),
            "frames_by_phase": {phase: self._frames[phase] for phase in self._phases},
            "windows_by_phase_at_their_start": {phase: self._windows[phase] for phase in self._phases},
        }


def _median_p95(values: np.ndarray) -> dict[str, float]:
    return {"median": round(float(np.median(values)), 2), "p95": round(float(np.percentile(values, 95)), 2)}


def joint_segments(hand: Hand) -> np.ndarray:
    """Which joint (0..20, OpenPose order) each of the 778 vertices is nearest to in the rest pose, (778,)."""
    zero = torch.zeros(1, 48)
    with torch.no_grad():
        arguments = (zero[:, :3], zero[:, 3:], zero[:, :10], zero[:, :3])
        distance = torch.cdist(hand.vertices(*arguments)[0], hand.joints(*arguments)[0])
    return distance.argmin(1).numpy()


class Agreement:
    """Counts of contact against the pack's joint-to-object distances, pooled over joints and over frames.

    A joint is predicted to touch where some contact vertex belongs to its segment, and taken to touch truly where
    its centre is nearer to the object than NEAR_JOINT_M. A frame is predicted to touch where any vertex does, and
    truly does where any joint centre is nearer than CONTACT_DISTANCE_M.
    """

    def __init__(self, hand: Hand) -> None:
        self._member = np.eye(21, dtype=np.float32)[joint_segments(hand)]  # (778, 21)
        self._joint = np.zeros(3, dtype=np.int64)  # hits, false alarms, misses
        self._frame = np.zeros(3, dtype=np.int64)

    def add(self, contact: np.ndarray, joint_distance_m: np.ndarray) -> None:
        """One recording: contact (T, 778) bool, joint_distance_m (T, 21)."""
        self._joint += _count(contact.astype(np.float32) @ self._member > 0, joint_distance_m < NEAR_JOINT_M)
        self._frame += _count(np.any(contact, axis=1), np.any(joint_distance_m < CONTACT_DISTANCE_M, axis=1))

    def summary(self) -> dict[str, float]:
        """Precision and recall, three decimals; 0 where nothing was predicted or nothing was there."""
        joint, frame = _precision_recall(self._joint), _precision_recall(self._frame)
        return {
            "near_joint_m": NEAR_JOINT_M,
            "joint_precision": joint[0],
            "joint_recall": joint[1],
            "frame_precision": frame[0],
            "frame_recall": frame[1],
        }


def _count(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    return np.array([(predicted & true).sum(), (predicted & ~true).sum(), (~predicted & true).sum()])


def _precision_recall(counts: np.ndarray) -> tuple[float, float]:
    hits, false, missed = (int(count) for count in counts)
    return round(hits / max(hits + false, 1), 3), round(hits / max(hits + missed, 1), 3)


def report_lines(report: dict[str, Any]) -> list[str]:
    """The report in a few lines for people."""
    fit, agreement = report["inverse_kinematics"], report["contact_agreement"]
    cut, short = report["cut_to_their_longest_part_without_a_jump"], report["dropped_too_short"]
    return [
        (
            f"{report['clips']} of {report['recordings']} recordings kept, {report['mirrored']} left hands mirrored; "
            f"{len(cut)} cut to their longest part without a jump {cut}; {len(short)} dropped as too short {short}"
        ),
        (
            f"joint error {fit['joint_error_mm']['median']} mm median, {fit['joint_error_mm']['p95']} mm 95th percentile; "
            f"bone length change {fit['bone_length_change_mm']['median']} mm, {fit['bone_length_change_mm']['p95']} mm"
        ),
        (
            f"contact against joint distances: by joint precision {agreement['joint_precision']}, recall "
            f"{agreement['joint_recall']}; by frame {agreement['frame_precision']}, {agreement['frame_recall']}"
        ),
        f"contact in {report['share_of_frames_with_contact']:.1%} of frames and at the start of "
        f"{report['share_of_windows_that_start_in_contact']:.1%} of windows; windows by phase: "
        + ", ".join(f"{phase} {count}" for phase, count in report["windows_by_phase_at_their_start"].items()),
    ]
