"""The gallery of a published model: which test clips are shown, chosen by a rule that nobody can bend.

Clips are ranked by their mean error in the one reading of test. Shown are the best, the median and the worst, and some
drawn by a seed that follows from data and setting, so that every model of a setting shows the same ones. Of a clip that
window is shown whose error is nearest to the clip's mean.

Names and figures of these clips are in every bundle. Their motion, contact and picture are only there where nobody
else's rights are in them: the procedural world, with the stand-in hand. The true motion and the pictures of any other
data set are that data set's, and a hand posed with MANO is derived from MANO; such a gallery is drawn by who has both:
`zoo card NAME --html FILE --data CLIPS`.
"""

from __future__ import annotations

import hashlib
import math
import random
from typing import Any

import numpy as np

from trainables.clip_errors import ClipErrors
from trainables.clips import Clips
from trainables.evaluation import Evaluation
from trainables.latentact import LatentAct
from trainables.metrics import precision_recall_f1
from trainables.shown_window import show_window
from trainables.windows import Windows

SCHEMA = 1
AT_RANDOM = 3


def gallery(model: LatentAct, windows: Windows, scores: Evaluation, *, setting: str) -> dict[str, Any]:
    """What a bundle's gallery.json holds (plain values), of the test windows and their one evaluation."""
    clips, errors = windows.clips, scores.per_clip()
    embedded = is_ours(clips)
    shown = []
    for clip_id, roles in choose(errors, f"{clips.digest} {setting}").items():
        place = errors.clip_ids.index(clip_id)
        row = _typical(scores, clip_id)
        total, count = errors.totals["mpjpe_cm"][place].tolist()
        shown.append(
            {
                "roles": roles,
                "clip": clip_id,
                "group": errors.groups[place],
                "text": str(scores.text_W[row]),
                "start": int(scores.start_W[row]),
                "windows": int(count),
                "clip_mpjpe_cm": round(total / count, 4),
                "clip_contact_f1": _f1(errors, place),
                "window_mpjpe_cm": round(float(scores.metrics["mpjpe_cm"][row]), 4),
                "motion": show_window(model, windows, row).to_json() if embedded else None,
            }
        )
    return {
        "schema": SCHEMA,
        "part": "test",
        "data": clips.name,
        "data_digest": clips.digest,
        "setting": setting,
        "group": scores.group,
        "protocol": windows.protocol,
        "window": windows.length,
        "stride": windows.stride,
        "hand": clips.hand,
        "clips": len(errors.clip_ids),
        "groups": len(set(errors.groups)),
        "shown": shown,
    }


def is_ours(clips: Clips) -> bool:
    """Whether motion and pictures of these clips may travel with a model: made here, with a hand that is ours."""
    return clips.manifest.get("source", {}).get("importer") == "world" and clips.hand != "mano"


def choose(errors: ClipErrors, seed: str) -> dict[str, list[str]]:
    """Clip -> why it is shown, in the order of the page. Clips of which no error is known are never shown."""
    totals_C2 = errors.totals["mpjpe_cm"]
    known = np.flatnonzero(totals_C2[:, 1] > 0)
    if not len(known):
        return {}
    ranked = sorted(known.tolist(), key=lambda c: (totals_C2[c, 0] / totals_C2[c, 1], errors.clip_ids[c]))
    places = {"best": ranked[0], "median": ranked[(len(ranked) - 1) // 2], "worst": ranked[-1]}
    chosen: dict[str, list[str]] = {}
    for role, place in places.items():
        chosen.setdefault(errors.clip_ids[place], []).append(role)
    left = sorted(errors.clip_ids[c] for c in ranked if errors.clip_ids[c] not in chosen)
    draw = random.Random(int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8], "big"))
    chosen |= {clip_id: ["random"] for clip_id in draw.sample(left, min(AT_RANDOM, len(left)))}
    return chosen


def _typical(scores: Evaluation, clip_id: str) -> int:
    """The clip's window whose error is nearest to the mean of its windows; of equals the first."""
    errors_W = scores.metrics["mpjpe_cm"]
    mine = np.flatnonzero((scores.clip_W == scores.clip_ids.index(clip_id)) & np.isfinite(errors_W))
    return int(mine[np.abs(errors_W[mine] - errors_W[mine].mean()).argmin()])


def _f1(errors: ClipErrors, place: int) -> float | None:
    f1 = precision_recall_f1(*errors.counts_C3[place].tolist())[2]
    return round(f1, 4) if math.isfinite(f1) else None
