"""Trivial predictors: averages of the training windows by action text, which a model must beat to have learned anything.

Made as strong as such predictors can be: a text that never occurs in training (it names an unseen object) falls back
to its verb, then to all texts; whether the exact text or the verb alone serves better is chosen on validation windows,
for each predictor by itself; contact thresholds are chosen for the best F1, on validation or even on the test windows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from trainables import metrics
from trainables.evaluate import Predict, batches, best_contact_threshold, evaluate
from trainables.evaluation import Evaluation
from trainables.windows import Batch, Windows

Key = Callable[[str], str]
Motion = Literal["mean_trajectory", "moved_trajectory", "constant_pose"]


def exact(text: str) -> str:
    """The text itself."""
    return text


def verb(text: str) -> str:
    """The first word: the verb of an action, or the phase of a recording."""
    return text.split(" ")[0]


def everything(text: str) -> str:
    """One key for all texts."""
    return ""


# Chains of keys, from the most particular to the one that always fits.
KEYS: dict[str, tuple[Key, ...]] = {"exact": (exact, verb, everything), "verb": (verb, everything)}


@dataclass(frozen=True, kw_only=True)
class TextSums:
    """Sums over training windows by the text of their first frame, X texts. Metres, the window's first camera."""

    texts: list[str]
    joints_XTJ3: Tensor
    frames_XT: Tensor  # windows whose camera is known at frame t
    point_X3: Tensor
    points_X: Tensor  # windows whose contact point is known
    contact_XV: Tensor
    contact_frames_X: Tensor  # frames whose contact is known


@torch.no_grad()
def sum_by_text(train: Windows, *, batch: int = 256) -> TextSums:
    """One pass over the training windows; float64 sums on their device."""
    sums: list[Tensor] = []
    for truth in batches(train, batch):
        known_BT, touched_B1 = truth.camera_known_BT, truth.contact_known_BT[..., None]
        addends = [
            torch.where(known_BT[..., None, None], truth.joints_ref_BTJ3, 0.0),
            known_BT,
            torch.where(truth.point_known_B[:, None], truth.point_B3, 0.0),
            truth.point_known_B,
            torch.where(touched_B1, truth.contact_BTV, 0.0).sum(dim=1),
            truth.contact_known_BT.sum(dim=1),
        ]
        if not sums:
            sums = [a.new_zeros((len(train.texts), *a.shape[1:]), dtype=torch.float64) for a in addends]
        for total, addend in zip(sums, addends, strict=True):
            total.index_add_(0, truth.text_B, addend.double())
    joints_XTJ3, frames_XT, point_X3, points_X, contact_XV, contact_frames_X = sums
    return TextSums(
        texts=train.texts,
        joints_XTJ3=joints_XTJ3,
        frames_XT=frames_XT,
        point_X3=point_X3,
        points_X=points_X,
        contact_XV=contact_XV,
        contact_frames_X=contact_frames_X,
    )


def pooled_texts(keys: Sequence[Key], texts: Sequence[str], seen: Sequence[str | None]) -> Tensor:
    """Which training texts answer for each text: (len(texts), len(seen)) of 0 and 1, float64.

    The first key of the chain under which some seen text matches decides; None in `seen` matches nothing.

    Raises:
        ValueError: a text has no match under any key.
    """
    row_XX = torch.zeros(len(texts), len(seen), dtype=torch.float64)
    for key in reversed(keys):  # later writes, of more particular keys, replace
        columns: dict[str, list[int]] = {}
        for column, text in enumerate(seen):
            if text is not None:
                columns.setdefault(key(text), []).append(column)
        for row, text in enumerate(texts):
            if matches := columns.get(key(text)):
                row_XX[row] = 0.0
                row_XX[row, matches] = 1.0
    if len(texts) and not row_XX.sum(dim=1).all():
        text = texts[int(row_XX.sum(dim=1).argmin())]
        raise ValueError(
            f"no training window answers for the text {text!r}; end the chain of keys with `everything`"
        )
    return row_XX


@dataclass(frozen=True, kw_only=True)
class TrivialForecast:
    """What a trivial predictor gives: B windows, metres in the first camera, and logits of contact frequencies."""

    joints_ref_BTJ3: Tensor
    contact_logits_BTV: Tensor


