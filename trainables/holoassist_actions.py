"""Which labelled actions become clips: the selection of the LatentAct paper, and why each other action is left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from trainables.holoassist_labels import UNREADABLE, FineAction, LabelledVideo, Labels

# The paper's 19 verbs and the nouns it leaves out: parts too small to see contact on. Its list says
# "hexagonal_cap_nut" where the labels say "hexagon_cap_nut"; kept as it is, so that the selection is the paper's.
VERBS = frozenset(
    ("grab", "place", "lift", "pull", "close", "open", "screw", "press", "turn", "mix/stir", "rotate",
     "align", "hold", "slide", "push", "flip", "touch", "load", "lock")
)  # fmt: skip
LEFT_OUT_NOUNS = frozenset(
    ("hex_socket_head", "screw", "hexagonal_wrench", "hexagonal_cap_nut", "bolt", "washer", "hex_nut")
)
MIN_ACTION_S = 1.0  # a window lasts a second

OTHER_VERB, OTHER_NOUN = "a verb that is not selected", "a noun that is not selected"
WRONG, NO_ADVERBIAL = "a wrong action", "no adverbial in the label"
SHORT, TWICE = f"shorter than {MIN_ACTION_S:g} s", "a second label of the same frames"


class Action(NamedTuple):
    """A selected action: frames first to last of the video, both included."""

    first: int
    last: int
    verb: str
    noun: str
    adverbial: str

    @property
    def text(self) -> str:
        return f"{self.verb} {self.noun}".replace("_", " ")


def why_not(action: FineAction) -> str | None:
    """Why the paper does not select a fine action, None where it does. Length plays no part."""
    if "Correct" not in action.correctness:  # "Wrong Action, corrected by ..." has a small c
        return WRONG
    if action.adverbial is None:
        return NO_ADVERBIAL
    if action.verb not in VERBS:
        return OTHER_VERB
    return OTHER_NOUN if action.noun in LEFT_OUT_NOUNS else None


def selected(video: LabelledVideo) -> list[FineAction]:
    """The paper's selection, of any length, in the order of the labels."""
    return [action for action in video.actions if why_not(action) is None]


def left_out(labels: Labels) -> Counter[str]:
    """How many fine actions of the file are left out, by reason."""
    reasons = Counter({UNREADABLE: labels.unreadable_actions.total()})
    for video in labels.videos:
        reasons.update(reason for action in video.actions if (reason := why_not(action)) is not None)
    return +reasons


def action_frames(actions: Sequence[FineAction], fps: float) -> tuple[list[Action], Counter[str]]:
    """Selected actions as frames of a video of `fps`, frame = int(seconds * fps), and how many are left out, by reason."""
    taken: dict[tuple[int, int], Action] = {}
    lost: Counter[str] = Counter()
    for action in actions:
        if action.start_s < 0 or action.end_s - action.start_s < MIN_ACTION_S:
            lost[SHORT] += 1
            continue
        frames = int(action.start_s * fps), int(action.end_s * fps)
        if frames in taken:
            lost[TWICE] += 1
            continue
        taken[frames] = Action(*frames, action.verb, action.noun, action.adverbial or "none")
    return list(taken.values()), lost
