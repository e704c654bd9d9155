"""LatentAct's published annotation files in the layout that trainables/release_pickles.py describes, from real motion.

Every clip is a stretch of real hand motion seen from a head that moves: the hand is given in each frame's own camera.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from tests.foreign.real_motion import real_fits
from trainables.hand import load_hand
from trainables.recorded_clips import hand_joints, hand_vertices
from trainables.recording import HandParameters

# Lexicographic order is 0, 1000, 100, 200; numeric is 0, 100, 200, 1000.
FILES = (
    "contact_0_100_fix.pkl",
    "contact_100_200_fix.pkl",
    "contact_200_300_fix.pkl",
    "contact_1000_1100_fix.pkl",
)
VERBS = ("grab", "place", "lift", "open", "press", "rotate", "push")
NOUNS = ("gopro", "battery_door", "switch", "dslr", "lens cap", "stool", "tray")
CLIPS_A_FILE = 14
# x forward, y left, z up (HoloLens) from x right, y down, z forward (OpenCV): forward is z, left -x, up -y.
HOLOLENS_FROM_OPENCV = np.array([[0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]], dtype=np.float64)


@dataclass(frozen=True, kw_only=True)
class Truth:
    """One clip as it should come back. camera_to_first in OpenCV axes."""

    video: str
    start: int
    end: int
    text: str
    file: str
    frames: list[int]  # of the range, those in which the hand was found
    parameters: HandParameters
    betas: NDArray[np.float32]  # (n, 10)
    joints_m: NDArray[np.float64]
    camera_to_first: NDArray[np.float64]
    bits: NDArray[np.bool_]
    points: list[NDArray[np.float64]]
    image: NDArray[np.float32]  # a row for every frame of the range
    hand_free: NDArray[np.float32]
    text_feature: NDArray[np.float32]

    @property
    def clip_id(self) -> str:
        return f"{self.video}/{self.start:06d}-{self.end:06d}"

    @property
    def has_gap(self) -> bool:
        return len(self.frames) != self.end - self.start + 1


def truths(
    *, files: Sequence[str] = FILES, clips: int = CLIPS_A_FILE, frames: int = 24, part: str = "holoassist"
) -> list[Truth]:
    """Clips of all files; in each file the fourth has a gap and the fifth a shape that changes between frames."""
    made = []
    for f, file in enumerate(files):
        for c in range(clips):
            rng = np.random.default_rng(1000 * f + c)
            video = (
                f"R{f:03d}-{c // 3}-GoPro" if part == "holoassist" else f"s{f + 1:02d}/box_grab_{c // 2:02d}"
            )
            start, count = 40 * c + 7, frames + c % 3
            kept = [t for t in range(count) if not (c == 3 and t in (5, 6, 11))]
            text = f"{VERBS[(c * 3 + f) % len(VERBS)]} {NOUNS[(c * 5 + 2 * f) % len(NOUNS)]}"
            made.append(_truth(rng, video, start, start + count - 1, text, file, kept, varies=c == 4))
    return made


def _truth(
    rng: np.random.Generator,
    video: str,
    start: int,
    end: int,
    text: str,
    file: str,
    kept: list[int],
    *,
    varies: bool,
) -> Truth:
    hand = load_hand()
    fits = real_fits()
    clip = fits[int(rng.integers(len(fits)))].clip
    begin = int(rng.integers(clip.frames - (end - start)))
    rows = begin + np.array(kept)
    turn, shift = _head(rng, end - start + 1)
    turn, shift = turn[kept], shift[kept]
    betas = np.repeat(np.asarray(clip.betas, np.float32)[None], len(kept), 0)
    if varies:
        betas = betas + rng.normal(0, 0.01, betas.shape).astype(np.float32)
    shape = np.median(betas, axis=0) if varies else betas[0]
    rest = hand.rest_wrist(_tensor(shape)).double().numpy()
    wrist = rest + clip.transl_m[rows] + rng.normal(0, 0.02, 3) - shift
    transl = np.einsum("tji,tj->ti", turn, wrist) - rest
    orient = Rotation.from_matrix(turn).inv() * Rotation.from_rotvec(clip.global_orient[rows])
    parameters = HandParameters(
        global_orient=_float32(orient.as_rotvec()),
        hand_pose=_float32(clip.hand_pose[rows]),
        transl_m=_float32(transl),
        betas=_float32(shape),
    )
    vertices = hand_vertices(hand, parameters)
    bits = clip.contact_bits[rows]
    first = np.concatenate([turn, shift[..., None]], 2)
    span = end - start + 1
    image = rng.normal(0, 1, (span, 768)).astype(np.float32)
    hand_free = rng.normal(0, 1, (span, 768)).astype(np.float32)
    hand_free[3:5] = image[3:5]  # frames that were not inpainted
    words = np.random.default_rng(list(text.encode()))
    return Truth(
        video=video,
        start=start,
        end=end,
        text=text,
        file=file,
        frames=kept,
        parameters=parameters,
        betas=betas,
        joints_m=_float32(hand_joints(hand, parameters)),
        camera_to_first=first,
        bits=bits,
        points=[vertices[t][bits[t]] for t in range(len(kept))],
        image=image,
        hand_free=hand_free,
        text_feature=words.normal(0, 1, 512).astype(np.float32),
    )


def _head(rng: np.random.Generator, count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Camera of each frame to the first one's: a head that turns and moves smoothly."""
    time = np.linspace(0, 1, count)[:, None]
    turn = Rotation.from_rotvec(np.sin(2 * time) * rng.uniform(0.2, 0.5, 3) * rng.choice([-1, 1], 3))
    return turn.as_matrix(), time * rng.uniform(-0.15, 0.15, 3)


