"""What a clip of LatentAct's published annotations belongs to: object, action, task, scene, subject.

Its text is "verb noun", its scene the recording. HoloAssist writes "none" where an action has no noun. ARCTIC's
recordings are named <subject>/<recording>, such as s01/box_grab_01.

What the authors' list `tasks` holds out is no recording's task: its parts change 6,765 times over the 21,274 clips, which
lie recording by recording. It is the pair of verb and noun, so that is a clip's task, unless a label file tells
recordings' tasks and these fit the list better.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from trainables.clip_format import GROUPS
from trainables.holoassist_labels import LabelledVideo
from trainables.release_pickles import ClipEntry

_NO_NOUN = "none"
_ARCTIC_SUBJECT = re.compile(r"(s\d\d)[/_]")


def groups_of(entry: ClipEntry, part: str, labels: Mapping[str, LabelledVideo] | None) -> dict[str, Any]:
    """A value for each of GROUPS, None where it is not known. `labels`: by recording, where these tell the task."""
    if entry.key is None or entry.text is None:
        return dict.fromkeys(GROUPS)
    video = entry.key[0]
    verb, _, noun = " ".join(entry.text.split()).partition(" ")
    subject = _ARCTIC_SUBJECT.match(video) if part == "arctic" else None
    task: str | None = " ".join(entry.text.split())
    if labels is not None:
        task = labels[video].task if video in labels else None
    return {
        "object": noun if noun not in ("", _NO_NOUN) else None,
        "action": verb,
        "task": task,
        "scene": video,
        "subject": subject[1] if subject else None,
    }