def trivial_predictor(
    sums: TextSums,
    texts: Sequence[str],
    motion: Motion,
    keys: Sequence[Key],
    contact_keys: Sequence[Key] = (everything,),
) -> Predict:
    """A predictor for windows whose `text_B` points into `texts`.

    Args:
        motion: "mean_trajectory", the mean joints of each frame; "moved_trajectory", the same moved rigidly so that
            the text's mean contact point falls on the given one, where both are known; "constant_pose", the mean over
            the frames too, held still.
        keys: chain of keys under which training texts are pooled for motion.
        contact_keys: the same for contact, which is the training frequency of each vertex, in every frame.

    Raises:
        ValueError: an unknown motion, or training windows without any known camera or contact.
    """
    if motion not in get_args(Motion):
        raise ValueError(f"unknown trivial motion {motion!r}; there are {', '.join(get_args(Motion))}")
    complete = zip(sums.texts, sums.frames_XT.amin(dim=1).tolist(), strict=True)
    pool_XX = pooled_texts(keys, texts, [text if n else None for text, n in complete]).to(sums.joints_XTJ3)
    joints_XTJ3 = torch.einsum("xy,ytjc->xtjc", pool_XX, sums.joints_XTJ3)
    frames_XT = pool_XX @ sums.frames_XT
    if motion == "constant_pose":
        mean_X1J3 = joints_XTJ3.sum(dim=1, keepdim=True) / frames_XT.sum(dim=1)[:, None, None, None]
        joints_XTJ3 = mean_X1J3.expand_as(joints_XTJ3)
    else:
        joints_XTJ3 = joints_XTJ3 / frames_XT[..., None, None]
    points_X = pool_XX @ sums.points_X
    point_X3 = pool_XX @ sums.point_X3 / points_X.clamp_min(1)[:, None]

    touched = zip(sums.texts, sums.contact_frames_X.tolist(), strict=True)
    pool_XX = pooled_texts(contact_keys, texts, [text if n else None for text, n in touched]).to(
        sums.contact_XV
    )
    frequency_XV = pool_XX @ sums.contact_XV / (pool_XX @ sums.contact_frames_X)[:, None]
    logits_XV = torch.logit(frequency_XV).float()

    def predict(truth: Batch) -> TrivialForecast:
        joints_BTJ3 = joints_XTJ3[truth.text_B]
        if motion == "moved_trajectory":
            movable_B = truth.point_known_B & (points_X[truth.text_B] > 0)
            shift_B3 = torch.where(movable_B[:, None], truth.point_B3 - point_X3[truth.text_B], 0.0)
            joints_BTJ3 = joints_BTJ3 + shift_B3[:, None, None]
        logits_BTV = logits_XV[truth.text_B, None].expand(-1, joints_BTJ3.shape[1], -1)
        return TrivialForecast(joints_ref_BTJ3=joints_BTJ3.float(), contact_logits_BTV=logits_BTV)

    return predict


@torch.no_grad()
def best_motion_keys(sums: TextSums, val: Windows, *, batch: int = 256) -> dict[Motion, str]:
    """For each motion the name in KEYS of the chain with the lowest MPJPE on validation windows, in one pass."""
    rivals = {
        (motion, name): trivial_predictor(sums, val.texts, motion, keys)
        for motion in get_args(Motion)
        for name, keys in KEYS.items()
    }
    total = dict.fromkeys(rivals, 0.0)
    for truth in batches(val, batch):
        for rival, predict in rivals.items():
            error_B = metrics.mpjpe(
                predict(truth).joints_ref_BTJ3, truth.joints_ref_BTJ3, truth.camera_known_BT
            )
            total[rival] += float(error_B.nansum())
    return {motion: min(KEYS, key=lambda name: total[motion, name]) for motion in get_args(Motion)}


def evaluate_mean_trajectory(
    train: Windows,
    val: Windows,
    test: Windows,
    group: str,
    *,
    batch: int = 256,
    finger_V: Tensor | None = None,
) -> Evaluation:
    """What `evaluate_trivial` calls "mean_trajectory", without the others. Raises as it does."""
    sums = sum_by_text(train, batch=batch)
    keys = KEYS[best_motion_keys(sums, val, batch=batch)["mean_trajectory"]]
    on_val, on_test = (
        trivial_predictor(sums, windows.texts, "mean_trajectory", keys) for windows in (val, test)
    )
    threshold, _ = best_contact_threshold(on_val, val, batch=batch)
    return evaluate(on_test, test, group, batch=batch, contact_threshold=threshold, finger_V=finger_V)


def evaluate_trivial(
    train: Windows,
    val: Windows,
    test: Windows,
    group: str,
    *,
    batch: int = 256,
    finger_V: Tensor | None = None,
) -> dict[str, Evaluation]:
    """Every trivial predictor, learned on `train`, chosen on `val`, scored on `test`.

    "mean_trajectory", "moved_trajectory", "constant_pose": motion, with each vertex's frequency as contact, cut at the
    threshold that is best on val. "vertex_frequency_oracle" and "text_frequency_oracle": the mean trajectory, with
    contact by vertex and by text and vertex, cut at the threshold that is best on the test windows themselves: the F1
    to beat, which no honest choice of a threshold exceeds. `finger_V` as in `evaluate`.

    Raises:
        ValueError: as `evaluate`, and where training windows know no contact or no camera.
    """
    sums = sum_by_text(train, batch=batch)
    keys = {motion: KEYS[name] for motion, name in best_motion_keys(sums, val, batch=batch).items()}
    by_vertex = trivial_predictor(sums, val.texts, "mean_trajectory", keys["mean_trajectory"])
    threshold, _ = best_contact_threshold(by_vertex, val, batch=batch)
    scores: dict[str, Evaluation] = {}
    for motion in get_args(Motion):
        predict = trivial_predictor(sums, test.texts, motion, keys[motion])
        scores[motion] = evaluate(
            predict, test, group, batch=batch, contact_threshold=threshold, finger_V=finger_V
        )

    def by_text(texts: Sequence[str], name: str) -> Predict:
        return trivial_predictor(sums, texts, "mean_trajectory", keys["mean_trajectory"], KEYS[name])

    def f1_on_val(name: str) -> float:
        f1 = best_contact_threshold(by_text(val.texts, name), val, batch=batch)[1]
        return 0.0 if math.isnan(f1) else f1

    oracles = {
        "vertex_frequency_oracle": trivial_predictor(
            sums, test.texts, "mean_trajectory", keys["mean_trajectory"]
        ),
        "text_frequency_oracle": by_text(test.texts, max(KEYS, key=f1_on_val)),
    }
    for name, predict in oracles.items():
        threshold, _ = best_contact_threshold(predict, test, batch=batch)
        scores[name] = evaluate(
            predict, test, group, batch=batch, contact_threshold=threshold, finger_V=finger_V
        )
    return scores
