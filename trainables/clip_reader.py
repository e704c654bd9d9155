"""A whole data set as a handful of contiguous tensors.

Suffixes: C clips, F frames of all clips end to end, I images, J 21 joints, V 778 vertices.
"""

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainables.clip_folder import MANIFEST, Folder, open_folder
from trainables.clip_format import (
    FRAME_SHAPES,
    GROUPS,
    READABLE_SCHEMAS,
    WINDOW_FPS,
    ClipsError,
    decode_png,
    manifest_digest,
)
from trainables.clip_resampling import resample
from trainables.clip_table import (
    FEATURES,
    as_written_now,
    contact_maps,
    frame_counts,
    list_frames,
    list_values,
)

_AGAIN = "delete the data set, then prepare or copy it again."
IMAGE_SIDE_WHEN_NONE = (
    64  # side of the black square that stands for "no image" where a data set has none at all
)


@dataclass(frozen=True, kw_only=True)
class Clips:
    """A data set at 30 fps. Metres, rotations as axis-angle or matrices, each frame in its own camera.

    Where something is unknown its `_known` entry is False and the numbers are a harmless placeholder (camera:
    identity, contact point: zero), never NaN.
    """

    name: str
    hand: str
    digest: str
    manifest: dict[str, Any]
    clip_ids: list[str]
    groups: dict[str, list[str | None]]  # column -> its value for each clip
    texts: list[str]
    offsets_C1: Tensor  # int64 (C+1): clip c is frames offsets[c] to offsets[c+1]
    global_orient_F3: Tensor
    hand_pose_F45: Tensor
    betas_C10: Tensor
    transl_F3: Tensor
    camera_rot_F33: Tensor  # frame's camera -> first frame's camera of its clip
    camera_transl_F3: Tensor
    camera_known_F: Tensor  # bool
    joints_FJ3: Tensor
    contact_FV: Tensor  # uint8, 0 or 1
    contact_known_F: Tensor  # bool
    point_F3: Tensor
    point_known_F: Tensor  # bool
    image_F: Tensor  # int64: latest image at or before the frame inside its clip, -1 where there is none
    images_I: Tensor  # uint8 (I, H, W, 3)
    hand_free_F: Tensor  # int64: latest hand-free image, as image_F
    hand_free_I: Tensor  # uint8, as images_I: pictures from which the hand was removed
    text_F: Tensor  # int64: index into texts
    # Features that came with the data, by the encoders that manifest["features"] names; (0, 0) where there are none.
    image_IF: (
        Tensor  # of the images; where there are no pictures, images_I is empty and image_F points in here
    )
    hand_free_IF: Tensor
    text_XF: Tensor  # of `texts`

    def __len__(self) -> int:
        return len(self.clip_ids)

    @property
    def frames(self) -> int:
        return len(self.transl_F3)

    @property
    def device(self) -> torch.device:
        return self.transl_F3.device

    def to(self, device: str | torch.device) -> "Clips":
        """The same data set with every tensor on `device`."""
        tensors = {
            f.name: getattr(self, f.name) for f in fields(self) if isinstance(getattr(self, f.name), Tensor)
        }
        return replace(self, **{name: tensor.to(device) for name, tensor in tensors.items()})


def read_clips(path: str | os.PathLike[str]) -> Clips:
    """Reads a data set (local or s3://), verifies the sha256 of every shard, resamples to 30 fps.

    Raises ClipsError where the folder or its manifest is missing, a shard is damaged, the schema is another
    one, or the store does not let us in.
    """
    folder = open_folder(path)
    manifest = _manifest(folder)
    # Hashing, decompression and the network all release the GIL.
    with ThreadPoolExecutor(max_workers=4) as pool:
        tables = list(pool.map(lambda shard: _read_shard(folder, shard), manifest["shards"]))
    return assemble(tables, manifest, where=folder.url)


