"""The right hand over a HoloAssist recording, and the stretch of each action in which it is seen without a break."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from trainables.clip_format import WINDOW_FPS
from trainables.holoassist_actions import Action
from trainables.holoassist_axes import from_room, to_room
from trainables.holoassist_tracks import Tracks
from trainables.recording import MIN_FRAMES, SPEED_LIMIT_M_PER_S, HandParameters, check_scale, longest_run

if TYPE_CHECKING:
    from trainables.hamer_results import HamerHand

VERSION = 1  # raised when the same tracks would give other hands
FILLED_FRAMES = 2  # a gap of so few frames (67 ms at 30 fps) is bridged in the room; a longer one is a break
NO_HAND = "no right hand is seen"
BROKEN = "the right hand is not seen for a second without a break"
PAST_END = "begins after the video's end"


@dataclass(frozen=True, kw_only=True)
class HandFrames:
    """The right hand in N frames of a recording."""

    joints_m: NDArray[np.float64]  # (N, 21, 3) in the frame's camera, NaN where it is not seen
    seen: NDArray[np.bool_]  # (N,)
    filled: NDArray[np.bool_]  # (N,) between two that are seen: made up
    parameters: HandParameters | None = None  # of N frames, betas (N, 10)


class Run(NamedTuple):
    """Frames begin to end-1 of the video, in which an action's hand is seen without a break."""

    action: int  # index
    begin: int
    end: int
    fps: float


def hololens_hands(tracks: Tracks, file: str) -> HandFrames:
    """From the headset's own joints. `file` is named in errors. Raises WrongValue where they are no hand's size."""
    joints = from_room(tracks.camera, tracks.joints_room_m)
    return _whole(tracks, joints, None, file)


def hamer_hands(tracks: Tracks, hands: Mapping[int, HamerHand], file: str) -> HandFrames:
    """From HaMeR's results by frame number. Raises WrongValue."""
    frames = [i for i in sorted(hands) if 0 <= i < len(tracks.seconds)]
    count = len(tracks.seconds)

    def laid_out(name: str, *shape: int) -> NDArray[np.float64]:
        values = np.full((count, *shape), np.nan)
        for i in frames:
            values[i] = getattr(hands[i], name)
        return values

    parameters = HandParameters(
        global_orient=laid_out("global_orient", 3),
        hand_pose=laid_out("hand_pose", 45),
        transl_m=laid_out("transl_m", 3),
        betas=laid_out("betas", 10),
    )
    return _whole(tracks, laid_out("joints_m", 21, 3), parameters, file)


def _whole(
    tracks: Tracks, joints_m: NDArray[np.float64], parameters: HandParameters | None, file: str
) -> HandFrames:
    seen = tracks.posed & np.isfinite(joints_m.reshape(-1, 63)).all(1)
    check_scale(joints_m[seen], file=file, field="joints")
    seen &= _in_picture(tracks, joints_m)
    joints_m = np.where(seen[:, None, None], joints_m, np.nan)
    hands = HandFrames(joints_m=joints_m, seen=seen, filled=np.zeros_like(seen), parameters=parameters)
    return _bridged(tracks, hands)


