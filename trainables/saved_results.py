"""Where results of other networks lie: one file or one folder a video, frames by number."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from trainables.source_errors import MissingFile, WrongType
from trainables.source_fields import Where, file_stamp, inside

_DIGITS = re.compile(r"\d+", re.ASCII)


def results_of(folder: Where, names: Iterable[str]) -> Path:
    """The first of `names` that lies in `folder`, else the first name. Raises OutsidePath."""
    paths = [inside(folder, name, file=folder, field="video") for name in names]
    return next((path for path in paths if path.exists()), paths[0])


def results_stamp(path: Where) -> str:
    """sha256 (hex) that names the content of a file, or of all files of a folder. Raises MissingFile."""
    path = Path(path)
    if not path.is_dir():
        return file_stamp(path)
    digest = hashlib.sha256()
    for file in sorted(p for p in path.rglob("*") if p.is_file()):
        digest.update(f"{file.relative_to(path)}\0{file_stamp(file)}\n".encode())
    return digest.hexdigest()


def frame_number(key: Any, file: Where) -> int:
    """A frame's number from a key or a file name's stem: 17, "17", "000017". Raises WrongType."""
    if isinstance(key, int | np.integer) and not isinstance(key, bool) and key >= 0:
        return int(key)
    if isinstance(key, str) and _DIGITS.fullmatch(stem := Path(key).stem) and len(stem) < 10:
        return int(stem)
    raise WrongType(
        file, "is no frame number; name frames 0, 1, 2, ... as the video counts.", field=repr(key)
    )


def frame_files(folder: Path, suffixes: tuple[str, ...]) -> dict[int, Path]:
    """The files of a folder that are named by a frame's number, in the order of frames. Raises MissingFile."""
    if not folder.is_dir():
        raise MissingFile(folder, "is missing; restore it, or run the network on this video.")
    found = {
        int(path.stem): path
        for path in folder.iterdir()
        if path.suffix.lower() in suffixes and _DIGITS.fullmatch(path.stem) and len(path.stem) < 10
    }
    return dict(sorted(found.items()))