def rel_c2c(truth: Truth, *, as_stored: bool = True) -> NDArray[np.float64]:
    """M (n, 4, 4), first camera to the frame's; as the authors store it in HoloLens axes, else in OpenCV's."""
    to_first = np.tile(np.eye(4), (len(truth.frames), 1, 1))
    to_first[:, :3] = truth.camera_to_first
    relative = np.linalg.inv(to_first)
    return HOLOLENS_FROM_OPENCV @ relative @ HOLOLENS_FROM_OPENCV.T if as_stored else relative


def contact_content(
    clips: Sequence[Truth], *, as_stored: bool = True, ref_as_stored: bool = True
) -> dict[str, Any]:
    """The content of a contact pickle. ref_as_stored: joints_ref made with M as it is stored, else with the true one."""
    content: dict[str, list[Any]] = {
        name: [] for name in (
            "joints", "joints_cam", "joints_ref", "thetas", "betas", "cam_t", "rel_c2c", "names", "ranges", "tasks",
            "contacts", "contact_maps",
        )
    }  # fmt: skip
    for truth in clips:
        own, count = truth.parameters, len(truth.frames)
        m = rel_c2c(truth, as_stored=as_stored)
        back = np.linalg.inv(m if ref_as_stored else rel_c2c(truth, as_stored=False))
        joints = truth.joints_m[:, None]
        reference = np.einsum("tij,tbkj->tbki", back[:, :3, :3], joints) + back[:, None, None, :3, 3]
        pose = own.hand_pose.reshape(count, 15, 3)
        entry = {
            "joints": (joints - own.transl_m[:, None, None]).astype(np.float32),
            "joints_cam": joints.astype(np.float32),
            "joints_ref": reference.astype(np.float32),
            "thetas": np.concatenate([own.global_orient[:, None], pose], 1).astype(np.float32),
            "betas": truth.betas,
            "cam_t": own.transl_m[:, None].astype(np.float32),
            "rel_c2c": m,
            "names": truth.video,
            "ranges": (truth.start, truth.end),
            "tasks": truth.text,
            "contacts": truth.points,
            "contact_maps": list(truth.bits.astype(np.int8)),
        }
        for name, value in entry.items():
            content[name].append(value)
    return content


