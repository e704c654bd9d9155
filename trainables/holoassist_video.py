"""Frames of a HoloAssist video by number: when each is shown, and the few that are wanted as square pictures.

A frame's number is its place in the order of showing, from 0, as ffmpeg numbers the pictures it extracts: HaMeR's and
SAM2's results go by it. Its moment comes from the file's own time stamps, which for the constant rate of HoloAssist's
videos (17 to 30 a second) is i / rate, and stays right where a rate varies.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from trainables.source_errors import DamagedFile, MissingFile, WrongValue

_AGAIN = "fetch the file again."


@dataclass(frozen=True, kw_only=True)
class VideoFrames:
    """Time stamps of a video's frames in the order of showing, in units of `time_base_s`."""

    stamps: NDArray[np.int64]  # (N,) rising
    key: NDArray[np.bool_]  # (N,) decoding can begin here
    time_base_s: float

    @property
    def seconds(self) -> NDArray[np.float64]:
        """(N,) from the first frame."""
        return (self.stamps - self.stamps[0]) * self.time_base_s

    @property
    def fps(self) -> float:
        """Frames a second, over the whole video."""
        return (len(self.stamps) - 1) / float(self.seconds[-1])


def index_video(path: Path) -> VideoFrames:
    """Read when each frame is shown, without decoding any. Raises SourceError."""
    with _opened(path) as (container, stream):
        packets = [
            (packet.pts, packet.is_keyframe)
            for packet in container.demux(stream)
            if packet.pts is not None and not packet.is_corrupt and not packet.is_discard
        ]
        base = stream.time_base
    packets.sort()
    stamps = np.array([pts for pts, _ in packets], dtype=np.int64)
    if len(stamps) < 2 or base is None:
        raise DamagedFile(path, f"holds {len(stamps)} frames of video; {_AGAIN}")
    if (np.diff(stamps) <= 0).any():
        raise WrongValue(path, f"shows two frames at once; {_AGAIN}", field="time stamps")
    return VideoFrames(
        stamps=stamps, key=np.array([key for _, key in packets], dtype=bool), time_base_s=float(base)
    )


def decode_frames(
    path: Path, index: VideoFrames, wanted: Sequence[int]
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """(number, RGB (H, W, 3)) of the wanted frames, each once, in rising order. Raises SourceError.

    Runs of frames that none is wanted of are skipped from keyframe to keyframe.
    """
    left = sorted(set(wanted))
    if left and not 0 <= left[0] <= left[-1] < len(index.stamps):
        raise WrongValue(path, f"has {len(index.stamps)} frames, not one numbered {left[-1]}; {_AGAIN}")
    keys = np.flatnonzero(index.key)
    with _opened(path) as (container, stream):
        place, back = 0, 0
        while place < len(left):
            # Seeking goes by decoding time and may land too late: then again, from a keyframe earlier.
            key = int(np.searchsorted(keys, left[place], side="right")) - 1 - back
            container.seek(int(index.stamps[keys[key] if key >= 0 else 0]), stream=stream, backward=True)
            for frame in container.decode(stream):
                number = _number(index, frame.pts)
                if number is None or number < left[place]:
                    continue
                if number > left[place]:
                    if key < 0:
                        raise DamagedFile(path, f"frame {left[place]} cannot be decoded; {_AGAIN}")
                    back += 1
                    break
                yield number, np.asarray(frame.to_ndarray(format="rgb24"), dtype=np.uint8)
                place, back = place + 1, 0
                if place == len(left) or _key_between(keys, number + 1, left[place]):
                    break
            else:
                raise DamagedFile(path, f"ends before frame {left[place]}; {_AGAIN}")


def _number(index: VideoFrames, stamp: int | None) -> int | None:
    """Number of the frame that is shown at `stamp`."""
    if stamp is None:
        return None
    number = int(np.searchsorted(index.stamps, stamp))
    return number if number < len(index.stamps) and index.stamps[number] == stamp else None


def _key_between(keys: NDArray[np.int64], begin: int, end: int) -> bool:
    """Whether decoding can begin at one of begin+1..end: a seek there skips frames."""
    key = int(np.searchsorted(keys, end, side="right")) - 1
    return key >= 0 and int(keys[key]) > begin


@contextmanager
def _opened(path: Path) -> Iterator[tuple[av.container.InputContainer, av.video.stream.VideoStream]]:
    """The file and its first video stream; the libraries' errors, also while it is read, become SourceError."""
    if not path.is_file():
        raise MissingFile(path, "is missing; restore it from the data set's distribution.")
    try:
        with av.open(str(path), metadata_errors="replace") as container:
            if not container.streams.video:
                raise DamagedFile(path, f"holds no video; {_AGAIN}")
            stream = container.streams.video[0]
            stream.thread_count = 1  # one process a core
            yield container, stream
    except (av.FFmpegError, OSError, UnicodeDecodeError) as error:
        raise DamagedFile(path, f"is no readable video ({error}); {_AGAIN}") from error
