"""Where LatentAct's published annotation files lie, and the orders in which its lists may count their clips.

    <downloads>/holo_contact_dir/contact_<start>_<end>_fix.pkl    motion and contact of HoloAssist's clips
    <downloads>/holo_video_feats/*feat*.pkl                       features of their frames and texts
    <downloads>/holo_video_inpaint_feats/*feat*.pkl               the same of frames without the hand
    <downloads>/arctic_contact_dir/arctic_{train,val}_r.pkl       motion and contact of ARCTIC's clips
    <downloads>/arctic_video_feats/arctic_feats_{train,val}.pkl

The layout is that which the loaders of the authors' release read (github.com/ap229997/latentact, commit 28511e2).
Those concatenate the contact files in the order of an unsorted directory listing, and settings.json counts clips
through it: which order that was on the authors' machine is told nowhere.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trainables.source_errors import MissingFile, WrongValue

PARTS = ("holoassist", "arctic")
_CONTACT = {"holoassist": "holo_contact_dir/contact_*_fix.pkl", "arctic": "arctic_contact_dir/arctic_*_r.pkl"}
_IMAGES = {"holoassist": "holo_video_feats/*feat*.pkl", "arctic": "arctic_video_feats/arctic_feats_*.pkl"}
_HAND_FREE = {"holoassist": "holo_video_inpaint_feats/*feat*.pkl"}


@dataclass(frozen=True, kw_only=True)
class ReleaseFiles:
    """The files of one part of the release, each kind in the lexicographic order of its names."""

    part: str
    folder: Path
    contact: list[Path]
    images: list[Path]
    hand_free: list[Path]
    settings: Path | None  # settings.json beside them, where it is there


def find_release(source: Path, part: str) -> ReleaseFiles:
    """The files of `part` in SOURCE, in its folder `downloads` or in another folder of it. Raises MissingFile."""
    if part not in PARTS:
        raise WrongValue(source, f"has no part {part!r}; parts are {', '.join(PARTS)}.")
    if not source.is_dir():
        raise MissingFile(source, "no such folder; give the one into which the release was downloaded.")
    inner = sorted(path for path in source.iterdir() if path.is_dir())
    for folder in (source, source / "downloads", *inner):
        contact = sorted(folder.glob(_CONTACT[part]))
        if contact:
            break
    else:
        raise MissingFile(
            source, f"holds no {_CONTACT[part]}; point at the folder with the release's *_contact_dir."
        )
    places = (folder / "settings.json", source / "settings.json", source / "data" / "settings.json")
    return ReleaseFiles(
        part=part,
        folder=folder,
        contact=contact,
        images=sorted(folder.glob(_IMAGES[part])),
        hand_free=sorted(folder.glob(_HAND_FREE[part])) if part in _HAND_FREE else [],
        settings=next((place for place in places if place.is_file()), None),
    )


def sorted_orders(names: Sequence[str]) -> dict[str, list[int]]:
    """Orders of files by name: lexicographic (as `sorted` and `ls` do) and by the numbers in them; as indices."""
    indices = range(len(names))
    return {
        "lexicographic": sorted(indices, key=lambda i: names[i]),
        "numeric": sorted(indices, key=lambda i: ([int(n) for n in re.findall(r"\d+", names[i])], names[i])),
    }
