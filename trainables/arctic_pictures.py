"""ARCTIC's egocentric pictures: view 0 of cropped_images/ or, without those, of the full images/.

    cropped_images/<subject>/<sequence>/0/00011.jpg   840 x 600: view 0 is only made smaller, not cropped
    images/<subject>/<sequence>/0/00011.jpg           2800 x 2000

The number of a picture is that of the motion's frame plus the subject's `ioi_offset` in meta/misc.json (ARCTIC's own
src/datasets/arctic_dataset.py subtracts it). Pictures keep the distortion of the lens, while hands and objects are in
the undistorted camera, as in the original's egocentric protocol.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from trainables.source_errors import DamagedFile, SourceError
from trainables.source_fields import field as field_of
from trainables.source_fields import numbers, read_bytes
from trainables.square_picture import PICTURE_EVERY, square_png

FOLDERS = ("cropped_images", "images")
EGO_VIEW = "0"


@dataclass(kw_only=True)
class Pictures:
    """Square pictures of some frames, and what became of the others."""

    frame: list[int] = field(default_factory=list)
    png: list[bytes] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


def read_offsets(root: Path) -> dict[str, int]:
    """Subject -> what a picture's number is ahead of its frame. Raises SourceError."""
    path = root / "meta" / "misc.json"
    try:
        content = json.loads(read_bytes(path))
    except (ValueError, RecursionError) as error:
        raise DamagedFile(path, f"is no JSON ({error}); fetch the file again.") from error
    offsets = {}
    for subject in content if isinstance(content, dict) else ():
        name = f"{subject}.ioi_offset"
        value = field_of(field_of(content, subject, path), "ioi_offset", path)
        offsets[subject] = round(float(numbers(value, name, path, shape=(), low=-10_000, high=10_000)))
    return offsets


def picture_folder(root: Path, subject: str, sequence: str) -> Path | None:
    """The sequence's egocentric pictures, None where the user has none."""
    folders = (root / kind / subject / sequence / EGO_VIEW for kind in FOLDERS)
    return next((folder for folder in folders if folder.is_dir()), None)


def picture_file(folder: Path, frame: int, offset: int) -> Path:
    return folder / f"{frame + offset:05d}.jpg"


def read_pictures(folder: Path, begin: int, end: int, offset: int) -> Pictures:
    """Every tenth frame's picture from frame `begin` on, as square PNG; a missing or unreadable one is left out."""
    found = Pictures()
    for frame in range(begin, end, PICTURE_EVERY):
        path = picture_file(folder, frame, offset)
        if not path.is_file():
            found.counts["pictures missing"] += 1
            continue
        try:
            found.png.append(square_png(path))
            found.frame.append(frame)
        except SourceError:
            found.counts["pictures unreadable"] += 1
    return found
