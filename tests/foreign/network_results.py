"""Saved results of other networks as those projects write them: HaMeR's hands, SAM 2's masks, inpainted frames.

Sources of the layouts: trainables/hamer_results.py, sam2_results.py, inpainted_frames.py. Files are made with the
libraries that those projects save with (pickle, numpy, Pillow, json).
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.spatial.transform import Rotation

from trainables.depth_buffer import render_depth
from trainables.hand import Hand
from trainables.recorded_clips import hand_joints, hand_vertices
from trainables.recording import HandParameters

HOLOASSIST_PX = (504, 896)
HOLOASSIST_MATRIX = np.array([[685.88, 0.0, 448.0], [0.0, 685.88, 252.0], [0.0, 0.0, 1.0]])
HAMER_FOCAL_PX = 5000 / 256 * 896  # demo.py's scaled_focal_length for a picture of 896 x 504
Masks = Mapping[int, NDArray[np.bool_]]


def write_hamer_release(
    folder: Path,
    video: str,
    hand: Hand,
    parameters: HandParameters,
    frames: list[int],
    missed: tuple[int, ...] = (),
) -> Path:
    """<video>_masks_hamer.pkl; `missed` frames have no right hand, every frame's left hand lies elsewhere."""
    turns, betas, transl, joints, vertices = _parts(hand, parameters)
    content: dict[int, dict[str, Any]] = {}
    for row, frame in enumerate(frames):
        right = {
            "cam_t": transl[row],
            "verts": vertices[row : row + 1],
            "joints": joints[row : row + 1],
            "thetas": turns[row : row + 1],
            "betas": betas[row : row + 1],
        }
        left = right | {"cam_t": transl[row] - np.float32([0.3, 0, 0])}
        content[frame] = {"right": None if frame in missed else right, "left": left}
    return _pickled(folder / f"{video}_masks_hamer.pkl", content)


def write_hamer_demo(
    folder: Path, video: str, hand: Hand, parameters: HandParameters, frames: list[int], layout: str = "npz"
) -> Path:
    """demo.py's variables of two hands a frame, a left one first. layout: "npz", "pkl" (files a frame), "video" (one
    pickle), or "full" (one pickle with pred_cam_t_full and scaled_focal_length in place of the crop's camera)."""
    turns, betas, transl, joints, vertices = _parts(hand, parameters)
    size = np.float32([HOLOASSIST_PX[1], HOLOASSIST_PX[0]])
    focal = HOLOASSIST_MATRIX[0, 0]
    content: dict[int, dict[str, Any]] = {}
    for row, frame in enumerate(frames):
        seen = (joints[row] + transl[row]) @ HOLOASSIST_MATRIX.T
        pixels = seen[:, :2] / seen[:, 2:]
        centre, side = (
            (pixels.min(0) + pixels.max(0)) / 2,
            2 * np.ptp(pixels, axis=0).max(),
        )  # rescale_factor 2
        scale = 2 * focal / (side * transl[row, 2])
        weak = [scale, *(transl[row, :2] - (2 * centre - size) / (side * scale))]
        left = [scale, -0.5, 0.1]  # nearer in no way, and not to be taken
        entry: dict[str, Any] = {
            "pred_mano_params": {
                "global_orient": np.stack([turns[row, :1]] * 2),
                "hand_pose": np.stack([turns[row, 1:]] * 2),
                "betas": np.stack([betas[row]] * 2),
            },
            "pred_vertices": np.stack([vertices[row]] * 2),
            "pred_keypoints_3d": np.stack([joints[row]] * 2),
            "right": np.float32([0, 1]),
        }
        if layout == "full":
            far = transl[row] * [1, 1, HAMER_FOCAL_PX / focal]
            entry |= {
                "pred_cam_t_full": np.float32([far - [0.3, 0, 0], far]),
                "scaled_focal_length": HAMER_FOCAL_PX,
            }
        else:
            entry |= {
                "pred_cam": np.float32([left, weak]),
                "box_center": np.float32([centre] * 2),
                "box_size": np.float32([side] * 2),
                "img_size": np.stack([size] * 2),
            }
        content[frame] = entry
    if layout in ("video", "full"):
        return _pickled(folder / f"{video}.pkl", content)
    (folder / video).mkdir(parents=True, exist_ok=True)
    for frame, entry in content.items():
        if layout == "npz":
            flat = {k: v for k, v in entry.items() if k != "pred_mano_params"} | entry["pred_mano_params"]
            np.savez(folder / video / f"{frame:06d}.npz", **flat)
        else:
            _pickled(folder / video / f"{frame:06d}.pkl", entry)
    return folder / video


def write_masks_release(folder: Path, video: str, masks: Masks) -> Path:
    """<video>_obj_masks.pkl with Pillow's pictures of mode "1" and xyxy boxes."""
    content = {}
    for frame, mask in masks.items():
        rows, columns = np.nonzero(mask)
        box = [columns.min(), rows.min(), columns.max(), rows.max()] if len(rows) else [0, 0, 0, 0]
        content[frame] = {"mask": Image.fromarray(mask), "box": np.array(box)}
    return _pickled(folder / f"{video}_obj_masks.pkl", content)


