"""What `python -m trainables.inspect` knows of every clip, gathered shard by shard from the rows as they were recorded.

Suffixes: C clips, F frames of a piece end to end, J 21 joints, V 778 vertices.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from trainables.clip_format import FRAME_SHAPES, GROUPS, MAY_BE_UNKNOWN, VERTICES, WINDOW_FPS
from trainables.clip_table import contact_bytes, frame_counts, list_values, motion_digests
from trainables.inspect_hand import HandCheck

Array = NDArray[Any]
_FRAMES_A_PIECE = 20_000  # rows are looked at in pieces of about so many frames, whatever a shard holds
SAMPLED_FRAMES = 100_000  # of the frames' values that the histograms show


@dataclass(kw_only=True)
class Figures:
    """Everything that findings, tables and charts are made of. `by_clip` arrays are (C,), NaN where nothing is known.

    by_frame: values of evenly spaced frames of all clips. contact_V: frames in which each vertex touches;
    contact_fingers: frames in which some vertex of each finger does (empty where the hand model is not there).
    """

    window: int
    ids: list[str] = field(default_factory=list)
    groups: dict[str, list[str | None]] = field(default_factory=lambda: {name: [] for name in GROUPS})
    texts: list[list[str]] = field(default_factory=list)
    motion: list[bytes] = field(default_factory=list)
    shards: list[int] = field(default_factory=list)  # which shard holds each clip
    by_clip: dict[str, Array] = field(default_factory=dict)
    by_frame: dict[str, Array] = field(default_factory=dict)
    contact_V: Array = field(default_factory=lambda: np.zeros(VERTICES, dtype=np.int64))
    contact_fingers: dict[str, int] = field(default_factory=dict)
    empty: list[str] = field(default_factory=list)  # clips without a single frame; in nothing else

    def __len__(self) -> int:
        return len(self.ids)

    def sum(self, name: str, rows: Array | slice = slice(None)) -> float:
        return float(np.nansum(self.by_clip[name][rows]))


def gather(
    tables: Iterable[pa.Table], frames: int, hand: HandCheck | None, window: int, where: str
) -> Figures:
    """Figures of all shards. `frames` is about how many there are in all; hand: None where it is another than the data's.

    Raises ClipsError where the columns of a shard contradict each other.
    """
    figures = Figures(window=window)
    every = max(1, frames // SAMPLED_FRAMES)
    clips: list[dict[str, Array]] = []
    samples: list[dict[str, Array]] = []
    for shard, piece in _pieces(tables, figures, where):
        figures.shards += [shard] * len(piece)
        frames_C = frame_counts(piece, where)
        figures.ids += piece["clip_id"].to_pylist()
        figures.texts += piece["text"].to_pylist()
        figures.motion += motion_digests(piece)
        for name in GROUPS:
            figures.groups[name] += piece[name].to_pylist()
        by_clip, by_frame = _piece_figures(piece, frames_C, figures, hand)
        clips.append(by_clip)
        samples.append({name: values[::every].astype(np.float32) for name, values in by_frame.items()})
    for merged, parts in ((figures.by_clip, clips), (figures.by_frame, samples)):
        for name in parts[0] if parts else ():
            merged[name] = np.concatenate([part[name] for part in parts])
    return figures


def _pieces(tables: Iterable[pa.Table], figures: Figures, where: str) -> Iterator[tuple[int, pa.Table]]:
    for shard, table in enumerate(tables):
        frames_C = frame_counts(table, where)
        if (frames_C == 0).any():
            figures.empty += [i for i, n in zip(table["clip_id"].to_pylist(), frames_C, strict=True) if not n]
            table = table.filter(pa.array(frames_C > 0))
            frames_C = frames_C[frames_C > 0]
        piece_C = np.cumsum(frames_C) // _FRAMES_A_PIECE
        cuts = [0, *(np.flatnonzero(np.diff(piece_C)) + 1).tolist(), len(piece_C)]
        for begin, end in itertools.pairwise(cuts):
            if end > begin:
                yield shard, table.slice(begin, end - begin).combine_chunks()


def _piece_figures(
    piece: pa.Table, frames_C: Array, figures: Figures, hand: HandCheck | None
) -> tuple[dict[str, Array], dict[str, Array]]:
    count, total = len(frames_C), int(frames_C.sum())
    first_C = np.cumsum(frames_C) - frames_C
    clip_F = np.repeat(np.arange(count), frames_C)
    flat = {name: list_values(piece, name).reshape(total, *shape) for name, shape in FRAME_SHAPES.items()}
    betas_C = list_values(piece, "betas").reshape(count, 10)
    fps_C = piece["fps"].to_numpy().astype(np.float64)
    rate_C = np.where(fps_C > 0, fps_C, np.nan)
    joints, point = flat["joints_m"], flat["contact_point_m"]

    def most(values_F: Array) -> Array:
        return np.maximum.reduceat(values_F, first_C, axis=0)

    def counted(values_F: Array) -> Array:
        return np.add.reduceat(values_F.astype(np.int64), first_C)

    made: dict[str, Array] = {"frames": frames_C, "fps": fps_C, "seconds": frames_C / rate_C}
    sampled: dict[str, Array] = {}

    bad = [~_whole(flat[name]) for name in FRAME_SHAPES if name not in MAY_BE_UNKNOWN]
    # NaN throughout says "unknown" in these; a number that is not finite, or NaN in part, says nothing.
    bad += [~_whole(flat[name]) & ~np.isnan(flat[name]).reshape(total, -1).all(1) for name in MAY_BE_UNKNOWN]
    made["not_finite"] = counted(np.any(bad, axis=0)) + ~np.isfinite(betas_C).all(1)
    made["rotation_rad"] = most(np.linalg.norm(flat["hand_pose"].reshape(total, 15, 3), axis=-1).max(1))
    made["betas_most"] = np.abs(betas_C).max(1)
    sampled |= {f"betas_{i}": betas_C[:, i] for i in range(10)}

    depth = joints[:, 0, 2]
    made["nearest_m"] = np.minimum.reduceat(joints[..., 2].min(1), first_C)
    made["farthest_m"] = most(np.linalg.norm(joints[:, 0], axis=-1))
    made["palm_m"] = _medians(np.linalg.norm(joints[:, 9] - joints[:, 0], axis=-1), clip_F, frames_C)
    sampled["depth_m"] = depth

    speed, moved = _speeds(joints, flat["camera_to_first"], clip_F, first_C, fps_C)
    made["speed_m_per_s"] = most(speed)
    sampled["speed_m_per_s"] = speed
    span = most(joints.reshape(total, 63)) - np.minimum.reduceat(joints.reshape(total, 63), first_C, axis=0)
    made["moves_m"] = span.max(1)
    since = np.arange(total) - np.maximum.accumulate(np.where(moved, np.arange(total), 0))
    made["frozen_s"] = most(since) / rate_C

    made |= _cameras(flat["camera_to_first"], first_C, counted, most)
    packed = contact_bytes(piece)
    known = list_values(piece, "contact_known").astype(np.bool_)
    touches, has_point = packed.any(1), ~np.isnan(point).any(1)
    made["contact_known"] = counted(known)
    made["touching"] = counted(known & touches)
    made["touch_without_point"] = counted(known & touches & ~has_point)
    made["point_without_touch"] = counted(has_point & ~(known & touches))
    off = np.full(total, -np.inf, dtype=np.float32)
    off[has_point] = np.linalg.norm(joints[has_point] - point[has_point, None], axis=-1).min(1)
    made["point_off_m"] = np.where(counted(has_point) > 0, most(off), np.nan)
    bits_V = np.unpackbits(packed[known], axis=1, count=VERTICES)
    figures.contact_V += bits_V.sum(0, dtype=np.int64)
    if hand is not None:
        for name, vertices in hand.fingers.items():
            found = int(bits_V[:, vertices].any(1).sum())
            figures.contact_fingers[name] = figures.contact_fingers.get(name, 0) + found
        made |= hand.errors(flat, betas_C, packed, known & touches & has_point, first_C, frames_C)

    made |= _windows(known & touches, first_C, frames_C, fps_C, figures.window)
    return made, sampled


def _whole(values_F: Array) -> Array:
    """Which frames (F,) hold finite numbers alone."""
    return np.asarray(np.isfinite(values_F).reshape(len(values_F), -1).all(axis=1))


def _medians(values_F: Array, clip_F: Array, frames_C: Array) -> Array:
    order = np.lexsort((values_F, clip_F))
    return values_F[order][np.cumsum(frames_C) - frames_C + frames_C // 2]


def _speeds(joints: Array, camera: Array, clip_F: Array, first_C: Array, fps_C: Array) -> tuple[Array, Array]:
    """The fastest joint's speed (F,) m/s since the frame before, in the room where both cameras are known; and whether
    anything moved at all. Zero and True in a clip's first frame."""
    known = _whole(camera)
    room = np.einsum("fij,fkj->fki", camera[..., :3], joints) + camera[:, None, :, 3]
    both = (known[1:] & known[:-1])[:, None]
    step = np.where(
        both, np.linalg.norm(np.diff(room, axis=0), axis=-1), np.linalg.norm(np.diff(joints, axis=0), axis=-1)
    )
    speed = np.zeros(len(joints), dtype=np.float32)
    speed[1:] = step.max(1, initial=0) * fps_C[clip_F[1:]]
    speed[first_C] = 0
    moved = np.ones(len(joints), dtype=np.bool_)
    moved[1:] = (joints[1:] != joints[:-1]).any((1, 2))
    moved[first_C] = True
    return speed, moved


