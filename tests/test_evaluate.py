"""The evaluation as a whole against the slow oracle, on float32 windows with the hand's 778 vertices."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import roma
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from tests import metric_oracle
from trainables.clip_errors import ClipErrors, paired_difference
from trainables.contact_curve import THRESHOLDS, average_precision
from trainables.evaluate import best_contact_threshold, evaluate
from trainables.evaluation import Evaluation, average_seeds, join_folds
from trainables.hand import FINGERS, load_hand

W, T, J, V = 14, 6, 21, 778
FINGER_V = load_hand().finger_V
FORECAST = ("joints_ref_BTJ3", "joints_BTJ3", "transl_BT3", "camera_rot_BT33", "camera_transl_BT3")


class RandomWindows:
    """Windows and a forecast of each, float32, with all that may be missing or degenerate among them."""

    def __init__(self, seed: int = 0) -> None:
        g = torch.Generator().manual_seed(seed)

        def motion(noise: float, of: Tensor | None = None) -> Tensor:
            start = torch.tensor([0.1, 0.0, 0.6]) + 0.1 * torch.randn(W, 1, J, 3, generator=g)
            return (start if of is None else of) + noise * torch.randn(W, T, J, 3, generator=g)

        camera, turn = (roma.random_rotmat((W, T), generator=g) for _ in range(2))
        self.truth: dict[str, Tensor] = {
            "joints_ref_BTJ3": motion(0.01),
            "joints_BTJ3": motion(0.01),
            "transl_BT3": torch.randn(W, T, 3, generator=g),
            "camera_rot_BT33": camera,
            "camera_transl_BT3": torch.randn(W, T, 3, generator=g),
            "camera_known_BT": torch.rand(W, T, generator=g) < 0.9,
            "contact_BTV": (torch.rand(W, T, V, generator=g) < 0.2).float(),
            "contact_known_BT": torch.rand(W, T, generator=g) < 0.8,
            "clip_B": torch.arange(W) // 2,
            "start_B": torch.arange(W) % 2,
            "text_B": torch.arange(W) % 2,
        }
        moved = {name: self.truth[name] + 0.05 * torch.randn(W, T, 3, generator=g) for name in FORECAST[2::2]}
        logits = 3 * self.truth["contact_BTV"] - 3 + 1.5 * torch.randn(W, T, V, generator=g)
        self.forecast: dict[str, Tensor] = {
            "joints_ref_BTJ3": motion(0.02, self.truth["joints_ref_BTJ3"]),
            "joints_BTJ3": motion(0.02, self.truth["joints_BTJ3"]),
            "camera_rot_BT33": turn,
            "contact_logits_BTV": logits,
            **moved,
        }
        known = self.truth["camera_known_BT"]
        known[0], known[1] = True, False  # all frames; none
        known[2] = torch.arange(T) == 3  # a single frame
        self.truth["contact_known_BT"][3] = False
        joints = self.forecast["joints_ref_BTJ3"]
        joints[4] = joints[4, :1, :1]  # the forecast is one point
        self.truth["joints_ref_BTJ3"][5] = joints[5] * torch.tensor([-1.0, 1.0, 1.0])  # a mirror image
        joints[6] = joints[6, :1]  # perfectly still
        self.truth["joints_ref_BTJ3"][7] = joints[7]  # perfect
        self.forecast["camera_rot_BT33"][8] = self.truth["camera_rot_BT33"][8]
        self.truth["joints_ref_BTJ3"][9, ~known[9]] = torch.nan
        self.texts = ["reach the cup", "lift the cup"]
        self.clips: Any = SimpleNamespace(
            clip_ids=[f"clip-{c}" for c in range(W // 2)],
            groups={"object": [f"object-{c % 3}" for c in range(W // 2)]},
        )
        self.passes = 0

    def __len__(self) -> int:
        return W

    def gather(self, index: Tensor) -> Any:
        return SimpleNamespace(**{name: values[index] for name, values in self.truth.items()})

    def predict(self, truth: Any) -> Any:
        self.passes += len(truth.clip_B)
        rows = 2 * truth.clip_B + truth.start_B
        return SimpleNamespace(**{name: values[rows] for name, values in self.forecast.items()})

    def evaluate(self, **options: Any) -> Evaluation:
        return evaluate(self.predict, self, "object", finger_V=FINGER_V, **options)  # type: ignore[arg-type]


def row(values: dict[str, Tensor], w: int) -> dict[str, np.ndarray]:
    return {name.rpartition("_")[0]: value[w].numpy() for name, value in values.items()}


@pytest.fixture(scope="module")
def windows() -> RandomWindows:
    return RandomWindows()


def test_every_metric_of_every_window_equals_the_oracle(windows: RandomWindows) -> None:
    got = windows.evaluate(batch=5)
    expected = [metric_oracle.figures(row(windows.forecast, w), row(windows.truth, w)) for w in range(W)]
    assert list(got.metrics) == list(expected[0])
    for name, values in got.metrics.items():
        slow = np.array([figures[name] for figures in expected])
        # To 1e-6 of a centimetre; jerk, of hundreds of m/s^3, to a millionth; angles of float32 matrices, which are
        # no rotations to better than 1e-7 radians, to 1e-5 degrees.
        atol = 1e-5 if name.endswith("_deg") else 1e-6
        rtol = 1e-6 if name.startswith("jerk") else 0.0
        np.testing.assert_allclose(values, slow, atol=atol, rtol=rtol, err_msg=name)
    assert np.isnan(got.metrics["mpjpe_cm"]).tolist() == [w == 1 for w in range(W)]
    assert np.isnan(got.metrics["jerk_m_per_s3"][[1, 2]]).all() and got.metrics["jerk_m_per_s3"][6] == 0


def test_contact_by_finger_equals_the_oracle(windows: RandomWindows) -> None:
    got, finger = windows.evaluate(contact_threshold=0.25), FINGER_V.numpy()
    counts = np.zeros((W, len(FINGERS), 3))
    for w in range(W):
        pred = windows.forecast["contact_logits_BTV"][w].sigmoid().numpy() > 0.25
        truth = row(windows.truth, w)
        counts[w] = metric_oracle.contact_counts(pred, truth["contact"], truth["contact_known"], finger, 6)
    np.testing.assert_array_equal(got.finger_counts_WF3, counts)
    np.testing.assert_array_equal(got.counts_W3, counts.sum(1))
    means, summary = got.means(), got.summary()
    for suffix, pooled in [("", counts.sum((0, 1))), *zip(FINGERS, counts.sum(0), strict=True)]:
        for figure, value in zip(
            ("precision", "recall", "f1"), metric_oracle.precision_recall_f1(pooled), strict=True
        ):
            name = f"contact_{figure}_{suffix}".removesuffix("_")
            assert means[name] == pytest.approx(value, abs=1e-12)
            interval = got.interval(name)
            assert interval.estimate == pytest.approx(value) and interval.low < value < interval.high
            assert (interval.groups, interval.clips) == (3, W // 2)
            if figure == "f1":
                assert summary["metrics"][name] == interval.to_json()
            else:
                assert summary[name] == means[name]
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary


def test_contact_over_thresholds_equals_the_oracle(windows: RandomWindows) -> None:
    got, known = windows.evaluate(), windows.truth["contact_known_BT"]
    probability = windows.forecast["contact_logits_BTV"].sigmoid()[known].flatten().numpy()
    true = windows.truth["contact_BTV"].bool()[known].flatten().numpy()
    curve = got.contact_curve()
    for k, threshold in enumerate(curve["threshold"]):
        pred = probability > threshold
        counts = ((pred & true).sum(), (pred & ~true).sum(), (~pred & true).sum())
        figures = metric_oracle.precision_recall_f1(counts)
        for name, figure in zip(("precision", "recall", "f1"), figures, strict=True):
            value = curve[name][k]
            assert value is None if np.isnan(figure) else value == pytest.approx(figure, abs=1e-12)
    expected = metric_oracle.average_precision(probability, true, THRESHOLDS)
    assert got.average_precision() == pytest.approx(expected, abs=1e-12)
    assert got.means()["contact_ap"] == got.average_precision() == got.interval("contact_ap").estimate
    assert got.interval("contact_ap").low < got.average_precision() < got.interval("contact_ap").high
    assert got.average_precision() == float(average_precision(got.levels_WL2.sum(0)))


def test_one_pass_finds_the_threshold_and_all_figures(windows: RandomWindows) -> None:
    windows.passes = 0
    once = windows.evaluate(contact_threshold=None, batch=4)
    assert windows.passes == W
    again = windows.evaluate(contact_threshold=once.contact_threshold)
    np.testing.assert_array_equal(once.finger_counts_WF3, again.finger_counts_WF3)
    np.testing.assert_array_equal(once.levels_WL2, again.levels_WL2)
    assert once.summary() == again.summary()
    f1 = once.means()["contact_f1"]
    rivals = [windows.evaluate(contact_threshold=float(t)).means()["contact_f1"] for t in THRESHOLDS[::25]]
    assert f1 >= max(rivals)
    _, finest = best_contact_threshold(windows.predict, windows)  # type: ignore[arg-type]
    assert f1 <= finest <= f1 + 5e-3  # what little a finer grid gains on so few windows is chance


def test_no_contact_known_gives_a_half(windows: RandomWindows) -> None:
    blind = RandomWindows()
    blind.truth["contact_known_BT"][:] = False
    got = blind.evaluate(contact_threshold=None)
    assert got.contact_threshold == 0.5 and not got.counts_W3.any()
    assert got.summary()["metrics"]["contact_ap"]["estimate"] is None


class NothingWaits(TorchDispatchMode):
    """Refuses operations that read a value, or a size that depends on values, back from the device."""

    WAITING = ("_local_scalar_dense", "nonzero", "bincount", "masked_select", "unique", "equal", "is_nonzero")

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.name().removeprefix("aten::").split(".")[0].lstrip("_")
        assert name not in [w.lstrip("_") for w in self.WAITING], f"{name} waits for the device"
        if name in ("index", "index_put"):
            assert not any(i is not None and i.dtype == torch.bool for i in args[1]), (
                "a mask waits for the device"
            )
        return func(*args, **(kwargs or {}))


def test_the_metrics_never_wait_for_the_device(windows: RandomWindows) -> None:
    for threshold in (None, 0.5):
        with NothingWaits():
            windows.evaluate(contact_threshold=threshold)
    with pytest.raises(AssertionError, match="waits"), NothingWaits():
        float(torch.ones(2).sum())


def test_fingers_and_levels_survive_seeds_folds_and_json(windows: RandomWindows) -> None:
    one, two = windows.evaluate(), RandomWindows(0).evaluate(contact_threshold=0.1)
    both = average_seeds([one, two])
    np.testing.assert_allclose(both.finger_counts_WF3, (one.finger_counts_WF3 + two.finger_counts_WF3) / 2)
    assert both.average_precision() == pytest.approx(
        one.average_precision()
    )  # thresholds do not matter to it
    here = one.group_W == "object-0"
    joined = join_folds([one.where(here), one.where(~here)])
    assert joined.means() == pytest.approx(one.means(), nan_ok=True)
    assert joined.interval("contact_ap").estimate == pytest.approx(one.average_precision())
    record = json.loads(json.dumps(one.to_json(), allow_nan=False))
    restored = ClipErrors.from_json(record)
    assert restored.fingers == FINGERS and restored.summary() == one.per_clip().summary()
    difference = paired_difference(restored, two.per_clip(), "contact_f1_thumb")
    assert difference == one.difference(two, "contact_f1_thumb")
    assert difference.estimate == pytest.approx(
        one.means()["contact_f1_thumb"] - two.means()["contact_f1_thumb"]
    )
    assert len(json.dumps(record)) < 1000 * len(record["clip_ids"])  # small enough to travel in a bundle
    del record["finger_contact_counts"]  # a record older than the fingers
    older = ClipErrors.from_json(record)
    assert older.fingers == () and "contact_f1_thumb" not in older.summary()["metrics"]
    with pytest.raises(KeyError, match="no fingers"):
        older.interval("contact_f1_thumb")
    with pytest.raises(KeyError):
        older.interval("colour")


def test_without_fingers_all_else_is_the_same(windows: RandomWindows) -> None:
    bare = evaluate(windows.predict, windows, "object")  # type: ignore[arg-type]
    full = windows.evaluate()
    assert bare.per_clip().fingers == () and bare.finger_counts_WF3.shape == (W, 0, 3)
    np.testing.assert_array_equal(bare.counts_W3, full.counts_W3)
    np.testing.assert_array_equal(bare.levels_WL2, full.levels_WL2)
    assert bare.means().items() <= full.means().items() or np.isnan(list(bare.means().values())).any()