def read_manifest(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The manifest alone: counts, settings, parts, statistics. Raises ClipsError like read_clips."""
    return _manifest(open_folder(path))


def _manifest(folder: Folder) -> dict[str, Any]:
    manifest = folder.manifest()
    if manifest is None:
        raise ClipsError(
            f"{folder.url}: nothing is there; check the path, or make a data set with "
            f"`python -m trainables.prepare world {folder.url}`."
            if folder.is_empty()
            else f"{folder.url}: holds no {MANIFEST}, so it is no data set or its writing was interrupted; "
            "delete it and prepare it again with `python -m trainables.prepare`."
        )
    if manifest.get("schema") not in READABLE_SCHEMAS:
        raise ClipsError(
            f"{folder.url}/{MANIFEST}, field schema: is {manifest.get('schema')!r}, this version reads "
            f"{' and '.join(map(str, READABLE_SCHEMAS))}; rewrite it with "
            f"`python -m trainables.migrate {folder.url}` of the version that wrote it, or prepare it again."
        )
    missing = {"name", "hand", "shards", "settings"} - manifest.keys()
    if missing or not manifest["shards"]:
        raise ClipsError(f"{folder.url}/{MANIFEST}: lacks {', '.join(sorted(missing)) or 'shards'}; {_AGAIN}")
    return manifest


def _read_shard(folder: Folder, shard: dict[str, Any]) -> pa.Table:
    file = f"{folder.url}/{shard['file']}"
    data = folder.read(shard["file"])
    if data is None:
        raise ClipsError(f"{file}: the manifest lists this shard, but it is gone; {_AGAIN}")
    found = hashlib.sha256(data).hexdigest()
    if found != shard["sha256"]:
        raise ClipsError(
            f"{file}: damaged (sha256 {found[:12]}..., the manifest says {shard['sha256'][:12]}...); {_AGAIN}"
        )
    table = pq.read_table(pa.BufferReader(data), use_threads=False)
    table = as_written_now(table)
    if table is None:
        raise ClipsError(f"{file}: its columns are not those of schema {READABLE_SCHEMAS[-1]}; {_AGAIN}")
    return table


def assemble(tables: Sequence[pa.Table], manifest: dict[str, Any], where: str) -> Clips:
    """The tensors of the shards' tables. `where` names the data set in errors."""
    table = pa.concat_tables(tables)
    frames_C = frame_counts(table, where)
    offsets = np.concatenate([[0], np.cumsum(frames_C)])
    first_C, frames = offsets[:-1], int(offsets[-1])
    ids = table["clip_id"].to_pylist()
    if len(set(ids)) != len(ids):
        raise ClipsError(f"{where}, field clip_id: two clips share a name; {_AGAIN}")

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
    images_I = _images(table, "image_png", where)
    hand_free_I = _images(table, "hand_free_png", where)
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
        "contact_FV": contact_maps(table),
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
        raise ClipsError(f"{where}, field {name}: not every entry has a feature of one width; {_AGAIN}")
    return values.reshape(entries, -1)


def _latest(start_I: NDArray[np.int64], first_F: NDArray[np.int64]) -> NDArray[np.int64]:
    """The latest picture at or before each frame; one holds to the end of its clip, -1 where there is none yet.

    start_I: the frame of each picture; first_F: the first frame of each frame's clip.
    """
    latest_F = np.searchsorted(start_I, np.arange(len(first_F)), side="right") - 1
    return np.where(np.append(start_I, -1)[latest_F] >= first_F, latest_F, -1).astype(np.int64)


def _images(table: pa.Table, field: str, where: str) -> NDArray[np.uint8]:
    pngs = [png for chunk in table[field].chunks for png in chunk.flatten().to_pylist()]
    if not pngs:
        return np.zeros((0, IMAGE_SIDE_WHEN_NONE, IMAGE_SIDE_WHEN_NONE, 3), dtype=np.uint8)
    try:
        with ThreadPoolExecutor(max_workers=4) as pool:
            pictures = list(pool.map(decode_png, pngs))
    except OSError as error:
        raise ClipsError(f"{where}, field {field}: holds something that is no picture ({error}).") from error
    shapes = {picture.shape for picture in pictures}
    if len(shapes) > 1 or pictures[0].shape[0] != pictures[0].shape[1]:
        raise ClipsError(
            f"{where}, field {field}: pictures must be square and of one size, not {sorted(shapes)}."
        )
    return np.stack(pictures)
