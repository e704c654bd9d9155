"""Trivial predictors and the evaluation they share with the model, on a small data set made by hand."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from trainables import metrics
from trainables.clip_errors import ClipErrors, paired_difference
from trainables.evaluate import best_contact_threshold, evaluate
from trainables.evaluation import average_seeds, join_folds
from trainables.hand import FINGERS
from trainables.trivial import (
    KEYS,
    best_motion_keys,
    evaluate_mean_trajectory,
    evaluate_trivial,
    everything,
    exact,
    pooled_texts,
    sum_by_text,
    trivial_predictor,
    verb,
)

T, J, V = 4, 21, 12
TEXTS = ["reach the cup", "reach the pan", "lift the cup", "lift the jar"]


class HandMadeWindows:
    """Windows as the evaluation sees them: texts, clips, a length and a gather."""

    def __init__(self, clip: list[int], text: list[int], seed: int = 0, texts: list[str] = TEXTS) -> None:
        g = torch.Generator().manual_seed(seed)
        W = len(clip)
        text_W = torch.tensor(text)
        point_W3 = torch.randn(W, 3, generator=g) * 0.1
        base_WT = text_W[:, None] * 0.1 + torch.arange(T) * 0.02 * (1 + text_W[:, None] // 2)
        joints = (
            base_WT[..., None, None] + point_W3[:, None, None] + 0.01 * torch.randn(W, T, J, 3, generator=g)
        )
        contact = torch.rand(W, T, V, generator=g) < (torch.arange(V) / V) * (
            0.1 + 0.9 * (text_W[:, None, None] >= 2)
        )
        identity = torch.eye(3).expand(W, T, 3, 3)
        self.fields: dict[str, Tensor] = {
            "text_B": text_W,
            "point_B3": point_W3,
            "point_known_B": torch.rand(W, generator=g) < 0.8,
            "joints_BTJ3": joints,
            "joints_ref_BTJ3": joints,
            "transl_BT3": joints[:, :, 0],
            "camera_rot_BT33": identity,
            "camera_transl_BT3": torch.zeros(W, T, 3),
            "camera_known_BT": torch.rand(W, T, generator=g) < 0.9,
            "contact_BTV": contact.float(),
            "contact_known_BT": torch.rand(W, T, generator=g) < 0.7,
            "clip_B": torch.tensor(clip),
            "start_B": torch.arange(W),
        }
        self.texts = texts
        names = sorted(set(range(max(clip) + 1)))
        self.clips = SimpleNamespace(
            clip_ids=[f"clip-{c}" for c in names],
            groups={"object": [f"object-{c % 4}" for c in names], "scene": [None for _ in names]},
        )

    def __len__(self) -> int:
        return len(self.fields["text_B"])

    def gather(self, index: Tensor) -> Any:
        return SimpleNamespace(**{name: values[index] for name, values in self.fields.items()})


def windows(seed: int = 0, n: int = 60, texts: tuple[int, ...] = (0, 1, 2)) -> Any:
    return HandMadeWindows([w // 5 for w in range(n)], [texts[w % len(texts)] for w in range(n)], seed)


@dataclass
class Given:
    """A predictor's answer with everything in it."""

    joints_ref_BTJ3: Tensor
    joints_BTJ3: Tensor
    transl_BT3: Tensor
    camera_rot_BT33: Tensor
    camera_transl_BT3: Tensor
    contact_logits_BTV: Tensor


def off_by(distance_m: float, contact: float = 20.0):
    def predict(truth: Any) -> Given:
        return Given(
            joints_ref_BTJ3=truth.joints_ref_BTJ3 + torch.tensor([distance_m, 0, 0]),
            joints_BTJ3=truth.joints_BTJ3,
            transl_BT3=truth.transl_BT3,
            camera_rot_BT33=truth.camera_rot_BT33,
            camera_transl_BT3=truth.camera_transl_BT3,
            contact_logits_BTV=(truth.contact_BTV * 2 - 1) * contact,
        )

    return predict


# ---- trivial predictors


