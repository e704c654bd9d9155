"""The text files of one HoloAssist recording: tab-separated numbers, no header, times in ticks of 100 ns.

    Video/Pose_sync.txt      seconds, ticks, camera to world (4x4, row by row)
    Video/VideoMp4Timing.txt two lines: ticks of the video's start and of its end
    Video/Intrinsics.txt     one line: 3x3 matrix, distortion (6 + 2), focal lengths (1 + 2), principal point (2), a flag,
                             width, height
    Hands/Right_sync.txt     seconds, ticks, active, 26 joints (4x4 to world, NaN where there is no hand), 26 flags
                             "valid", 26 flags "tracked": 471 columns

Sources: HoloAssist's README ("Dataset Structure"), its own reader PyHoloAssist (`hand_eye_project.py`: columns 3:-52
of a hand row are the joints), and the exporter's `ToText` in microsoft/psi
(Sources/MixedReality/HoloLensCapture/HoloLensCaptureExporter).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.csv
from numpy.typing import NDArray

from trainables.source_errors import DamagedFile, SourceError, WrongShape, WrongType, WrongValue
from trainables.source_fields import numbers, read_bytes

TICKS_PER_S = 10_000_000
JOINTS = 26
_POSE_COLUMNS = 18
_FIRST_JOINT = 3  # after seconds, ticks, active
_FIRST_FLAG = _FIRST_JOINT + 16 * JOINTS
_HAND_COLUMNS = _FIRST_FLAG + 2 * JOINTS
_FARTHEST_M = 1000.0  # from where the headset was switched on; millimetres go further
_ABSURD = 1e6  # a damaged number; joints in millimetres stay below, and are named later
_AGAIN = "fetch the file again."


class Camera(NamedTuple):
    matrix: NDArray[np.float64]  # (3, 3) pixels
    width_px: int
    height_px: int


class PoseTrack(NamedTuple):
    ticks: NDArray[np.int64]  # (N,) rising
    camera_to_world: NDArray[
        np.float64
    ]  # (N, 4, 4) in the recording's own axes, NaN where it is no rigid motion


class HandTrack(NamedTuple):
    ticks: NDArray[np.int64]  # (N,) rising
    joints_m: NDArray[np.float64]  # (N, 26, 3) in the room, NaN where not given
    valid: NDArray[np.bool_]  # (N, 26) the hand is active and the joint's position is valid
    tracked: NDArray[np.bool_]  # (N, 26) seen, not inferred


def read_camera(path: Path) -> Camera:
    """Intrinsics.txt. Raises SourceError."""
    values = _line(path)
    if len(values) < 11:
        raise WrongShape(path, f"holds {len(values)} numbers, needs 3x3 ... width, height; {_AGAIN}")
    matrix = numbers(values[:9], "line 1", path, shape=(9,)).reshape(3, 3)
    width, height = numbers(values[-2:], "line 1", path, shape=(2,), low=1, high=100_000)
    if matrix[0, 0] <= 0 or matrix[1, 1] <= 0 or not np.allclose(matrix[2], [0, 0, 1]):
        raise WrongValue(path, f"is no camera matrix; {_AGAIN}", field="line 1")
    return Camera(matrix, int(width), int(height))


def read_start(path: Path) -> int:
    """Ticks of the video's first frame, from VideoMp4Timing.txt. Raises SourceError."""
    lines = _text(path).split()
    if len(lines) < 2:
        raise WrongShape(path, f"has {len(lines)} lines, not the video's start and end; {_AGAIN}")
    try:
        start, end = int(lines[0]), int(lines[1])
    except ValueError as error:
        raise WrongType(path, f"is no number of ticks ({error}); {_AGAIN}", field="line 1") from error
    if not 0 < start < end:
        raise WrongValue(path, f"says from {start} to {end}; {_AGAIN}", field="line 1")
    return start


def read_pose(path: Path) -> PoseTrack:
    """Pose_sync.txt. A row that is no rigid motion is unknown; raises SourceError where more than half are."""
    columns = _columns(path)
    if columns != _POSE_COLUMNS:
        raise WrongShape(path, f"has {columns} columns, not {_POSE_COLUMNS}; {_AGAIN}", field="line 1")
    ticks, cells = _table(path, columns, range(1, columns))
    pose = cells.reshape(-1, 4, 4)
    turn = pose[:, :3, :3]
    with np.errstate(invalid="ignore", over="ignore"):
        off = np.abs(turn @ turn.transpose(0, 2, 1) - np.eye(3)).max((1, 2))
        bottom = np.abs(pose[:, 3] - [0, 0, 0, 1]).max(1)
        far_m = np.abs(pose[:, :3, 3]).max(1)
        rigid = (off < 1e-3) & (bottom < 1e-6) & (far_m < _FARTHEST_M)
        rigid &= np.linalg.det(np.where(rigid[:, None, None], turn, np.eye(3))) > 0
    if 2 * rigid.sum() < len(rigid):
        why = f"{int((~rigid).sum())} of {len(rigid)} rows are no rigid motion in metres; {_AGAIN}"
        raise WrongValue(path, why, field="columns 3 to 18")
    pose[~rigid] = np.nan
    return PoseTrack(_rising(ticks, path), pose)