def _in_picture(tracks: Tracks, joints_m: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether the joints' mean lies in front of the camera and in its picture: the headset tracks hands further out."""
    middle = joints_m.mean(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        pixel = middle @ tracks.matrix.T
        pixel = pixel[:, :2] / pixel[:, 2:]
        return (middle[:, 2] > 0) & ((pixel >= 0) & (pixel < tracks.size_px)).all(1)


def _bridged(tracks: Tracks, hands: HandFrames) -> HandFrames:
    """Gaps of at most FILLED_FRAMES filled in, straight in the room (rotations on the sphere)."""
    at = np.flatnonzero(hands.seen)
    gaps = np.diff(at) - 1
    pairs = [
        (int(a), i, int(a + gap + 1))
        for a, gap in zip(at, gaps, strict=False)
        if 0 < gap <= FILLED_FRAMES
        for i in range(a + 1, a + gap + 1)
        if tracks.posed[i]
    ]
    if not pairs:
        return hands
    a, i, b = np.array(pairs).T
    part = (tracks.seconds[i] - tracks.seconds[a]) / (tracks.seconds[b] - tracks.seconds[a])
    joints = hands.joints_m.copy()
    room_a, room_b = (to_room(tracks.camera[k], joints[k]) for k in (a, b))
    joints[i] = from_room(tracks.camera[i], room_a + part[:, None, None] * (room_b - room_a))
    seen, filled = hands.seen.copy(), hands.filled.copy()
    seen[i] = filled[i] = True
    parameters = hands.parameters
    if parameters is not None:
        orient, pose = parameters.global_orient.copy(), parameters.hand_pose.copy()
        transl, betas = parameters.transl_m.copy(), parameters.betas.copy()
        turned_a, turned_b, back = (Rotation.from_matrix(tracks.camera[k, :, :3]) for k in (a, b, i))
        hand_a, hand_b = (
            turned * Rotation.from_rotvec(orient[k]) for turned, k in ((turned_a, a), (turned_b, b))
        )
        orient[i] = (back.inv() * _between(hand_a, hand_b, part)).as_rotvec()
        bent_a, bent_b = (Rotation.from_rotvec(pose[k].reshape(-1, 3)) for k in (a, b))
        pose[i] = _between(bent_a, bent_b, np.repeat(part, 15)).as_rotvec().reshape(-1, 45)
        betas[i] = betas[a] + part[:, None] * (betas[b] - betas[a])
        # MANO turns about the wrist's rest position, so wrist - transl is the same for every pose of a shape.
        rest = [hands.joints_m[k, 0] - transl[k] for k in (a, b)]
        transl[i] = joints[i, 0] - (rest[0] + part[:, None] * (rest[1] - rest[0]))
        parameters = HandParameters(global_orient=orient, hand_pose=pose, transl_m=transl, betas=betas)
    return replace(hands, joints_m=joints, seen=seen, filled=filled, parameters=parameters)


def _between(one: Rotation, other: Rotation, part: NDArray[np.float64]) -> Rotation:
    """Slerp of rotations pair by pair (Shoemake 1985)."""
    return one * Rotation.from_rotvec((one.inv() * other).as_rotvec() * part[:, None])


def unbroken_runs(
    tracks: Tracks, hands: HandFrames, actions: Sequence[Action]
) -> tuple[list[Run], Counter[str]]:
    """Each action's longest stretch in which the hand is seen, moves at most at SPEED_LIMIT_M_PER_S in the room, and no
    frame of the video is left out; and how many actions have none that holds a window, by reason."""
    room = to_room(tracks.camera, hands.joints_m)
    step_s = np.diff(tracks.seconds)
    speed = np.linalg.norm(np.diff(room, axis=0), axis=-1).max(-1) / step_s
    with np.errstate(invalid="ignore"):
        joined = (speed <= SPEED_LIMIT_M_PER_S) & (step_s <= 2 * np.median(step_s))
    joined &= hands.seen[1:] & hands.seen[:-1]
    runs: list[Run] = []
    lost: Counter[str] = Counter()
    for number, action in enumerate(actions):
        last = min(action.last, len(hands.seen) - 1)
        if action.first >= last:
            lost[PAST_END] += 1
            continue
        begin, end = longest_run(joined[action.first : last])
        begin, end = begin + action.first, end + action.first
        fps = round((end - begin - 1) / float(tracks.seconds[end - 1] - tracks.seconds[begin] or 1), 4)
        if fps > 0 and int((end - begin - 1) * WINDOW_FPS / fps + 1e-6) + 1 >= MIN_FRAMES:
            runs.append(Run(number, begin, end, fps))
        else:
            lost[BROKEN if hands.seen[action.first : last + 1].any() else NO_HAND] += 1
    return runs, lost
