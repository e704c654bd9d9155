"""Rows of a data set's shards as tensors: checked, texts numbered, pictures decoded, resampled to the windows' rate."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from trainables.clip_format import (
    AGAIN,
    FRAME_SHAPES,
    GROUPS,
    WINDOW_FPS,
    ClipsError,
    decode_png,
    manifest_digest,
)
from trainables.clip_resampling import resample
from trainables.clip_set import Clips
from trainables.clip_table import FEATURES, contact_bytes, frame_counts, list_frames, list_values

IMAGE_SIDE_WHEN_NONE = (
    64  # side of the black square that stands for "no image" where a data set has none at all
)


def assemble(
    tables: Sequence[pa.Table], manifest: dict[str, Any], where: str, *, pictures: bool = True
) -> Clips:
    """The tensors of the shards' tables, in memory. `where` names the data set in errors.

    pictures: decode them; without, there are none.
    """
    table = pa.concat_tables(tables)
    frames_C = frame_counts(table, where)
    offsets = np.concatenate([[0], np.cumsum(frames_C)])
    first_C, frames = offsets[:-1], int(offsets[-1])
    ids = table["clip_id"].to_pylist()
    if len(set(ids)) != len(ids):
        raise ClipsError(f"{where}, field clip_id: two clips share a name; {AGAIN}")

    flat = {name: list_values(table, name).reshape(frames, *shape) for name, shape in FRAME_SHAPES.items()}
    camera_known = ~np.isnan(flat["camera_to_first"]).any((1, 2))
    point_known = ~np.isnan(flat["contact_point_m"]).any(1)
    camera = np.where(camera_known[:, None, None], flat["camera_to_first"], np.eye(3, 4, dtype=np.float32))

    # A text holds until the next one; every clip has one at its first frame, so none crosses into the next.
    texts, first_entry, text_of_entry = np.unique(
        list_values(table, "text").astype(str), return_index=True, return_inverse=True
    )
    features = {name: list_values(table, name) for name in FEATURES}
    entries = {"image_feature": "image_frame", "hand_free_feature": "hand_free_frame", "text_feature": "text"}
    for name, of in entries.items():
        features[name] = _feature_rows(features[name], len(list_values(table, of)), name, where)
    if len(features["text_feature"]):
        features["text_feature"] = features["text_feature"][first_entry]
    text_start = list_frames(table, "text_start", first_C)
    text_F = np.repeat(text_of_entry, np.diff(np.append(text_start, frames)))
    first_F = np.repeat(first_C, frames_C)
    images_I = _images(table, "image_png", where) if pictures else _no_images()
    hand_free_I = _images(table, "hand_free_png", where) if pictures else _no_images()
    if len(images_I) == 0:
        images_I = images_I.reshape(0, *hand_free_I.shape[1:])
    elif len(hand_free_I) == 0:
        hand_free_I = hand_free_I.reshape(0, *images_I.shape[1:])
    if images_I.shape[1:] != hand_free_I.shape[1:]:
        raise ClipsError(
            f"{where}, field hand_free_png: its pictures are {hand_free_I.shape[1:3]} pixels and those of image_png "
            f"{images_I.shape[1:3]}; give both one size."
        )

    numbers: dict[str, NDArray[Any]] = {
        "offsets_C1": offsets.astype(np.int64),
        "global_orient_F3": flat["global_orient"],
        "hand_pose_F45": flat["hand_pose"],
        "betas_C10": list_values(table, "betas").reshape(len(ids), 10),
        "transl_F3": flat["transl_m"],
        "camera_rot_F33": np.ascontiguousarray(camera[:, :, :3]),
        "camera_transl_F3": np.ascontiguousarray(camera[:, :, 3]),
        "camera_known_F": camera_known,
        "joints_FJ3": flat["joints_m"],
        "contact_FX": contact_bytes(table),
        "contact_known_F": list_values(table, "contact_known"),
        "point_F3": np.where(point_known[:, None], flat["contact_point_m"], np.float32(0)),
        "point_known_F": point_known,
        "image_F": _latest(list_frames(table, "image_frame", first_C), first_F),
        "images_I": images_I,
        "hand_free_F": _latest(list_frames(table, "hand_free_frame", first_C), first_F),
        "hand_free_I": hand_free_I,
        "text_F": text_F.astype(np.int64),
        "image_IF": features["image_feature"],
        "hand_free_IF": features["hand_free_feature"],
        "text_XF": features["text_feature"],
    }
    clips = Clips(
        name=manifest["name"],
        hand=manifest["hand"],
        digest=manifest_digest(manifest),
        manifest=manifest,
        clip_ids=ids,
        groups={name: table[name].to_pylist() for name in GROUPS},
        texts=texts.tolist(),
        **{
            name: torch.from_numpy(np.require(array, requirements=["C", "W"]))
            for name, array in numbers.items()
        },
    )
    fps_C = table["fps"].to_numpy().astype(np.float64)
    return clips if (fps_C == WINDOW_FPS).all() else resample(clips, torch.from_numpy(fps_C), WINDOW_FPS)


def _feature_rows(values: NDArray[np.float32], entries: int, name: str, where: str) -> NDArray[np.float32]:
    """Features (entries, F) of values end to end, (0, 0) where there are none."""
    if not len(values):
        return np.zeros((0, 0), dtype=np.float32)
    if entries == 0 or len(values) % entries:
        raise ClipsError(f"{where}, field {name}: not every entry has a feature of one width; {AGAIN}")
    return values.reshape(entries, -1)


def _latest(start_I: NDArray[np.int64], first_F: NDArray[np.int64]) -> NDArray[np.int64]:
    """The latest picture at or before each frame; one holds to the end of its clip, -1 where there is none yet.

    start_I: the frame of each picture; first_F: the first frame of each frame's clip.
    """
    latest_F = np.searchsorted(start_I, np.arange(len(first_F)), side="right") - 1
    return np.where(np.append(start_I, -1)[latest_F] >= first_F, latest_F, -1).astype(np.int64)


def _no_images() -> NDArray[np.uint8]:
    return np.zeros((0, IMAGE_SIDE_WHEN_NONE, IMAGE_SIDE_WHEN_NONE, 3), dtype=np.uint8)


def _images(table: pa.Table, field: str, where: str) -> NDArray[np.uint8]:
    pngs = [png for chunk in table[field].chunks for png in chunk.flatten().to_pylist()]
    if not pngs:
        return _no_images()
    # The writer has decoded each once, and the shard's sha256 is right: one that fails now is the writer's fault.
    with ThreadPoolExecutor(max_workers=4) as pool:
        pictures = list(pool.map(decode_png, pngs))
    if len({picture.shape for picture in pictures}) > 1:
        raise ClipsError(f"{where}, field {field}: its pictures are not of one size; {AGAIN}")
    return np.stack(pictures)