def read_hand(path: Path) -> HandTrack:
    """Hands/Right_sync.txt (or Left_sync.txt). Raises SourceError."""
    columns = _columns(path)
    if columns != _HAND_COLUMNS:
        raise WrongShape(path, f"has {columns} columns, not {_HAND_COLUMNS}; {_AGAIN}", field="line 1")
    # Of a joint's 4x4 matrix the last column is its place; rotations are not read.
    places = [_FIRST_JOINT + 16 * joint + cell for joint in range(JOINTS) for cell in (3, 7, 11)]
    ticks, rows = _table(path, columns, [1, 2, *places, *range(_FIRST_FLAG, columns)])
    joints = rows[:, 1 : 1 + 3 * JOINTS].reshape(-1, JOINTS, 3)
    valid, tracked = (rows[:, 1 + 3 * JOINTS :].reshape(-1, 2, JOINTS) > 0.5).transpose(1, 0, 2)
    with np.errstate(invalid="ignore"):
        here = (rows[:, 0] > 0.5)[:, None] & (np.abs(joints).max(2) < _ABSURD)
    return HandTrack(_rising(ticks, path), joints, valid & here, tracked & here)


def nearest(ticks: NDArray[np.int64], moments: NDArray[np.int64], within_s: float) -> NDArray[np.int64]:
    """Row of `ticks` (rising) nearest to each moment, -1 where none is within `within_s`."""
    after = np.clip(np.searchsorted(ticks, moments), 1, max(len(ticks) - 1, 1))
    before = after - 1
    after = np.minimum(after, len(ticks) - 1)
    row = np.where(moments - ticks[before] <= ticks[after] - moments, before, after)
    return np.where(np.abs(ticks[row] - moments) <= within_s * TICKS_PER_S, row, -1)


def _text(path: Path) -> str:
    try:
        return read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DamagedFile(path, f"is no text ({error.reason}); {_AGAIN}") from error


def _line(path: Path) -> list[float]:
    words = _text(path).split()
    try:
        return [float(word) for word in words]
    except ValueError as error:
        raise WrongType(path, f"is no line of numbers ({error}); {_AGAIN}", field="line 1") from error


def _columns(path: Path) -> int:
    """Of the first line, read alone: the files are large."""
    try:
        with path.open("rb") as stream:
            line = stream.readline(1 << 20)
    except FileNotFoundError:
        read_bytes(path)  # says so
        raise
    except OSError as error:
        raise DamagedFile(path, f"cannot be read ({error.strerror}); check the disk.") from error
    if not line.strip():
        raise DamagedFile(path, f"is empty; {_AGAIN}")
    return len(line.rstrip(b"\r\n").split(b"\t"))


def _table(path: Path, columns: int, wanted: Sequence[int]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Columns by number: the first of `wanted` (N,), which are ticks, and the others (N, ...). Raises SourceError."""
    names = [f"column {i + 1}" for i in range(columns)]
    chosen = [names[i] for i in wanted]
    types = {name: pa.int64() if i == 0 else pa.float64() for i, name in enumerate(chosen)}
    try:
        table = pyarrow.csv.read_csv(
            path,
            read_options=pyarrow.csv.ReadOptions(column_names=names, use_threads=False, block_size=1 << 24),
            parse_options=pyarrow.csv.ParseOptions(delimiter="\t", quote_char=False),
            convert_options=pyarrow.csv.ConvertOptions(
                include_columns=chosen, column_types=types, null_values=["NaN", "nan", "-NaN"]
            ),
        )
    except pa.ArrowInvalid as error:
        raise _bad_table(path, str(error)) from error
    except (OSError, pa.ArrowException) as error:
        raise DamagedFile(path, f"cannot be read ({error}); {_AGAIN}") from error
    if table[chosen[0]].null_count:
        raise WrongValue(path, f"holds NaN; {_AGAIN}", field=f"{chosen[0]} (ticks)")
    ticks = table[chosen[0]].to_numpy().astype(np.int64)
    return ticks, np.stack([table[name].to_numpy().astype(np.float64) for name in chosen[1:]], 1)


def _bad_table(path: Path, error: str) -> SourceError:
    """Arrow's own sentence tells a ragged row from a word in place of a number."""
    sentence = error.split("\n")[0][:200]
    if "Expected" in sentence and "columns" in sentence:
        return WrongShape(path, f"{sentence}; {_AGAIN}", field="rows")
    if "conversion error" in sentence:
        return WrongType(path, f"{sentence}; {_AGAIN}", field="columns")
    return DamagedFile(path, f"is no table of numbers ({sentence}); {_AGAIN}")


def _rising(ticks: NDArray[np.int64], path: Path) -> NDArray[np.int64]:
    if len(ticks) and (ticks[0] <= 0 or (np.diff(ticks) < 0).any()):
        raise WrongValue(path, f"times do not rise; {_AGAIN}", field="column 2 (ticks)")
    return ticks