def feature_content(clips: Sequence[Truth], *, hand_free: bool = False) -> dict[str, Any]:
    content: dict[str, dict[tuple[int, int], Any]] = {}
    for truth in clips:
        rows = truth.hand_free if hand_free else truth.image
        content.setdefault(truth.video, {})[truth.start, truth.end] = {
            "name": truth.video,
            "range": (truth.start, truth.end),
            "conv_feat": np.zeros((len(rows), 2048), dtype=np.float32),
            "tf_feat": rows,
            "text_feat": np.repeat(truth.text_feature[None], len(rows), 0),
        }
    return content


def split_lists(clips: Sequence[Truth], order: Sequence[str] = FILES) -> dict[str, dict[str, list[int]]]:
    """settings.json's content: each setting holds out whole groups; ids count the files in `order`."""
    ordered = [truth for file in order for truth in clips if truth.file == file]
    columns = {
        "categories": [truth.text.split(" ", 1)[1] for truth in ordered],
        "actions": [truth.text.split(" ", 1)[0] for truth in ordered],
        "tasks": [truth.text for truth in ordered],
        "instances": [truth.video for truth in ordered],
    }
    lists = {}
    for name, values in columns.items():
        distinct = sorted(set(values))
        part = {
            value: ("test", "val", "train", "val", "test", "train", "train")[i % 7]
            for i, value in enumerate(distinct)
        }
        lists[name] = {
            which: [i for i, value in enumerate(values) if part[value] == which]
            for which in ("train", "val", "test")
        }
    return lists


def write_pickle(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as stream:
        pickle.dump(content, stream)


def write_latentact_release(
    root: Path,
    *,
    part: str = "holoassist",
    files: Sequence[str] = FILES,
    clips: int = CLIPS_A_FILE,
    order: Sequence[str] | None = None,
    features: bool = True,
    as_stored: bool = True,
    ref_as_stored: bool = True,
) -> list[Truth]:
    """Writes <root>/downloads/... and <root>/settings.json (not for ARCTIC); returns what is in them, file by file.

    order: of the files as the lists count them, `files` by default. as_stored: cameras in HoloLens axes.
    """
    if part == "arctic":
        files = ("arctic_train_r.pkl", "arctic_val_r.pkl")
    made = truths(files=files, clips=clips, part=part)
    downloads = root / "downloads"
    contact = downloads / ("holo_contact_dir" if part == "holoassist" else "arctic_contact_dir")
    for file in files:
        own = [truth for truth in made if truth.file == file]
        write_pickle(contact / file, contact_content(own, as_stored=as_stored, ref_as_stored=ref_as_stored))
        if features and part == "arctic":
            name = file.replace("arctic_", "arctic_feats_").replace("_r.pkl", ".pkl")
            write_pickle(downloads / "arctic_video_feats" / name, feature_content(own))
    if part == "arctic":
        return made
    if features:  # cut otherwise than the contact files are
        for half in (0, 1):
            own = [truth for truth in made if int(truth.video[3]) % 2 == half]
            write_pickle(downloads / "holo_video_feats" / f"video_feats_{half}.pkl", feature_content(own))
            free = feature_content(own, hand_free=True)
            write_pickle(downloads / "holo_video_inpaint_feats" / f"inpaint_feats_{half}.pkl", free)
    (root / "settings.json").write_text(json.dumps(split_lists(made, order or files)))
    return made


def _float32(values: Any) -> NDArray[np.float64]:
    """Rounded to float32, as the files hold them."""
    return np.asarray(values, dtype=np.float32).astype(np.float64)


def _tensor(values: Any) -> Any:
    import torch

    return torch.from_numpy(np.asarray(values, dtype=np.float32))
