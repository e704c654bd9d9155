"""Clips as rows of a parquet shard, and the rows as flat arrays again, without a Python object a frame."""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from trainables.clip_format import CONTACT_BYTES, FRAME_SHAPES, GROUPS, Clip, ClipsError

_FLOATS = pa.list_(pa.float32())
FEATURES = ("image_feature", "hand_free_feature", "text_feature")
ARROW_SCHEMA = pa.schema(
    [
        ("clip_id", pa.string()),
        ("fps", pa.float32()),
        *((group, pa.string()) for group in GROUPS),
        ("text_start", pa.list_(pa.int32())),
        ("text", pa.list_(pa.string())),
        ("betas", _FLOATS),
        *((name, _FLOATS) for name in FRAME_SHAPES),
        ("contact_bits", pa.binary()),
        ("contact_known", pa.list_(pa.bool_())),
        ("image_frame", pa.list_(pa.int32())),
        ("image_png", pa.list_(pa.binary())),
        ("hand_free_frame", pa.list_(pa.int32())),
        ("hand_free_png", pa.list_(pa.binary())),
        *((name, _FLOATS) for name in FEATURES),
    ]
)
SCHEMA_2 = pa.schema([field for field in ARROW_SCHEMA if field.name not in FEATURES])
SCHEMA_1 = pa.schema([field for field in SCHEMA_2 if not field.name.startswith("hand_free_")])


def to_table(clips: Sequence[Clip]) -> pa.Table:
    """The rows of one shard."""

    def flat(name: str) -> list[NDArray[Any]]:
        return [np.asarray(getattr(clip, name), dtype=np.float32).ravel() for clip in clips]

    columns: dict[str, Any] = {name: flat(name) for name in ("betas", *FRAME_SHAPES)}
    columns |= {name: [getattr(clip, name) for clip in clips] for name in ("clip_id", "fps", *GROUPS)}
    for name in ("text", "image_png", "hand_free_png"):
        columns[name] = [list(getattr(clip, name)) for clip in clips]
    for name in ("text_start", "image_frame", "hand_free_frame"):
        columns[name] = [np.asarray(getattr(clip, name), dtype=np.int32) for clip in clips]
    for name in FEATURES:
        rows = [getattr(clip, name) for clip in clips]
        columns[name] = [
            np.zeros(0) if row is None else np.asarray(row, dtype=np.float32).ravel() for row in rows
        ]
    columns["contact_bits"] = [np.packbits(clip.contact_bits, axis=-1).tobytes() for clip in clips]
    columns["contact_known"] = [np.asarray(clip.contact_known, dtype=np.bool_) for clip in clips]
    return pa.table(
        [pa.array(columns[field.name], type=field.type) for field in ARROW_SCHEMA], schema=ARROW_SCHEMA
    )


def as_written_now(table: pa.Table) -> pa.Table | None:
    """The rows of a shard of any readable schema in today's columns; None where it is of no such schema."""
    if table.schema.equals(SCHEMA_1) or table.schema.equals(SCHEMA_2):
        for field in ARROW_SCHEMA:
            if field.name not in table.column_names:
                table = table.append_column(field, pa.array([[]] * len(table), type=field.type))
        table = table.select(ARROW_SCHEMA.names)
    return table if table.schema.equals(ARROW_SCHEMA) else None


def motion_digests(table: pa.Table) -> list[bytes]:
    """A digest of what moves in each row: hand joints and camera. Equal where a recording is there twice."""
    columns = [table[name].combine_chunks() for name in ("joints_m", "camera_to_first")]
    digests = []
    for row in range(len(table)):
        digest = hashlib.sha256()
        for column in columns:
            digest.update(column[row].values.to_numpy(zero_copy_only=False).tobytes())
        digests.append(digest.digest())
    return digests


def frame_counts(table: pa.Table, where: str) -> NDArray[np.int64]:
    """Frames of every clip. Raises ClipsError, naming `where` and field, unless all columns agree on it."""
    frames_C = _entry_counts(table, "transl_m") // 3
    sizes = {name: int(np.prod(shape)) for name, shape in FRAME_SHAPES.items()} | {"contact_known": 1}
    found = {name: _entry_counts(table, name) for name in (*sizes, "betas")}
    found["contact_bits"] = np.concatenate(
        [np.diff(_byte_offsets(chunk)) for chunk in table["contact_bits"].chunks]
    )
    expected = {name: frames_C * size for name, size in sizes.items()}
    expected |= {"betas": np.full(len(frames_C), 10), "contact_bits": frames_C * CONTACT_BYTES}
    for name, counts in expected.items():
        if (found[name] != counts).any():
            raise ClipsError(
                f"{where}, field {name}: its length does not fit the frames; delete and prepare it again."
            )
    return frames_C


def list_values(table: pa.Table, name: str) -> NDArray[Any]:
    """All entries of a list column, end to end."""
    return np.concatenate([chunk.flatten().to_numpy(zero_copy_only=False) for chunk in table[name].chunks])


def list_frames(table: pa.Table, name: str, first_C: NDArray[np.int64]) -> NDArray[np.int64]:
    """All entries of a list column of frames within the clip, counted through the data set instead."""
    return list_values(table, name).astype(np.int64) + np.repeat(first_C, _entry_counts(table, name))


def contact_bytes(table: pa.Table) -> NDArray[np.uint8]:
    """The contact maps of all frames, packed, (F, 98)."""
    parts = []
    for chunk in table["contact_bits"].chunks:
        offsets = _byte_offsets(chunk)
        parts.append(np.frombuffer(chunk.buffers()[2], dtype=np.uint8)[offsets[0] : offsets[-1]])
    return np.concatenate(parts).reshape(-1, CONTACT_BYTES)


def _entry_counts(table: pa.Table, name: str) -> NDArray[np.int64]:
    return np.concatenate([np.diff(chunk.offsets.to_numpy()) for chunk in table[name].chunks]).astype(
        np.int64
    )


def _byte_offsets(chunk: pa.BinaryArray) -> NDArray[np.int64]:
    offsets = np.frombuffer(chunk.buffers()[1], dtype=np.int32)[chunk.offset : chunk.offset + len(chunk) + 1]
    return offsets.astype(np.int64)
