"""The codebook explorer's page: facts of each code, packed small, and drawn when they come into view.

Poses are joints in steps of two or three millimetres, one byte an axis; the picture of a code is its mean pose, seen on
the palm, with the share of frames in which each vertex touches. So 512 codes of three quantizers stay below 10 MB.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import roma
import torch
from numpy.typing import NDArray

from sweeps.code_facts import NEAREST, OFFSETS, CodeFacts, Neighbour, code_facts
from sweeps.code_script import SCRIPT
from sweeps.code_style import STYLE
from sweeps.errors import SweepError
from sweeps.opened_model import OpenedModel
from sweeps.report_chart import Frame, Ruler, few, line
from trainables.clips import Clips
from trainables.code_use import LIVE_SHARE, CodeUse
from trainables.hand import FINGERS, Hand
from trainables.hand_picture import draw_mesh, is_closed, square_around, webp
from trainables.latentact import LatentAct
from trainables.motion import Pose, joints_first
from trainables.trial import parts_windows
from trainables.windows import Windows
from zoo.inline_page import inline_page

MOST_BYTES = 9_500_000
STRIDE = 4
PICTURE_PX = 120
NEAR_STEP_MM, MOTION_STEP_MM = 2, 3
_SKIN, _TOUCHING = np.array([0.87, 0.76, 0.68]), np.array([0.80, 0.10, 0.06])
_POINTS = 160  # of the curve of use
# From the hand's rest axes (fingers -x, palm -y, thumb +z) to a camera that looks at the palm, fingers up.
_TO_PALM = np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]], dtype=np.float32)
_AWAY_M = 0.7
_BATCH = 512

Say = Callable[[str], object]


def code_page(opened: OpenedModel, clips: Clips, *, most_windows: int, say: Say = lambda line: None) -> str:
    """The page about the codebook of an opened model on the clips of its setting.

    Raises:
        SweepError: the clips were made with another hand.
        ClipsError: they do not have the model's setting.
    """
    model = opened.model
    if clips.hand != model.hand.name:
        raise SweepError(
            f"the clips were made with the hand '{clips.hand}', and '{model.hand.name}' is loaded: set or unset MANO_PATH."
        )
    trial = opened.trial(protocol=model.config.protocol, stride=STRIDE)
    train, val = parts_windows(trial, clips, ("train", "val"))
    told = -1

    def progress(done: int, total: int) -> None:
        nonlocal told
        if (tenth := 10 * done // total) > told:
            told = tenth
            say(f"windows: {done:,} of {total:,}")

    facts = code_facts(model, train, val, most_windows=most_windows, progress=progress)
    say("drawing")
    data = {
        "about": _about(opened, clips, facts),
        "fingers": list(FINGERS),
        "words": facts.words,
        "word_share": _rounded(facts.words_QKN[0].sum(0) / max(facts.words_QKN[0].sum(), 1)),
        "offsets": list(OFFSETS),
        "near_step_mm": NEAR_STEP_MM,
        "motion_step_mm": MOTION_STEP_MM,
        "picture_px": PICTURE_PX,
        "levels": [_level(facts, q) for q in range(len(facts.train.counts_QK))],
    }
    data |= _codes(model, train, facts, clips)
    return inline_page(
        title=f"Codebook of {opened.reference}", style=STYLE, script=SCRIPT, data=data, body=_body(facts)
    )


def _about(opened: OpenedModel, clips: Clips, facts: CodeFacts) -> dict[str, Any]:
    config = opened.model.config
    frames = int(facts.train.counts_QK[0].sum())
    notes = []
    if clips.digest != config.data_digest:
        notes.append(
            f"These are not the clips that trained it ({config.data} {config.data_digest[:16]}): use and neighbours say "
            "how it takes others."
        )
    if config.hand != "mano":
        notes.append(f"Made with the stand-in hand {config.hand}: poses do not carry over to MANO.")
    return {
        "reference": opened.reference,
        "setting": config.setting,
        "data": f"{clips.name} {clips.digest[:16]}",
        "looked": f"{facts.windows:,} training windows of {facts.clips:,} clips ({frames:,} frames)",
        "notes": notes,
        "live_share": LIVE_SHARE,
    }


def _level(facts: CodeFacts, q: int) -> dict[str, Any]:
    """How much of one quantizer's codebook is in use."""
    found: dict[str, Any] = {"codes": facts.train.counts_QK.shape[1]}
    for part, use in (("train", facts.train), ("val", facts.val)):
        perplexity = float(use.perplexity_Q[q])
        found[part] = {
            "perplexity": round(perplexity, 1) if math.isfinite(perplexity) else None,
            "live": round(float(use.live_Q[q]), 4),
            "never": int((use.counts_QK[q] == 0).sum()),
            "frames": int(use.counts_QK[q].sum()),
        }
    return found


