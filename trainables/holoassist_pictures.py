"""Pictures of a HoloAssist recording's clips: square PNGs of every n-th frame, and the same without the hand.

Both are stages: what was decoded once for the same video, frames and size is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from trainables.holoassist_clips import Run, Sources
from trainables.holoassist_video import decode_frames, index_video
from trainables.source_fields import file_stamp
from trainables.square_picture import square_png
from trainables.stage_cache import Arrays, cached_arrays

VERSION = 1  # raised when the same video would give other pictures


def wanted_frames(runs: Sequence[Run], every: int) -> list[int]:
    """Frames of the video that some run shows, rising: each run's first, and every n-th from there."""
    return sorted({i for run in runs for i in range(run.begin, run.end, every)})


def pictures_stage(sources: Sources, frames: Sequence[int]) -> dict[int, bytes]:
    """PNG of each wanted frame of the video. Raises SourceError."""
    path = sources.files.video
    key = [VERSION, file_stamp(path), sources.image_px, list(frames)]

    def compute() -> Arrays:
        pngs = {
            number: square_png(picture, sources.image_px)
            for number, picture in decode_frames(path, index_video(path), frames)
        }
        return _packed(pngs)

    return _unpacked(cached_arrays("pictures", key, compute)) if frames else {}


def hand_free_stage(sources: Sources, frames: Sequence[int]) -> dict[int, bytes]:
    """PNG of each wanted frame that an inpainted picture is there of. Raises SourceError."""
    if sources.inpainted is None:
        return {}
    from trainables.inpainted_frames import inpainted_file, read_inpainted

    folder = sources.inpainted
    there = {i: path for i in frames if (path := inpainted_file(folder, sources.video, i)).is_file()}
    key = [VERSION, sources.image_px, [[i, file_stamp(path)] for i, path in there.items()]]

    def compute() -> Arrays:
        pngs = {}
        for i, path in there.items():
            if (picture := read_inpainted(path)) is not None:
                pngs[i] = square_png(picture, sources.image_px)
        return _packed(pngs)

    return _unpacked(cached_arrays("hand-free", key, compute)) if there else {}


def _packed(pngs: dict[int, bytes]) -> Arrays:
    return {
        "number": np.array(list(pngs), dtype=np.int64),
        "end": np.cumsum([len(png) for png in pngs.values()], dtype=np.int64),
        "bytes": np.frombuffer(b"".join(pngs.values()), dtype=np.uint8),
    }


def _unpacked(arrays: Arrays) -> dict[int, bytes]:
    data = arrays["bytes"].tobytes()
    edges = pairwise([0, *arrays["end"].tolist()])
    return {
        number: data[begin:end] for number, (begin, end) in zip(arrays["number"].tolist(), edges, strict=True)
    }
