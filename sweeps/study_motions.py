"""The motions of a user study: which clips, and what two models (or a model and the truth) make of the same inputs.

Clips are drawn by the seed, held-out group by group in turn, one window a clip, and never by what anything looks like
or how large an error is. Only windows whose camera is known throughout take part, for else the truth cannot be shown.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sweeps.cross_data import Asked, asked_clips, asked_group, long_enough
from sweeps.errors import SweepError
from sweeps.opened_model import OpenedModel
from sweeps.seen_pictures import as_the_model_sees, check_features
from sweeps.study_design import BROKEN, TRUE
from sweeps.training_overlap import overlap_notes
from trainables.clips import Clips, encode_png
from trainables.hand import Hand
from trainables.latentact import Prediction
from trainables.motion import to_first, vertices_first
from trainables.trial import clips_windows
from trainables.windows import Batch, Windows

_CHECKED = 64  # clips looked through for those that move most


@dataclass(frozen=True, kw_only=True)
class Motion:
    """T frames in the window's first camera, metres."""

    vertices_m: NDArray[np.float32]  # (T,V,3)
    joints_m: NDArray[np.float32]  # (T,21,3)
    contact: NDArray[np.bool_]  # (T,V): drawn as touching


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One window, and its two motions by their source. point_m: (3,) in the first camera, the input, where there is one."""

    clip_id: str
    start: int
    group: str
    text: str
    photo_png: bytes | None
    point_m: NDArray[np.float32] | None
    motions: dict[str, Motion]


def check_models(opened: Sequence[OpenedModel], clips: Clips, asked: Asked) -> list[str]:
    """What must be said beside the study. Raises SweepError where models and data do not go together."""
    for field in ("mode", "window", "hand"):
        if len(values := {getattr(one.model.config, field) for one in opened}) > 1:
            raise SweepError(
                f"the models differ in {field} ({', '.join(map(str, sorted(values)))}), so that raters would not compare "
                "like with like; choose two of one kind."
            )
    notes: list[str] = []
    for one in opened:
        if clips.hand != one.model.config.hand:
            raise SweepError(
                f"data set {clips.name!r} was made with the hand '{clips.hand}' and {one.reference} was trained with "
                f"'{one.model.config.hand}': prepare the data again with that hand, or choose another model."
            )
        notes += overlap_notes(one, clips, asked.split, asked.part)
        if asked.protocol != one.model.config.protocol:
            notes.append(
                f"The contact point is given by protocol {asked.protocol}; {one.reference} was trained with "
                f"{one.model.config.protocol}."
            )
    if clips.hand != "mano":
        notes.append(f"Made with the stand-in hand {clips.hand}.")
    return list(dict.fromkeys(notes))


def choose_windows(
    clips: Clips, asked: Asked, *, length: int, count: int, checks: int, seed: int
) -> tuple[list[tuple[int, int]], list[tuple[int, int]], str]:
    """(clip, first frame) of the windows of the pairs, of those of the checks, and the column that held them out.

    Checks come from other clips where there are enough, from the most moving of some drawn ones.

    Raises:
        SweepError: no window's camera is known throughout.
    """
    rng = random.Random(seed)
    long, _ = long_enough(clips, asked_clips(clips, asked), length)
    group = asked_group(clips, long, asked)
    by_group: dict[str, list[tuple[int, int]]] = {}
    for clip in long.tolist():
        if starts := _known_starts(clips, clip, length):
            name = str(clips.groups[group][clip])
            by_group.setdefault(name, []).append((clip, rng.choice(starts)))
    if not by_group:
        raise SweepError(
            f"no clip of {clips.name} has {length} frames in which the camera is known, so that no true motion can be "
            "shown: choose another part or other data."
        )
    turns = [rng.sample(own, len(own)) for _, own in sorted(by_group.items())]
    rng.shuffle(turns)
    ordered = [turn[i] for i in range(max(map(len, turns))) for turn in turns if i < len(turn)]
    pairs, rest = ordered[:count], ordered[count:]
    candidates = (rest + pairs)[: max(_CHECKED, checks)]
    truth = _gather(Windows(clips, torch.tensor([c for c, _ in candidates]), length=length), candidates)
    path_B = truth.joints_ref_BTJ3.diff(dim=1).norm(dim=-1).mean(dim=2).sum(dim=1)
    moving = path_B.argsort(descending=True).tolist()
    return pairs, [candidates[i] for i in moving[:checks]], group


def predicted_scenes(
    opened: dict[str, OpenedModel],
    truth_as: str | None,
    clips: Clips,
    windows: Sequence[tuple[int, int]],
    group: str,
    asked: Asked,
    hand: Hand,
    device: str,
) -> tuple[list[Scene], list[str]]:
    """A scene a window with one motion of each model, and of the truth under the name `truth_as`; and what to say of it.

    The models' motions are drawn as touching where they reach their own contact threshold, as the truth does where it
    touches: a rater sees no probabilities, which would tell a model from the truth.
    """
    length = next(iter(opened.values())).model.config.window
    scenes = [_scene(clips, window, group) for window in windows]
    notes: list[str] = []
    truth = _truth(clips, windows, length, asked)
    shown = {truth_as: _true_motions(truth, hand)} if truth_as else {}
    for source, one in opened.items():
        seen, adapted = as_the_model_sees(clips, one.model)
        trial = one.trial(protocol=asked.protocol, stride=1)
        (own,) = clips_windows(trial, seen.to(device), [torch.tensor(sorted({clip for clip, _ in windows}))])
        notes += adapted + check_features(one.model, own)
        with torch.no_grad():
            shown[source] = _motions(
                one.model.forecast(_gather(own, windows)), hand, float(one.model.contact_threshold)
            )
    points = truth.point_B3.cpu().numpy()
    made = [
        replace(
            scene,
            point_m=points[i] if truth.point_known_B[i] else None,
            motions={source: motions[i] for source, motions in shown.items()},
        )
        for i, scene in enumerate(scenes)
    ]
    if truth_as and not bool(truth.contact_known_BT.all()):
        notes.append(
            "Contact is not known everywhere in the data, and is drawn for neither motion of those clips."
        )
        for i, known_T in enumerate(truth.contact_known_BT.all(dim=1).tolist()):
            if not known_T:
                made[i] = replace(made[i], motions={s: _untouched(m) for s, m in made[i].motions.items()})
    return made, list(dict.fromkeys(notes))


def check_scenes(
    clips: Clips,
    windows: Sequence[tuple[int, int]],
    length: int,
    group: str,
    asked: Asked,
    hand: Hand,
    seed: int,
) -> list[Scene]:
    """A scene a window with the true motion, and with the same frames in random order."""
    if not windows:
        return []
    truth = _truth(clips, windows, length, asked)
    rng = np.random.default_rng(seed)
    made = []
    for i, motion in enumerate(_true_motions(truth, hand)):
        order_T = rng.permutation(length)
        broken = Motion(**{name: value[order_T] for name, value in vars(motion).items()})
        point_m = truth.point_B3[i].cpu().numpy() if truth.point_known_B[i] else None
        scene = _scene(clips, windows[i], group)
        made.append(replace(scene, point_m=point_m, motions={TRUE: motion, BROKEN: broken}))
    return made


def _known_starts(clips: Clips, clip: int, length: int) -> list[int]:
    """First frames, within the clip, of the windows whose camera is known throughout."""
    first, end = (int(clips.offsets_C1[clip + i]) for i in (0, 1))
    known = np.concatenate([[0], np.cumsum(clips.camera_known_F[first:end].cpu().numpy())])
    whole = known[length:] - known[: len(known) - length] == length
    return np.flatnonzero(whole).tolist()


def _gather(windows: Windows, wanted: Sequence[tuple[int, int]]) -> Batch:
    row = {
        (clip, start): i
        for i, (clip, start) in enumerate(zip(windows.clip_N.tolist(), windows.start_N.tolist(), strict=True))
    }
    return windows.gather(torch.tensor([row[window] for window in wanted]))


def _truth(clips: Clips, windows: Sequence[tuple[int, int]], length: int, asked: Asked) -> Batch:
    index = torch.tensor(sorted({clip for clip, _ in windows}))
    return _gather(Windows(clips, index, length=length, protocol=asked.protocol), windows)  # type: ignore[arg-type]


def _scene(clips: Clips, window: tuple[int, int], group: str) -> Scene:
    clip, start = window
    frame = int(clips.offsets_C1[clip]) + start
    row = int(clips.image_F[frame])
    there = row >= 0 and len(clips.images_I) > 0
    return Scene(
        clip_id=clips.clip_ids[clip],
        start=start,
        group=str(clips.groups[group][clip]),
        text=clips.texts[int(clips.text_F[frame])],
        photo_png=encode_png(clips.images_I[row].cpu().numpy()) if there else None,
        point_m=None,
        motions={},
    )


def _motions(prediction: Prediction, hand: Hand, threshold: float) -> list[Motion]:
    touching_BTV = prediction.contact_logits_BTV.sigmoid() >= threshold
    return _of(vertices_first(hand, prediction.pose), prediction.joints_ref_BTJ3, touching_BTV)


def _true_motions(truth: Batch, hand: Hand) -> list[Motion]:
    touching_BTV = (truth.contact_BTV > 0) & truth.contact_known_BT[..., None]
    return _of(vertices_first(hand, to_first(truth, hand)), truth.joints_ref_BTJ3, touching_BTV)


def _of(vertices_BTV3: Tensor, joints_BTJ3: Tensor, touching_BTV: Tensor) -> list[Motion]:
    arrays = zip(*(value.cpu().numpy() for value in (vertices_BTV3, joints_BTJ3, touching_BTV)), strict=True)
    return [Motion(vertices_m=v, joints_m=j, contact=c) for v, j, c in arrays]


def _untouched(motion: Motion) -> Motion:
    return replace(motion, contact=np.zeros_like(motion.contact))
