"""What an import of HoloAssist reports: the way from labels to clips, every action accounted for, and what hands are worth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from trainables.holoassist_actions import Action, left_out
from trainables.holoassist_clips import Runs
from trainables.holoassist_labels import Labels
from trainables.import_run import Made, Summed, median_p95
from trainables.inverse_kinematics import fit_errors_mm

_LOST = "lost: "


def tally(
    made: Made, runs: Runs, contacts: dict[str, np.ndarray], actions: Sequence[Action], lost: Counter[str]
) -> None:
    """Add what the report says about one recording to what its unit has made. `lost`: actions, by reason."""
    made.counts.update({f"{_LOST}{reason}": count for reason, count in lost.items()})
    made.counts["selected"] += len(runs.runs) + lost.total()
    made.counts["frames"] += len(runs.arrays["joints_m"])
    made.counts["frames filled in"] += int(runs.arrays["filled"].sum())
    made.counts["frames with known contact"] += int(contacts["known"].sum())
    made.counts["frames with contact"] += int((contacts["bits"].any(1) & contacts["known"]).sum())
    made.counts["hands fitted"] += int((~runs.arrays["kept_parameters"]).sum())
    cut = [
        run
        for run in runs.runs
        if run.end - run.begin < actions[run.action].last - actions[run.action].first + 1
    ]
    made.counts["cut to the longest unbroken part"] += len(cut)
    made.counts["labelled as the left hand's"] += sum(
        "left" in actions[run.action].adverbial for run in runs.runs
    )
    if len(runs.arrays["joints_m"]):
        joint, _ = fit_errors_mm(*(torch.from_numpy(runs.arrays[k]) for k in ("fitted_joints_m", "joints_m")))
        made.sample("joint_error_mm", joint.numpy())
        made.sample("fps", np.array([run.fps for run in runs.runs]))


def report_of(labels: Labels, folders: int, summed: Summed) -> dict[str, Any]:
    """Figures for the manifest. folders: recordings that lie in the source folder, labelled or not."""
    counts = summed.counts
    frames = max(counts["frames"], 1)
    report: dict[str, Any] = {
        "labels": {
            "recordings": len(labels.videos),
            "recording_folders": folders,
            "fine_actions": labels.fine_actions,
            "not_selected": dict(left_out(labels).most_common()),
        },
        "actions": {
            "selected_in_these_recordings": counts["selected"],
            "clips": len(summed.frames),
            "lost": {
                name.removeprefix(_LOST): n for name, n in counts.most_common() if name.startswith(_LOST)
            },
            "cut_to_the_longest_unbroken_part": counts["cut to the longest unbroken part"],
            "labelled_as_the_left_hands": counts["labelled as the left hand's"],
        },
        "frames": counts["frames"],
        "share_of_frames_filled_in": round(counts["frames filled in"] / frames, 4),
        "share_of_frames_with_known_contact": round(counts["frames with known contact"] / frames, 3),
        "share_of_frames_with_contact": round(counts["frames with contact"] / frames, 3),
        "recordings_without_masks": counts["recordings without masks"],
        "clips_with_inverse_kinematics": counts["hands fitted"],
    }
    if len(summed.samples.get("joint_error_mm", ())):
        report["joint_error_mm"] = median_p95(summed.samples["joint_error_mm"])
        report["lowest_fps"] = round(float(summed.samples["fps"].min()), 2)
    return report