def _codes(model: LatentAct, train: Windows, facts: CodeFacts, clips: Clips) -> dict[str, Any]:
    """Every code that is in use, the most used first, and its drawings as far as the page has room for them."""
    counts_QK, val_QK = facts.train.counts_QK.cpu().numpy(), facts.val.counts_QK.cpu().numpy()
    used = sorted(facts.neighbours, key=lambda at: (-int(counts_QK[at]), at))
    names: dict[int, int] = {}
    rows = []
    for at in used:
        near = [
            [names.setdefault(n.clip, len(names)), round(n.time_s, 2), round(n.distance, 2)]
            for n in facts.neighbours[at]
        ]
        best = np.argsort(-facts.words_QKN[at], kind="stable")[:3]
        total = max(int(facts.words_QKN[at].sum()), 1)
        words = [
            [int(n), round(float(facts.words_QKN[at][n]) / total, 3)] for n in best if facts.words_QKN[at][n]
        ]
        fingers = [round(100 * float(share)) for share in facts.fingers_QKF[at]]
        touching = round(100 * float(facts.touching_QK[at]))
        rows.append([*at, int(counts_QK[at]), int(val_QK[at]), touching, fingers, words, near])
    room = MOST_BYTES - 350 * len(rows) - 60 * len(names) - 40_000
    bytes_each = 4 * (63 * (NEAREST + len(OFFSETS))) // 3
    drawn = used[: max(0, room // bytes_each)]
    joints, skin = _posed(model, facts, drawn)
    pictures = _pictures(model.hand, skin, facts, drawn, room - bytes_each * len(drawn))
    return {
        "rows": rows,
        "clips": [clips.clip_ids[clip] for clip in names],
        "near": _base64(_near(train, facts, drawn)),
        "motion": _base64(_steps(joints - joints[:, OFFSETS.index(0), None, :1], MOTION_STEP_MM)),
        "pictures": pictures,
    }


@torch.no_grad()
def _posed(
    model: LatentAct, facts: CodeFacts, codes: list[tuple[int, int]]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Joints (N,O,21,3) of the mean decoded motion, metres, and the skin (N,778,3) of its middle, seen on the palm."""
    hand = model.hand.to("cpu")
    joints, skin = [np.zeros((0, len(OFFSETS), 21, 3), np.float32)], [np.zeros((0, 778, 3), np.float32)]
    motion = model.motion.to("cpu")
    for start in range(0, len(codes), _BATCH):
        mean_NOC = np.stack([facts.motion_QKOC[at] for at in codes[start : start + _BATCH]])
        pose: Pose = motion.decode(torch.from_numpy(mean_NOC), torch.zeros(len(mean_NOC), 1, 3))
        pose.betas_BT10 = pose.betas_BT10.mean(1, keepdim=True).expand_as(pose.betas_BT10)
        joints.append(joints_first(hand, pose).numpy())
        middle = OFFSETS.index(0)
        turn = roma.rotmat_to_rotvec(torch.from_numpy(_TO_PALM)).expand(len(mean_NOC), 3)
        betas = pose.betas_BT10[:, middle]
        place = torch.tensor([0.0, 0.0, _AWAY_M]) - hand.rest_wrist(betas)
        skin.append(hand.vertices(turn, pose.hand_pose_BT45[:, middle], betas, place).numpy())
    return np.concatenate(joints), np.concatenate(skin)


@torch.no_grad()
def _near(train: Windows, facts: CodeFacts, codes: list[tuple[int, int]]) -> NDArray[np.int8]:
    """True joints of the frames nearest to each code, (N, NEAREST, 21, 3), relative to the wrist, camera's axes."""
    asked: list[tuple[int, int, Neighbour]] = [
        (place, i, neighbour)
        for place, at in enumerate(codes)
        for i, neighbour in enumerate(facts.neighbours[at])
    ]
    found = np.zeros((len(codes), NEAREST, 21, 3), np.float32)
    for start in range(0, len(asked), _BATCH):
        some = asked[start : start + _BATCH]
        batch = train.gather(torch.tensor([neighbour.row for _, _, neighbour in some]))
        frames = torch.tensor([neighbour.frame for _, _, neighbour in some])
        joints = batch.joints_ref_BTJ3[torch.arange(len(some)), frames].cpu().numpy()
        for (place, i, _), one in zip(some, joints, strict=True):
            found[place, i] = one - one[:1]
    return _steps(found, NEAR_STEP_MM)


def _pictures(
    hand: Hand,
    skin_NV3: NDArray[np.float32],
    facts: CodeFacts,
    codes: list[tuple[int, int]],
    room_bytes: int,
) -> list[str]:
    """WebP as base64 for each code, as long as there is room."""
    if not codes:
        return []
    faces = hand.faces.cpu().numpy()
    closed, view = is_closed(faces), square_around(skin_NV3)
    found: list[str] = []
    for vertices, at in zip(skin_NV3, codes, strict=True):
        share_V1 = np.sqrt(np.clip(facts.contact_QKV[at], 0, 1))[
            :, None
        ]  # few frames in a hundred are seen, too
        colours = (_SKIN * (1 - share_V1) + _TOUCHING * share_V1).astype(np.float32)
        image = draw_mesh(vertices, faces, colours, view, PICTURE_PX, closed=closed)
        text = _base64_bytes(webp(image, quality=55))
        if (room_bytes := room_bytes - len(text) - 3) < 0:
            break
        found.append(text)
    return found


def _steps(metres: NDArray[np.float32], step_mm: int) -> NDArray[np.int8]:
    return np.clip(np.rint(metres * (1000 / step_mm)), -127, 127).astype(np.int8)


def _base64(array: NDArray[np.int8]) -> str:
    return _base64_bytes(array.tobytes())


def _base64_bytes(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _rounded(values: NDArray[np.floating]) -> list[float]:
    return [round(float(value), 4) for value in values]


def _body(facts: CodeFacts) -> str:
    """The frame of the page; the script fills it. The chart holds numbers alone."""
    return (
        '<header id="top"></header><section id="use"><h2>Use</h2><div id="levels" class="wide" tabindex="0"></div>'
        f'<figure class="chart">{_use_chart(facts.train)}<figcaption class="soft">Share of training frames by code, the most '
        "used first, a line a quantizer. Dashed: all codes used alike.</figcaption></figure></section>"
        '<section id="codes"><h2>Codes</h2><div id="controls"></div><p id="count" class="soft" role="status"></p>'
        '<div id="cards"></div><div id="more"></div></section>'
    )


def _use_chart(use: CodeUse) -> str:
    counts_QK = use.counts_QK.cpu().numpy().astype(float)
    codes = counts_QK.shape[1]
    shares = [np.sort(row / max(row.sum(), 1))[::-1] for row in counts_QK]
    known = [[(rank + 1, float(share)) for rank, share in enumerate(row) if share > 0] for row in shares]
    if not any(known):
        return ""
    frame = Frame(
        x=Ruler.over([1, codes]),
        y=Ruler.over([share for row in known for _, share in row] + [1 / codes], log=True),
        x_unit="rank of the code", y_unit="share of frames, by magnitude", width=720, height=230,
    )  # fmt: skip
    level = frame.up(1 / codes)
    drawn = [f'<path class="even" d="M{frame.across(1):.1f} {level:.1f}H{frame.across(codes):.1f}"/>']
    for q, row in enumerate(known):
        path = line([(frame.across(rank), frame.up(share)) for rank, share in few(row, _POINTS)])
        drawn.append(f'<path class="curve q{min(q, 5)}" d="{path}"/>')
    return (
        f'<svg viewBox="0 0 {frame.width:g} {frame.height:g}" role="img" aria-label="share of frames by code, from the most '
        f'used to the least">{"".join([*frame.grid(), *drawn])}</svg>'
    )