def test_mean_trajectory_is_the_mean_of_known_frames_by_text() -> None:
    train, test = windows(0), windows(1)
    predict = trivial_predictor(sum_by_text(train, batch=7), test.texts, "mean_trajectory", KEYS["exact"])
    got = predict(test.gather(torch.arange(len(test)))).joints_ref_BTJ3
    f = train.fields
    for w in range(9):
        for t in range(T):
            rows = [
                f["joints_ref_BTJ3"][i, t]
                for i in range(len(train))
                if f["text_B"][i] == test.fields["text_B"][w] and f["camera_known_BT"][i, t]
            ]
            torch.testing.assert_close(got[w, t], torch.stack(rows).mean(0), atol=1e-6, rtol=0)


def test_moved_trajectory_puts_the_mean_point_on_the_given_one() -> None:
    train, test = windows(0), windows(1)
    sums = sum_by_text(train)
    truth = test.gather(torch.arange(len(test)))
    mean = trivial_predictor(sums, test.texts, "mean_trajectory", KEYS["exact"])(truth).joints_ref_BTJ3
    moved = trivial_predictor(sums, test.texts, "moved_trajectory", KEYS["exact"])(truth).joints_ref_BTJ3
    f = train.fields
    for w in range(40):
        same = (f["text_B"] == truth.text_B[w]) & f["point_known_B"]
        shift = truth.point_B3[w] - f["point_B3"][same].mean(0) if truth.point_known_B[w] else torch.zeros(3)
        torch.testing.assert_close(moved[w] - mean[w], shift.expand(T, J, 3), atol=1e-6, rtol=0)
    assert not truth.point_known_B[:40].all()


def test_constant_pose_is_still_and_the_mean_over_known_frames() -> None:
    train, test = windows(0), windows(1)
    predict = trivial_predictor(sum_by_text(train), test.texts, "constant_pose", KEYS["exact"])
    got = predict(test.gather(torch.arange(3))).joints_ref_BTJ3
    assert (got == got[:, :1]).all()
    chosen = (train.fields["text_B"] == 0)[:, None] & train.fields["camera_known_BT"]
    torch.testing.assert_close(got[0, 0], train.fields["joints_ref_BTJ3"][chosen].mean(0), atol=1e-6, rtol=0)


