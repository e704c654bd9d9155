"""Saved results of HaMeR: the right hand of each frame of a video, in MANO's parameters, joints and vertices.

Layouts, a video each, in the order in which `hamer_file` looks for them:

    <video>_masks_hamer.pkl   LatentAct's release: {frame: {"right": hand or None, "left": ...}}; a hand is cam_t (3,),
                              verts (1, 778, 3), joints (1, 21, 3), thetas (1, 16, 3, 3) rotation matrices (wrist first),
                              betas (1, 10). The translation is that of HoloAssist's focal length.
    <video>.pkl               {frame: what HaMeR's demo.py has of n hands}, by its own names:
    <video>/<frame>.npz, .pkl   the same, a file a frame
                              pred_mano_params {global_orient (n, 1, 3, 3), hand_pose (n, 15, 3, 3), betas (n, 10)} (or
                              these three beside the others, for .npz cannot nest), pred_vertices (n, 778, 3),
                              pred_keypoints_3d (n, 21, 3), right (n,), and either pred_cam (n, 3), box_center (n, 2),
                              box_size (n,), img_size (n, 2), or pred_cam_t_full (n, 3) with scaled_focal_length

HaMeR is github.com/geopavlakos/hamer: demo.py, hamer/models/hamer.py, hamer/utils/renderer.py (cam_crop_to_full). It has
no file format of its own for parameters: save what demo.py computes, as numpy arrays. Its rotations are absolute (flat
mean), its joints in OpenPose's order, its vertices without translation.

The network sees a crop and answers with a weak camera (s, tx, ty). In the whole picture, for a box of side b about
(cx, cy) in w x h pixels and focal length f, the hand is at x = 2 (cx - w/2) / (b s) + tx, y alike, z = 2 f / (b s).
Only z depends on f, and demo.py takes one (5000 / 256 of the longer side) that puts hands 25 times too far away: here it
is the camera's own, `focal_px`. The principal point is taken to be the picture's middle. Where one frame has several right
hands, the nearest counts: the wearer's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from trainables.plain_pickle import read_pickle_plainly
from trainables.recording import check_scale
from trainables.saved_results import frame_files, frame_number, results_of
from trainables.source_errors import MissingField, WrongType, WrongValue
from trainables.source_fields import Where, field, npz_arrays, numbers, same_length

HOLOASSIST_FOCAL_PX = 685.88  # of its 896 x 504 pictures, as LatentAct runs HaMeR
FARTHEST_M = 3.0  # no arm reaches so far from a head
_ROTATION_ERROR = 0.01  # of R R^T from the identity: stored in float16 at worst


@dataclass(frozen=True, kw_only=True)
class HamerHand:
    """A right hand in the frame's camera (OpenCV axes), metres and radians, flat mean. All float64.

    The hand model's vertices for these parameters are `verts_m`, with `transl_m` as its translation.
    """

    global_orient: NDArray[np.float64]  # (3,) axis-angle
    hand_pose: NDArray[np.float64]  # (45,) axis-angle
    betas: NDArray[np.float64]  # (10,)
    transl_m: NDArray[np.float64]  # (3,)
    joints_m: NDArray[np.float64]  # (21, 3) OpenPose order
    verts_m: NDArray[np.float64]  # (778, 3)


def hamer_file(folder: Where, video: str) -> Path:
    """The file or folder of a video's hands; where there is none, the one that the release would have."""
    return results_of(folder, (f"{video}_masks_hamer.pkl", f"{video}.pkl", video))


def read_hamer(path: Where, focal_px: float = HOLOASSIST_FOCAL_PX) -> dict[int, HamerHand]:
    """The right hand of each frame that has one, by frame number, ascending.

    focal_px: of the camera, in pixels of the pictures that HaMeR saw; not used for the release's files.
    Raises MissingFile, HostileFile, DamagedFile, and the other SourceErrors with the frame and the field.
    """
    path = Path(path)
    hands = {}
    for frame, entry, file, name in _entries(path):
        hand = _hand(entry, file, name, focal_px)
        if hand is not None:
            hands[frame] = hand
    _check(hands, path)
    return dict(sorted(hands.items()))


def _entries(path: Path) -> list[tuple[int, Any, Path, str]]:
    """(frame, content, file, prefix of field names)."""
    if path.is_dir():
        files = frame_files(path, (".npz", ".pkl"))
        return [
            (i, npz_arrays(f) if f.suffix == ".npz" else read_pickle_plainly(f), f, "")
            for i, f in files.items()
        ]
    content = read_pickle_plainly(path)
    if not isinstance(content, Mapping):
        raise WrongType(path, f"holds a {type(content).__name__}, not a dict of frames; fetch it again.")
    return [(frame_number(key, path), entry, path, f"{key}.") for key, entry in content.items()]


