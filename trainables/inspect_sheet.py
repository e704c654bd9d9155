"""The contact sheet: clips chosen at random and those that findings point at, each as a strip of a few frames."""

from __future__ import annotations

import hashlib
import io
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from trainables.clip_folder import Folder
from trainables.clip_format import FRAME_SHAPES, GROUPS, VERTICES
from trainables.clip_reader import shard_tables
from trainables.clip_table import contact_bytes, list_values
from trainables.hand import Hand
from trainables.hand_picture import Square, draw_mesh, is_closed, square_around, webp
from trainables.inspect_figures import Figures
from trainables.inspect_findings import SEVERITIES, Finding

AT_RANDOM, POINTED_AT = 24, 12
FRAMES, SIDE_PX = 5, 160
SKIN, UNKNOWN, TOUCHING = (0.87, 0.76, 0.68), (0.66, 0.70, 0.78), (0.88, 0.18, 0.10)
_POINT = (20, 120, 255, 255)
# OpenPose: the wrist, then four joints a finger.
_BONES = [
    (0 if bone == 0 else 4 * finger + bone, 4 * finger + bone + 1) for finger in range(5) for bone in range(4)
]


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One clip of the sheet: pictures as WebP bytes, five frames side by side."""

    clip_id: str
    why: str  # the finding that points at it, "" for one chosen at random
    strip: bytes
    pictures: bytes | None
    frames: list[int]
    texts: list[str]
    groups: dict[str, str]
    facts: str


def choose(figures: Figures, findings: Sequence[Finding], digest: str, seed: int) -> dict[int, str]:
    """clip -> why: the worst of each finding, gravest first, then clips at random (the same for the same data)."""
    row = {clip_id: i for i, clip_id in enumerate(figures.ids)}
    ordered = sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))
    chosen: dict[int, str] = {}
    for rank in range(POINTED_AT):
        for finding in ordered:
            if rank < len(finding.examples) and len(chosen) < POINTED_AT and finding.check not in _NOT_SHOWN:
                clip_id, value = finding.examples[rank]
                if clip_id in row:
                    chosen.setdefault(row[clip_id], f"{finding.check}: {value}")
    number = int.from_bytes(hashlib.sha256(f"{digest} {seed}".encode()).digest()[:8], "big")
    for clip in sorted(random.Random(number).sample(range(len(figures)), min(AT_RANDOM, len(figures)))):
        chosen.setdefault(clip, "")
    return chosen


_NOT_SHOWN = (
    "camera unknown",
    "contact unknown",
    "in no part",
    "empty text",
    "short clip",
)  # nothing to see there


def draw_clips(
    folder: Folder, manifest: dict[str, Any], figures: Figures, chosen: dict[int, str], hand: Hand | None
) -> list[Shown]:
    """The chosen clips, in the order of `chosen`. hand: None draws the stored joints in place of the skin."""
    numbers = sorted({figures.shards[clip] for clip in chosen})
    wanted = {**manifest, "shards": [manifest["shards"][number] for number in numbers]}
    closed = hand is not None and is_closed(hand.faces.numpy())
    drawn: dict[int, Shown] = {}
    for number, table in zip(numbers, shard_tables(folder, wanted), strict=True):
        rows = {clip_id: i for i, clip_id in enumerate(table["clip_id"].to_pylist())}
        for clip, why in chosen.items():
            if figures.shards[clip] == number:
                row = table.slice(rows[figures.ids[clip]], 1).combine_chunks()
                drawn[clip] = _draw(row, why, hand, closed)
    return [drawn[clip] for clip in chosen]


def _draw(row: pa.Table, why: str, hand: Hand | None, closed: bool) -> Shown:
    flat = {name: list_values(row, name).reshape(-1, *shape) for name, shape in FRAME_SHAPES.items()}
    frames = np.unique(np.linspace(0, len(flat["joints_m"]) - 1, FRAMES).round().astype(int))
    joints, points = flat["joints_m"][frames], flat["contact_point_m"][frames]
    packed, every_known = contact_bytes(row), list_values(row, "contact_known").astype(np.bool_)
    bits, known = np.unpackbits(packed[frames], axis=1, count=VERTICES).astype(np.bool_), every_known[frames]
    skins = _skins(hand, flat, list_values(row, "betas"), frames)
    strip = Image.new("RGBA", (SIDE_PX * FRAMES, SIDE_PX))
    for i, view in enumerate(_views(joints if skins is None else skins)):
        if skins is None or hand is None:
            tile = _skeleton(joints[i], view)
        else:
            colours = np.tile(np.array(SKIN if known[i] else UNKNOWN, dtype=np.float32), (VERTICES, 1))
            colours[bits[i] & known[i]] = TOUCHING
            tile = Image.fromarray(
                draw_mesh(skins[i], hand.faces.numpy(), colours, view, SIDE_PX, closed=closed)
            )
        _mark(tile, points[i], view)
        strip.paste(tile, (SIDE_PX * i, 0))
    value = {name: row[name][0].as_py() for name in ("clip_id", "fps", *GROUPS)}
    touching = float(packed[every_known].any(1).mean()) if every_known.any() else None
    told = "contact unknown" if touching is None else f"touches in {touching:.0%} of frames"
    return Shown(
        clip_id=value["clip_id"],
        why=why,
        strip=webp(np.asarray(strip)),
        pictures=_pictures(row, frames),
        frames=frames.tolist(),
        texts=row["text"][0].as_py(),
        groups={name: value[name] for name in GROUPS if value[name] is not None},
        facts=f"{len(flat['joints_m'])} frames at {value['fps']:g} fps, {told}",
    )


def _skins(hand: Hand | None, flat: dict[str, Any], betas: Any, frames: Any) -> NDArray[np.float32] | None:
    """Skin vertices (frames, 778, 3), metres; None where there is no such hand, or no finite parameters."""
    pose = [flat[name][frames] for name in ("global_orient", "hand_pose", "transl_m")]
    if hand is None or not all(np.isfinite(values).all() for values in (*pose, betas)):
        return None
    orient, angles, transl = (torch.from_numpy(values) for values in pose)
    shape = torch.from_numpy(np.ascontiguousarray(betas)).expand(len(frames), 10)
    with torch.no_grad():
        return hand.vertices(orient, angles, shape, transl).numpy()


def _views(points_TN3: NDArray[np.float32]) -> list[Square]:
    """What each frame shows: one scale for all, the hand large; where it moves far, the view follows it part of the way."""
    whole, own = square_around(points_TN3), [square_around(points) for points in points_TN3]
    hand = max(square.half for square in own)
    half = min(whole.half, 1.2 * hand)
    farthest = max(max(abs(square.x - whole.x), abs(square.y - whole.y)) for square in own)
    follow = max(0.0, 1 - (half - hand) / max(farthest, 1e-9))
    return [
        Square(whole.x + follow * (square.x - whole.x), whole.y + follow * (square.y - whole.y), half)
        for square in own
    ]


def _skeleton(joints_m: NDArray[np.float32], view: Square) -> Image.Image:
    tile = Image.new("RGBA", (2 * SIDE_PX, 2 * SIDE_PX))
    if np.isfinite(joints_m).all() and (joints_m[:, 2] > 0).all():
        places = [tuple(map(float, place)) for place in view.pixels(joints_m, 2 * SIDE_PX)]
        pen = ImageDraw.Draw(tile)
        for a, b in _BONES:
            pen.line((places[a], places[b]), fill=(200, 150, 120, 255), width=6)
    return tile.resize((SIDE_PX, SIDE_PX), Image.Resampling.LANCZOS)


def _mark(tile: Image.Image, point_m: NDArray[np.float32], view: Square) -> None:
    if np.isnan(point_m).any() or point_m[2] <= 0:
        return
    x, y = (float(value) for value in view.pixels(point_m, SIDE_PX))
    pen = ImageDraw.Draw(tile)
    pen.ellipse((x - 4, y - 4, x + 4, y + 4), fill=(255, 255, 255, 255))
    pen.ellipse((x - 3, y - 3, x + 3, y + 3), fill=_POINT)


def _pictures(row: pa.Table, frames: NDArray[np.int64]) -> bytes | None:
    """The latest picture at or before each frame, side by side; empty where there is none yet."""
    at, pngs = np.asarray(row["image_frame"][0].as_py()), row["image_png"][0]
    if not len(pngs):
        return None
    tiles: list[Image.Image | None] = []
    for index in np.searchsorted(at, frames, side="right") - 1:
        if index < 0:
            tiles.append(None)
            continue
        with Image.open(io.BytesIO(pngs[int(index)].as_py())) as picture:
            tiles.append(picture.convert("RGB"))
    side = min(SIDE_PX, max((tile.width for tile in tiles if tile), default=SIDE_PX))
    gap = max(1, side // 40)
    strip = Image.new("RGBA", ((side + gap) * FRAMES - gap, side))
    for i, tile in enumerate(tiles):
        if tile is not None:
            strip.paste(tile.resize((side, side)), ((side + gap) * i, 0))
    return webp(np.asarray(strip), quality=72)


def contact_picture(hand: Hand, share_V: NDArray[np.float64]) -> bytes:
    """How often each vertex touches, drawn on the flat hand: palm and back, side by side, WebP bytes."""
    zero = torch.zeros(1, 3)
    with torch.no_grad():
        skin = hand.vertices(zero, torch.zeros(1, 45), torch.zeros(1, 10), zero)[0].numpy()
    heat = (share_V / max(share_V.max(), 1e-9))[:, None]
    low, middle, high = (np.array(colour) for colour in (SKIN, (0.96, 0.62, 0.20), (0.62, 0.04, 0.10)))
    colours = np.where(heat < 0.5, low + (middle - low) * heat * 2, middle + (high - middle) * (heat * 2 - 1))
    # Fingers (-x) up; the palm faces -y, the back +y: rows are the camera's axes (right, down, away from the eye).
    views = [[[0, 0, 1], [1, 0, 0], [0, 1, 0]], [[0, 0, -1], [1, 0, 0], [0, -1, 0]]]
    tiles = []
    for rows in views:
        seen = skin @ np.array(rows, dtype=np.float32).T + np.array([0, 0, 2], dtype=np.float32)
        tiles.append(
            draw_mesh(seen, hand.faces.numpy(), colours.astype(np.float32), square_around(seen), 280)
        )
    return webp(np.concatenate(tiles, axis=1), quality=85)