def _cameras(camera: Array, first_C: Array, counted: Any, most: Any) -> dict[str, Array]:
    """camera_known (frames), camera_bend (how far from a rotation), camera_start (how far frame 0 is from identity)."""
    known = _whole(camera)
    turn = np.where(known[:, None, None], camera[..., :3], np.eye(3, dtype=np.float32))
    bend = np.abs(turn @ turn.transpose(0, 2, 1) - np.eye(3, dtype=np.float32)).max((1, 2))
    bend = np.where(np.linalg.det(turn) > 0, bend, 2.0)
    start = np.abs(camera[first_C] - np.eye(3, 4, dtype=np.float32)).max((1, 2))  # NaN where unknown
    return {"camera_known": counted(known), "camera_bend": most(bend), "camera_start": start}


def _windows(
    touching_F: Array, first_C: Array, frames_C: Array, fps_C: Array, window: int
) -> dict[str, Array]:
    """Windows of each clip at 30 fps (stride 1), and those whose first frame touches; as the reader resamples."""
    windows, starts = np.zeros(len(frames_C), dtype=np.int64), np.zeros(len(frames_C), dtype=np.int64)
    for clip, (first, frames, fps) in enumerate(
        zip(first_C.tolist(), frames_C.tolist(), fps_C.tolist(), strict=True)
    ):
        if not fps > 0:
            continue
        count = int((frames - 1) * WINDOW_FPS / fps + 1e-6) + 1 - window + 1
        if count > 0:
            moment = np.minimum(np.floor(np.arange(count) * fps / WINDOW_FPS + 0.5 + 1e-6), frames - 1)
            windows[clip] = count
            starts[clip] = int(touching_F[first + moment.astype(np.int64)].sum())
    return {"windows": windows, "windows_in_contact": starts}


def duplicates(motion: list[bytes]) -> list[tuple[int, int]]:
    """(clip, the earlier clip with the same motion)."""
    seen: dict[bytes, int] = {}
    return [
        (clip, seen[digest]) for clip, digest in enumerate(motion) if seen.setdefault(digest, clip) != clip
    ]
