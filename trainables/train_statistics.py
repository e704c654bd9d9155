"""Statistics of a setting's train part: what a model may know about the scale of its data."""

from typing import TYPE_CHECKING, Any

import numpy as np

from trainables.splits import PARTS, part_clips, setting_parts

if TYPE_CHECKING:
    from trainables.clip_set import Clips

_DIGITS = 7  # 0.1 micrometre; hides the last bits of a sum, so that a manifest is equal on every machine


def train_statistics(clips: "Clips", setting: str) -> dict[str, Any]:
    """Statistics over all train frames of `setting` (or of a fold of it), at the windows' frame rate.

    Nothing of val, gate and test enters but how many clips, frames and groups each has (`counts`).

    transl_mean_m, transl_std_m: (3,) of the hand's translation, own camera, metres.
    contact_low_m, contact_high_m: (3,) corners of the box of all contact points, own camera, metres, or None.
    contact_frames_share: frames with contact among the frames whose contact is known, None without any.
    """
    offsets = clips.offsets_C1.cpu().numpy()
    lengths = np.diff(offsets)
    frame_clip = np.repeat(np.arange(len(lengths)), lengths)
    train = part_clips(clips, setting, "train").cpu().numpy()
    inside = np.isin(frame_clip, train)
    transl = clips.transl_F3.cpu().numpy()[inside].astype(np.float64)
    point_known = clips.point_known_F.cpu().numpy()[inside]
    points = clips.point_F3.cpu().numpy()[inside][point_known].astype(np.float64)
    known = int(clips.contact_known_F.cpu().numpy()[inside].sum())
    groups = setting_parts(clips, setting)
    counts = {}
    for part in PARTS:
        rows = part_clips(clips, setting, part).cpu().numpy() if groups[part] else np.zeros(0, dtype=np.int64)
        counts[part] = {"clips": len(rows), "frames": int(lengths[rows].sum()), "groups": len(groups[part])}
    return {
        "transl_mean_m": _rounded(transl.mean(0)),
        "transl_std_m": _rounded(transl.std(0)),
        "contact_low_m": _rounded(points.min(0)) if len(points) else None,
        "contact_high_m": _rounded(points.max(0)) if len(points) else None,
        "contact_frames_share": round(float(point_known.sum()) / known, _DIGITS) if known else None,
        "counts": counts,
    }


def _rounded(values: np.ndarray) -> list[float]:
    return [round(float(value), _DIGITS) for value in values]
