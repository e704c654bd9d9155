"""One HoloAssist recording at the moments of its video's frames: head pose, right hand, camera.

    <SOURCE>/<recording>/Export_py/Video_pitchshift.mp4 (or Video_compress.mp4), Video/..., Hands/Right_sync.txt

A frame takes the row nearest in time from each text file, as HoloAssist's own reader does, but none that is further
off than NEAREST_S: then its pose or hand is unknown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainables.holoassist_axes import OPENPOSE_OF_26, opencv_camera
from trainables.holoassist_tables import TICKS_PER_S, nearest, read_camera, read_hand, read_pose, read_start
from trainables.holoassist_video import index_video
from trainables.source_fields import file_stamp

VERSION = 1  # raised when the same files would give other tracks
NEAREST_S = 0.030  # half a row's period at 30 Hz, and 13 ms for a late row
EXPORT = "Export_py"
VIDEOS = ("Video_pitchshift.mp4", "Video_compress.mp4")  # the second is the first, made small


@dataclass(frozen=True)
class RecordingFiles:
    """Where a recording's files lie."""

    folder: Path

    @property
    def pose(self) -> Path:
        return self.folder / EXPORT / "Video" / "Pose_sync.txt"

    @property
    def intrinsics(self) -> Path:
        return self.folder / EXPORT / "Video" / "Intrinsics.txt"

    @property
    def timing(self) -> Path:
        return self.folder / EXPORT / "Video" / "VideoMp4Timing.txt"

    @property
    def right_hand(self) -> Path:
        return self.folder / EXPORT / "Hands" / "Right_sync.txt"

    @property
    def video(self) -> Path:
        paths = [self.folder / EXPORT / name for name in VIDEOS]
        return next((path for path in paths if path.is_file()), paths[0])

    def read(self, *, hand: bool) -> list[Path]:
        """All that the tracks are made of."""
        return [
            self.pose,
            self.intrinsics,
            self.timing,
            self.video,
            *([self.right_hand] if hand else []),
        ]

    def stamps(self, *, hand: bool) -> list[str]:
        """sha256 of each. Raises MissingFile."""
        return [file_stamp(path) for path in self.read(hand=hand)]


@dataclass(frozen=True, kw_only=True)
class Tracks:
    """N frames of a recording. The room's axes are the recording's, the camera's are OpenCV's."""

    seconds: NDArray[np.float64]  # (N,) from the first frame
    camera: NDArray[np.float64]  # (N, 3, 4) camera to room, NaN where the head's pose is unknown
    joints_room_m: NDArray[np.float64]  # (N, 21, 3) right hand, OpenPose order, NaN where there is none
    matrix: NDArray[np.float64]  # (3, 3) pixels of a picture of `size_px`
    size_px: NDArray[np.int64]  # (2,) width, height

    @property
    def fps(self) -> float:
        return (len(self.seconds) - 1) / float(self.seconds[-1])

    @property
    def posed(self) -> NDArray[np.bool_]:
        return np.isfinite(self.camera[:, 0, 0]) & np.isfinite(self.camera[:, 0, 3])

    def arrays(self) -> dict[str, np.ndarray]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    @staticmethod
    def of(arrays: Mapping[str, np.ndarray]) -> Tracks:
        return Tracks(**{name: arrays[name] for name in Tracks.__dataclass_fields__})


def read_tracks(files: RecordingFiles, *, hand: bool) -> Tracks:
    """Read a recording; without `hand` its hand file is not needed. Raises SourceError."""
    camera = read_camera(files.intrinsics)
    start = read_start(files.timing)
    poses = read_pose(files.pose)
    seconds = index_video(files.video).seconds
    ticks = start + np.rint(seconds * TICKS_PER_S).astype(np.int64)
    row = nearest(poses.ticks, ticks, NEAREST_S)
    camera_to_room = opencv_camera(poses.camera_to_world[row])
    camera_to_room[row < 0] = np.nan
    joints = np.full((len(ticks), 21, 3), np.nan)
    if hand:
        track = read_hand(files.right_hand)
        row = nearest(track.ticks, ticks, NEAREST_S)
        chosen = list(OPENPOSE_OF_26)
        valid = np.logical_and.reduce(track.valid[:, chosen], axis=1)
        whole = valid[row] & (row >= 0)
        joints[whole] = track.joints_m[row[whole]][:, chosen]
    return Tracks(
        seconds=seconds,
        camera=camera_to_room,
        joints_room_m=joints,
        matrix=camera.matrix,
        size_px=np.array([camera.width_px, camera.height_px]),
    )
