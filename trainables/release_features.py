"""Frame features of LatentAct's published clips: where they lie, and which of their rows may be trusted.

Every frame from an action's first to its last has a row, while the motion has only the frames in which a hand was found,
and nothing says which those are. The rows are used where both have one entry a frame; else they are left out, not
guessed. Rows of the hand-free folder that equal those of the original frames are of frames that were not inpainted (the
authors fall back to the original), and still show the hand: they are left out too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainables.plain_pickle import read_pickle_plainly
from trainables.release_index import TEXT_WIDTH, ContactIndex, FeatureIndex
from trainables.release_pickles import ClipKey, feature_entries
from trainables.source_errors import SourceError
from trainables.source_fields import field as take
from trainables.source_fields import numbers

IMAGE_WIDTH = 768
IMAGE = {"encoder": "deit", "width": IMAGE_WIDTH}
TEXT = {"encoder": "clip", "width": TEXT_WIDTH}
_SAME_PICTURE = 1e-3  # of features of order one; two pictures differ by far more

Rows = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class FeaturePlan:
    """Which file holds a clip's features, and one text feature for every text (none at all where one is missing)."""

    images: dict[ClipKey, Path]
    hand_free: dict[ClipKey, Path]
    texts: dict[str, Rows]  # (512,)
    missing_texts: int = 0

    @property
    def encoders(self) -> dict[str, dict[str, Any]]:
        """What the manifest says of them."""
        said = {"image": IMAGE} if self.images or self.hand_free else {}
        return said | ({"text": TEXT} if self.texts else {})


@dataclass(frozen=True, kw_only=True)
class FeatureRows:
    """Features (frames, 768) by clip, and what is wrong with those that cannot be used."""

    rows: dict[ClipKey, Rows] = field(default_factory=dict)
    damaged: dict[ClipKey, str] = field(default_factory=dict)


def plan_features(
    contacts: Iterable[ContactIndex], images: Sequence[FeatureIndex], hand_free: Sequence[FeatureIndex]
) -> FeaturePlan:
    """Joins clips with feature files; where two hold the same clip the first counts."""
    wanted = {entry.key: entry.text for index in contacts for entry in index.clips if entry.key is not None}
    texts: dict[str, Rows] = {}
    for index in images:
        for key, row in index.clips.items():
            name = wanted.get(key)
            if name is not None and row >= 0:
                texts.setdefault(name, index.text_XF[row])
    # A reader gives every text a feature or none: with one missing, the encoder must make them all.
    missing = {name for name in wanted.values() if name is not None} - texts.keys()
    return FeaturePlan(
        images=_places(images, wanted.keys()),
        hand_free=_places(hand_free, wanted.keys()),
        texts={} if missing else texts,
        missing_texts=len(missing),
    )


def _places(indices: Sequence[FeatureIndex], wanted: Iterable[ClipKey | None]) -> dict[ClipKey, Path]:
    keys = set(wanted)
    return {key: index.path for index in reversed(indices) for key in index.clips if key in keys}


def read_rows(places: Mapping[ClipKey, Path]) -> FeatureRows:
    """The features of clips from the files that hold them, one file in memory at a time."""
    read = FeatureRows()
    for path in sorted(set(places.values())):
        try:
            entries = feature_entries(read_pickle_plainly(path), path)
        except SourceError as error:
            read.damaged.update({key: str(error) for key, place in places.items() if place == path})
            continue
        for key, content in entries:
            if places.get(key) != path:
                continue
            name = f"tf_feat of {key[0]} {key[1]}-{key[2]}"
            try:
                rows = numbers(take(content, "tf_feat", path), name, path, shape=(None, IMAGE_WIDTH))
            except SourceError as error:
                read.damaged[key] = str(error)
            else:
                read.rows[key] = rows.astype(np.float32)
    return read


def aligned(rows: Rows | None, key: ClipKey, frames: int) -> Rows | None:
    """The rows (frames, 768) where each belongs to a frame of the motion, else None."""
    span = key[2] - key[1] + 1
    return rows if rows is not None and len(rows) == span == frames else None


def really_hand_free(hand_free: Rows, images: Rows | None) -> NDArray[np.bool_]:
    """Which rows (frames,) are of another picture than the original frame."""
    if images is None:
        return np.ones(len(hand_free), dtype=bool)
    return np.abs(hand_free - images).max(1) > _SAME_PICTURE