def _hand(entry: Any, file: Path, name: str, focal_px: float) -> HamerHand | None:
    if entry is None:
        return None
    if not isinstance(entry, Mapping):
        raise WrongType(file, f"is a {type(entry).__name__}, not a dict.", field=name.rstrip("."))
    if "pred_vertices" in entry or "pred_mano_params" in entry or "pred_cam" in entry:
        return _from_network(entry, file, name, focal_px)
    hand = entry.get("right")
    if hand is None or (isinstance(hand, Mapping) and not hand):
        return None
    name += "right."

    def take(key: str, *shape: int) -> NDArray[np.float64]:
        return numbers(_without_ones(field(hand, key, file), len(shape)), name + key, file, shape=shape)

    return _made(
        take("thetas", 16, 3, 3), take("betas", 10), take("cam_t", 3), take("joints", 21, 3),
        take("verts", 778, 3), file, name + "thetas",
    )  # fmt: skip


def _from_network(entry: Mapping[str, Any], file: Path, name: str, focal_px: float) -> HamerHand | None:
    parameters = entry.get("pred_mano_params", entry)

    def take(key: str, *shape: int | None, of: Any = entry) -> NDArray[np.float64]:
        return numbers(_value(of, key, file, name), name + key, file, shape=(None, *shape))

    right = take("right")
    parts = {
        "right": right,
        "global_orient": take("global_orient", 1, 3, 3, of=parameters),
        "hand_pose": take("hand_pose", 15, 3, 3, of=parameters),
        "betas": take("betas", 10, of=parameters),
        "pred_keypoints_3d": take("pred_keypoints_3d", 21, 3),
        "pred_vertices": take("pred_vertices", 778, 3),
    }
    if "pred_cam" in entry:
        camera, centre = take("pred_cam", 3), take("box_center", 2)
        side, size = take("box_size"), take("img_size", 2)
        same_length(
            {**parts, "pred_cam": camera, "box_center": centre, "box_size": side, "img_size": size}, file
        )
        scale = side * camera[:, 0]
        if (scale[right > 0.5] <= 0).any():
            raise WrongValue(file, "has a scale of nought or less; run HaMeR again.", field=f"{name}pred_cam")
        with np.errstate(divide="ignore", invalid="ignore"):
            beside = (2 * centre - size) / scale[:, None] + camera[:, 1:]
            transl = np.concatenate([beside, 2 * focal_px / scale[:, None]], axis=1)
    elif "pred_cam_t_full" in entry:
        stored = _value(entry, "scaled_focal_length", file, name)
        stored_px = numbers(np.ravel(stored)[:1], f"{name}scaled_focal_length", file, shape=(1,), low=1)[0]
        transl = take("pred_cam_t_full", 3) * [1, 1, focal_px / stored_px]
        same_length({**parts, "pred_cam_t_full": transl}, file)
    else:
        raise MissingField(
            file,
            "is missing; save it with box_center, box_size and img_size, or pred_cam_t_full with "
            "scaled_focal_length.",
            field=f"{name}pred_cam",
        )
    found = np.flatnonzero(right > 0.5)
    if not len(found):
        return None
    n = found[np.argmin(transl[found, 2])]
    turns = np.concatenate([parts["global_orient"][n], parts["hand_pose"][n]])
    joints, vertices = parts["pred_keypoints_3d"][n], parts["pred_vertices"][n]
    return _made(turns, parts["betas"][n], transl[n], joints, vertices, file, f"{name}hand_pose")


def _made(
    turns_16x3x3: NDArray[np.float64],
    betas: NDArray[np.float64],
    transl_m: NDArray[np.float64],
    joints_m: NDArray[np.float64],
    verts_m: NDArray[np.float64],
    file: Path,
    name: str,
) -> HamerHand:
    off = np.abs(turns_16x3x3 @ turns_16x3x3.transpose(0, 2, 1) - np.eye(3)).max()
    if off > _ROTATION_ERROR or (np.linalg.det(turns_16x3x3) < 0).any():
        raise WrongValue(file, "holds matrices that are no rotations; fetch the file again.", field=name)
    rotvec = Rotation.from_matrix(turns_16x3x3).as_rotvec()
    return HamerHand(
        global_orient=rotvec[0],
        hand_pose=rotvec[1:].reshape(45),
        betas=betas,
        transl_m=transl_m,
        joints_m=joints_m + transl_m,
        verts_m=verts_m + transl_m,
    )


def _check(hands: Mapping[int, HamerHand], path: Path) -> None:
    if not hands:
        return
    check_scale(np.stack([hand.joints_m for hand in hands.values()]), file=str(path), field="joints")
    depth = float(np.median([hand.transl_m[2] for hand in hands.values()]))
    if not 0 < depth < FARTHEST_M:
        raise WrongValue(
            path,
            f"hands are {depth:.3g} m away: the translation belongs to another focal length (HaMeR's own default?); "
            "save pred_cam, box_center, box_size and img_size, or run it with the camera's.",
            field="cam_t",
        )


def _value(content: Any, key: str, file: Path, name: str) -> Any:
    if not isinstance(content, Mapping) or key not in content:
        raise MissingField(file, "is missing; save all that the layout names.", field=name + key)
    return content[key]


def _without_ones(value: Any, ndim: int) -> Any:
    """Without the leading axes of length one that batches of one leave."""
    while isinstance(value, np.ndarray) and value.ndim > ndim and len(value) == 1:
        value = value[0]
    return value