def test_unseen_texts_fall_back_to_the_verb_and_then_to_all() -> None:
    seen = ["reach the cup", "reach the pan", "lift the cup", None]
    asked = ["reach the cup", "reach the jar", "twist the jar", "lift the jar"]
    rows = pooled_texts((exact, verb, everything), asked, seen).tolist()
    assert rows == [[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [0, 0, 1, 0]]
    assert pooled_texts((verb, everything), asked, seen).tolist()[0] == [1, 1, 0, 0]
    with pytest.raises(ValueError, match="twist the jar"):
        pooled_texts((exact, verb), asked, seen)


def test_keys_are_chosen_on_validation_windows() -> None:
    # Training texts differ by object; where validation does too, the exact text is better.
    assert best_motion_keys(sum_by_text(windows(0)), windows(1))["constant_pose"] == "exact"
    # Validation windows whose texts are swapped make it the worse choice.
    swapped = windows(1, texts=(0, 1))
    swapped.fields["text_B"] = 1 - swapped.fields["text_B"]
    train = windows(0, texts=(0, 1))
    assert set(best_motion_keys(sum_by_text(train), swapped).values()) == {"verb"}


def test_contact_frequency_counts_known_frames_only() -> None:
    train = windows(0)
    train.fields["contact_BTV"][~train.fields["contact_known_BT"]] = 1.0
    predict = trivial_predictor(sum_by_text(train), TEXTS, "mean_trajectory", KEYS["exact"])
    got = torch.sigmoid(predict(train.gather(torch.arange(2))).contact_logits_BTV)
    expected = train.fields["contact_BTV"][train.fields["contact_known_BT"]].mean(0)
    torch.testing.assert_close(got, expected.expand(2, T, V), atol=1e-6, rtol=0)
    by_text = trivial_predictor(sum_by_text(train), TEXTS, "mean_trajectory", KEYS["exact"], KEYS["exact"])
    chosen = (train.fields["text_B"] == 1)[:, None] & train.fields["contact_known_BT"]
    got = torch.sigmoid(by_text(train.gather(torch.arange(2))).contact_logits_BTV)
    torch.testing.assert_close(got[1, 0], train.fields["contact_BTV"][chosen].mean(0), atol=1e-6, rtol=0)


def test_evaluate_trivial_compares_with_a_model() -> None:
    train, val, test = windows(0, 120), windows(1), windows(2, texts=(0, 2, 3))
    scores = evaluate_trivial(train, val, test, "object", finger_V=torch.arange(V) % 6)
    assert set(scores) == {
        "mean_trajectory",
        "moved_trajectory",
        "constant_pose",
        "vertex_frequency_oracle",
        "text_frequency_oracle",
    }
    error = {name: e.means()["mpjpe_cm"] for name, e in scores.items()}
    assert error["moved_trajectory"] < error["mean_trajectory"] < error["constant_pose"]
    f1 = {name: e.means()["contact_f1"] for name, e in scores.items()}
    assert f1["vertex_frequency_oracle"] >= f1["mean_trajectory"] > 0.3
    assert f1["text_frequency_oracle"] > f1["vertex_frequency_oracle"]  # contact depends on the verb here
    for evaluation in scores.values():
        assert evaluation.per_clip().fingers == FINGERS
        assert 0 < evaluation.average_precision() < 1 and "jerk_m_per_s3" in evaluation.means()
    assert scores["constant_pose"].means()["jerk_m_per_s3"] == pytest.approx(0, abs=1e-9)
    alone = evaluate_mean_trajectory(train, val, test, "object", finger_V=torch.arange(V) % 6)
    assert alone.means() == scores["mean_trajectory"].means()
    model = evaluate(off_by(0.01), test, "object")
    for rival in scores.values():
        assert model.difference(rival, "mpjpe_cm").high < 0
        assert model.difference(rival, "contact_f1").low > 0


# ---- evaluation


def test_evaluation_holds_every_window_once_and_its_labels() -> None:
    test = windows(3, 23)
    got = evaluate(off_by(0.02), test, "object", batch=5)
    assert len(got) == 23 and got.start_W.tolist() == list(range(23))
    assert got.group_W.tolist() == [f"object-{w // 5 % 4}" for w in range(23)]
    assert got.text_W.tolist() == [TEXTS[w % 3] for w in range(23)]
    known = test.fields["camera_known_BT"].any(1).numpy()
    assert got.metrics["mpjpe_cm"][known] == pytest.approx(2.0, abs=1e-4)
    zero = {"mpjpe_own_cm", "mpjpe_ra_cm", "mpjpe_pa_cm", "transl_cm", "camera_rot_deg", "camera_transl_cm"}
    means = got.means()
    assert zero < set(means) and all(means[name] == pytest.approx(0, abs=1e-3) for name in zero)
    assert means["mpjpe_pa_trajectory_cm"] == pytest.approx(0, abs=1e-4)
    assert means["contact_precision"] == means["contact_recall"] == means["contact_f1"] == 1
    summary = got.summary()
    assert (summary["windows"], summary["clips"], summary["groups"], summary["group"]) == (23, 5, 4, "object")
    assert summary["metrics"]["mpjpe_cm"]["low"] == pytest.approx(2.0, abs=1e-4)
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    phases = got.by_phase()
    assert set(phases) == {"reach", "lift"} and sum(map(len, phases.values())) == 23


def test_windows_without_knowledge_are_nan_and_divergence_is_infinite() -> None:
    test = windows(3, 20)
    test.fields["camera_known_BT"][0] = False
    got = evaluate(off_by(0.02), test, "object")
    assert math.isnan(got.metrics["mpjpe_cm"][0]) and got.means()["mpjpe_cm"] == pytest.approx(2.0, abs=1e-4)
    nan = evaluate(off_by(math.nan), test, "object")
    assert nan.means()["mpjpe_cm"] == math.inf  # it must not vanish from the mean
    with pytest.raises(ValueError, match="not finite"):
        nan.to_json()


def test_group_must_exist_and_be_known() -> None:
    with pytest.raises(ValueError, match="no group 'colour'; there are object, scene"):
        evaluate(off_by(0), windows(), "colour")
    with pytest.raises(ValueError, match="clip 'clip-0' has no 'scene'"):
        evaluate(off_by(0), windows(), "scene")


def test_json_restores_what_figures_are_made_of() -> None:
    test = windows(4)
    model, rival = (evaluate(off_by(d, contact=c), test, "object") for d, c in ((0.01, 20.0), (0.03, -1.0)))
    restored = ClipErrors.from_json(json.loads(json.dumps(model.to_json(), allow_nan=False)))
    assert restored.means() == model.per_clip().means()
    assert restored.summary() == model.per_clip().summary()
    for metric in ("mpjpe_cm", "contact_f1"):
        assert paired_difference(restored, rival.per_clip(), metric) == model.difference(rival, metric)
        assert restored.interval(metric) == model.interval(metric)
    with pytest.raises(ValueError, match="metric version 0"):
        ClipErrors.from_json({**model.to_json(), "metric_version": 0})
    with pytest.raises(ValueError, match="same windows"):
        model.difference(rival.where(rival.clip_W != 2), "mpjpe_cm")
    with pytest.raises(ValueError, match="same windows"):
        model.difference(rival.where(rival.start_W != 2), "mpjpe_cm")


def test_best_threshold_equals_a_search_over_all() -> None:
    test = windows(5, 30)
    noise = torch.randn(30, T, V, generator=torch.Generator().manual_seed(0))

    def predict(truth: Any) -> Any:
        return replace(
            off_by(0)(truth), contact_logits_BTV=truth.contact_BTV * 1.5 - 2 + noise[truth.start_B]
        )

    threshold, f1 = best_contact_threshold(predict, test, batch=7)
    curve = {}
    truth = test.gather(torch.arange(30))
    probability = torch.sigmoid(predict(truth).contact_logits_BTV)
    for k in range(0, 4096, 8):
        counts = metrics.contact_counts(probability > k / 4096, truth.contact_BTV, truth.contact_known_BT)
        curve[k / 4096] = metrics.precision_recall_f1(*counts.sum(0).tolist())[2]
    assert max(curve.values()) <= f1 <= max(curve.values()) + 0.01
    scored = evaluate(predict, test, "object", contact_threshold=threshold)
    assert scored.means()["contact_f1"] == pytest.approx(f1, abs=1e-12)
    assert f1 > evaluate(predict, test, "object", contact_threshold=0.5).means()["contact_f1"]
    test.fields["contact_known_BT"][:] = False
    assert best_contact_threshold(predict, test)[0] == 0.5


def test_seeds_are_averaged_per_window_and_folds_joined() -> None:
    test = windows(6)
    one, two = (evaluate(off_by(d), test, "object") for d in (0.01, 0.03))
    both = average_seeds([one, two])
    assert len(both) == len(one) and both.means()["mpjpe_cm"] == pytest.approx(2.0, abs=1e-4)
    first, second = (one.group_W == "object-0"), (one.group_W != "object-0")
    joined = join_folds([one.where(first), two.where(second)])
    assert len(joined) == len(one) and joined.per_clip().clip_ids == one.per_clip().clip_ids
    assert 1.0 < joined.means()["mpjpe_cm"] < 3.0
    with pytest.raises(ValueError, match="two folds"):
        join_folds([one, two.where(second)])
    with pytest.raises(ValueError, match="same windows"):
        average_seeds([one, two.where(second)])


def test_unknown_motion_is_refused() -> None:
    with pytest.raises(ValueError, match="constant_pose"):
        trivial_predictor(sum_by_text(windows()), TEXTS, "still", KEYS["exact"])  # type: ignore[arg-type]