def write_masks_vos(folder: Path, video: str, objects: Mapping[int, Masks], per_object: bool) -> Path:
    """tools/vos_inference.py's PNGs: `objects` by number, packed into one palette picture a frame or a folder each."""
    frames = sorted({frame for masks in objects.values() for frame in masks})
    palette = [channel for i in range(256) for channel in (i, 255 - i, i // 2)]
    for frame in frames:
        packed = None
        for number in sorted(objects, reverse=True):  # the lowest number lies on top
            mask = objects[number].get(frame)
            if mask is None:
                continue
            if per_object:
                _png(folder / video / f"{number:03d}" / f"{frame:06d}.png", mask.astype(np.uint8), palette)
                continue
            packed = np.zeros(mask.shape, dtype=np.uint8) if packed is None else packed
            packed[mask] = number
        if packed is not None:
            _png(folder / video / f"{frame:06d}.png", packed, palette)
    return folder / video


def write_masks_sa_v(folder: Path, video: str, objects: Mapping[int, Masks], frame_count: int) -> Path:
    """<video>_manual.json: every fourth frame, a COCO code for each object."""
    size = next(iter(next(iter(objects.values())).values())).shape
    nothing = np.zeros(size, dtype=bool)
    content = {
        "video_id": video,
        "video_frame_count": float(frame_count),
        "video_height": float(size[0]),
        "video_width": float(size[1]),
        "masklet": [
            [encode_runs(masks.get(frame, nothing)) for masks in objects.values()]
            for frame in range(0, frame_count, 4)
        ],
        "masklet_id": list(objects),
        "masklet_num": len(objects),
    }
    return _json(folder / f"{video}_manual.json", content)


def write_masks_segments(folder: Path, video: str, objects: Mapping[int, Masks], kind: str) -> Path:
    """The dict `video_segments`, {frame: {object: mask}}: kind "json" (COCO codes) or "pkl" (bool arrays (1, H, W))."""
    frames = sorted({frame for masks in objects.values() for frame in masks})
    content = {f: {n: masks[f] for n, masks in objects.items() if f in masks} for f in frames}
    if kind == "pkl":
        return _pickled(
            folder / f"{video}.pkl", {f: {n: m[None] for n, m in each.items()} for f, each in content.items()}
        )
    coded = {str(f): {str(n): encode_runs(m) for n, m in each.items()} for f, each in content.items()}
    return _json(folder / f"{video}.json", coded)


def write_inpainted(
    folder: Path, video: str, pictures: Mapping[int, NDArray[np.uint8]], suffix: str = "png"
) -> None:
    for frame, picture in pictures.items():
        path = folder / video / f"{frame:06d}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(path)


def encode_runs(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """COCO's run-length code, compressed, as pycocotools.mask.encode gives it (with counts as text, for JSON)."""
    flat = np.concatenate([[False], mask.T.ravel(), [not mask.T.ravel()[-1]]])
    edges = np.flatnonzero(flat[1:] != flat[:-1])
    runs = np.diff(np.concatenate([[0], edges])).tolist()
    text = []
    for i, run in enumerate(runs):
        value = run - (runs[i - 2] if i > 2 else 0)
        while True:
            bits, value = value & 31, value >> 5
            more = value != (-1 if bits & 16 else 0)
            text.append(chr(48 + bits + 32 * more))
            if not more:
                break
    return {"size": list(mask.shape), "counts": "".join(text)}


def seen_mask(
    hand_m: NDArray[np.float64],
    hand_faces: NDArray[np.int64],
    object_m: NDArray[np.float64],
    object_faces: NDArray[np.int64],
    matrix: NDArray[np.float64] = HOLOASSIST_MATRIX,
    size: tuple[int, int] = HOLOASSIST_PX,
) -> NDArray[np.bool_]:
    """The object's pixels (H, W) that the hand does not hide: what a perfect segmentation would give."""
    depth = []
    for vertices, faces in ((hand_m, hand_faces), (object_m, object_faces)):
        buffer = render_depth(vertices, faces, matrix, size)
        whole = np.full(size, np.inf)
        height, width = buffer.mask.shape
        whole[buffer.top : buffer.top + height, buffer.left : buffer.left + width] = buffer.first_m
        depth.append(whole)
    return depth[1] < depth[0]


def _parts(hand: Hand, parameters: HandParameters) -> tuple[NDArray[np.float32], ...]:
    """Rotation matrices (T, 16, 3, 3), betas (T, 10), translation (T, 3), joints and vertices without it."""
    pose = np.concatenate([parameters.global_orient, parameters.hand_pose], axis=1).reshape(-1, 3)
    turns = Rotation.from_rotvec(pose).as_matrix().reshape(-1, 16, 3, 3)
    transl = parameters.transl_m
    joints = hand_joints(hand, parameters) - transl[:, None]
    vertices = hand_vertices(hand, parameters) - transl[:, None]
    betas = np.broadcast_to(parameters.betas, (len(transl), 10))
    return tuple(part.astype(np.float32) for part in (turns, betas, transl, joints, vertices))


def _pickled(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content))
    return path


def _json(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def _png(path: Path, pixels: NDArray[np.uint8], palette: list[int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(pixels)
    picture.putpalette(palette)
    picture.save(path)
