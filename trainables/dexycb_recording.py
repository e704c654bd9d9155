"""What a DexYCB recording (Chao et al., CVPR 2021) has beside a hand and an object: derived phases as its text.

DexYCB labels no actions. The text of a frame names a *derived* phase and the object, from what has happened up to that
frame and nothing later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainables.recording import Recording
from trainables.signed_distance import Mesh
from trainables.source_errors import SourceError

FPS = 30.0
CONTACT_DISTANCE_M = 0.010  # first contact: the centre of a joint is nearer to the object than this
LIFT_DISTANCE_M = 0.02  # first lift: the object has moved further than this
LIFT_FRAMES = 15  # half a second after the object left its place, lifting becomes handing over
PHASES = {
    "reach": "until a joint comes within 10 mm of the object",
    "grasp": "from then until the object has moved more than 2 cm",
    "lift": f"the {LIFT_FRAMES} frames from then on",
    "hand over": "after that",
}


class DexYCBError(SourceError):
    """The source folder is not DexYCB, or lacks what all its recordings need; says which and what to do."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """A DexYCB folder that has been read."""

    layout: str  # "pack" or "official"
    digest: str  # sha256 over the files the motion came from
    recordings: list[Recording]
    meshes: dict[str, Mesh]  # by YCB name
    dropped: dict[str, str]  # recording -> why it could not be read


def phase_texts(
    frames: int, ycb_name: str, *, first_contact: int, first_lift: int
) -> tuple[list[int], list[str]]:
    """text_start and text of a recording of `frames` frames; the two moments are frames of it, -1 for never."""
    frame = np.arange(frames)
    phase = np.zeros(frames, dtype=np.int64)
    if first_contact >= 0:
        phase[frame >= first_contact] = 1
    if first_lift >= 0:
        phase[frame >= first_lift] = 2
        phase[frame >= first_lift + LIFT_FRAMES] = 3
    start = [0, *(np.flatnonzero(np.diff(phase)) + 1).tolist()]
    names = list(PHASES)
    words = ycb_name.split("_", 1)[-1].replace("_", " ")  # "006_mustard_bottle" -> "mustard bottle"
    return start, [f"{names[phase[index]]} the {words}" for index in start]


def hand_run(recording: Recording, valid: NDArray[np.bool_]) -> Recording:
    """The first unbroken stretch of frames with a hand: some recordings also lose it near their end."""
    seen = np.flatnonzero(valid)
    if not len(seen):
        return recording.cut(0, 0)
    lost = np.flatnonzero(~valid[seen[0] :])
    return recording.cut(int(seen[0]), int(seen[0] + lost[0]) if len(lost) else len(valid))


def choose(names: Sequence[str], wanted: Sequence[str] | None, where: Path) -> list[str]:
    """The wanted names in the source's order, all where none are asked for; unknown ones are refused."""
    if wanted is None:
        return list(names)
    unknown = sorted(set(wanted) - set(names))
    if unknown:
        raise DexYCBError(
            where, f"no sequence {unknown[0]!r}; there are {len(names)}, for example {names[0]!r}."
        )
    return [name for name in names if name in set(wanted)]
