"""What an import reports of the clips that recordings became: fit of the hand, contact, camera, pictures."""

from __future__ import annotations

from typing import Any

import numpy as np

from trainables.import_run import Made, Summed, median_p95
from trainables.recorded_clips import Fitted


def tally_fit(made: Made, fitted: Fitted) -> None:
    """Add what the report says about one clip to what its unit has made."""
    joint_mm, bone_mm = fitted.errors_mm()
    made.sample("joint_error_mm", joint_mm)
    made.sample("bone_length_change_mm", bone_mm)
    clip = fitted.clip
    known = np.asarray(clip.contact_known)
    made.counts["clips with the source's own hand parameters"] += fitted.kept_parameters
    made.counts["frames"] += clip.frames
    made.counts["frames with known contact"] += int(known.sum())
    made.counts["frames in contact"] += int((known & np.asarray(clip.contact_bits).any(1)).sum())
    made.counts["frames with unknown camera"] += int(np.isnan(clip.camera_to_first).any((1, 2)).sum())


def fit_report(summed: Summed) -> dict[str, Any]:
    """Figures for the manifest, rounded; shares of contact are of the frames whose contact is known."""
    counts = summed.counts
    known = counts["frames with known contact"]
    return {
        "clips_with_their_own_hand_parameters": counts["clips with the source's own hand parameters"],
        "hand_fit": {
            name: median_p95(summed.samples[name])
            for name in ("joint_error_mm", "bone_length_change_mm")
            if name in summed.samples
        },
        "share_of_frames_with_known_contact": round(known / max(counts["frames"], 1), 3),
        "share_of_those_in_contact": round(counts["frames in contact"] / max(known, 1), 3),
        "share_of_frames_with_unknown_camera": round(
            counts["frames with unknown camera"] / max(counts["frames"], 1), 3
        ),
    }
